"""What the end of a run means: done, exited, tried again after a wait, or failed."""

from dataclasses import replace

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from orchestrator.spec.model import Policy, Service
from orchestrator.spec.quantities import format_duration, signal_name

Step = tuple[Status, tuple[order.Action, ...]]

EX_CONFIG = 78
"""A wrong configuration does not mend itself. Source: sysexits.h; s6 and systemd have the like."""

SETTLED_S = 1.0
"""A run without a probe that lasted this long counts as having been well."""


def next_run(status: Status, *, automatic: bool) -> Step:
    """Order one more run; ``automatic`` ones are counted as restarts."""
    run = status.run + 1
    after = replace(
        status,
        state=State.STARTING,
        run=run,
        alive=True,
        pid=None,
        health=Health.NONE,
        started_at=None,
        retry_at=None,
        killed=False,
        ending=None,
        restarts=status.restarts + automatic,
    )
    return after, (order.Spawn(run),)


def forgiven(status: Status) -> Status:
    """Forget all failures, as a start by hand does."""
    return replace(status, failures=(), never_healthy=0, restarts=0, retry_at=None)


def ended(service: Service, status: Status, event: news.Exited, now: float) -> Step:
    """Decide after a run that nobody asked to end."""
    cause = of_exit(status, event, now)
    over = _over(status, event, cause)
    if event.code is None or event.code not in service.success_exit_codes:
        return _failed_run(service, status, over, event, now)
    if service.oneshot:
        return replace(forgiven(over), state=State.COMPLETED), ()
    if service.restart.policy is Policy.ALWAYS:
        return _failed_run(service, status, over, event, now)
    return replace(over, state=State.EXITED), ()


def ended_for(
    service: Service, status: Status, event: news.Exited, cause: Cause, now: float
) -> Step:
    """Decide after a run that we ended for a failure of its own: health, or a start too slow."""
    over = _over(status, event, cause)
    if service.restart.policy is Policy.NO:
        return replace(over, state=State.FAILED), ()
    return _counted(service, over, was_well=cause.kind is CauseKind.HEALTH, now=now)


def stopped(status: Status, event: news.Exited) -> Status:
    """Return the status after a run that was asked to end."""
    cause = Cause(CauseKind.STOP, _with_more(_how_stopped(status, event), event.text), status.run)
    return replace(_over(status, event, cause), state=State.STOPPED)


def refused(service: Service, status: Status, event: news.SpawnRefused, now: float) -> Step:
    """Decide after a program that could not be started."""
    cause = Cause(CauseKind.SPAWN, event.text, status.run)
    over = _over(status, news.Exited(status.run), cause)
    if event.permanent or service.restart.policy is Policy.NO:
        return replace(over, state=State.FAILED), ()
    return _counted(service, over, was_well=False, now=now)


def of_exit(status: Status, event: news.Exited, now: float) -> Cause:
    """Return the cause that an end by itself is put down to."""
    lasted = ""
    if status.started_at is not None:
        lasted = f" after {format_duration(_rounded(now - status.started_at))}"
    if event.signal is not None:
        text = f"killed by SIG{signal_name(event.signal)} (not by us){lasted}"
        return Cause(CauseKind.SIGNAL, _with_more(text, event.text), status.run)
    if event.code is not None:
        text = f"exit code {event.code}{lasted}"
    else:
        text = f"ended{lasted}, nobody could see how"
    return Cause(CauseKind.EXIT, _with_more(text, event.text), status.run)


def _failed_run(
    service: Service, before: Status, over: Status, event: news.Exited, now: float
) -> Step:
    if service.restart.policy is Policy.NO or event.code == EX_CONFIG:
        return replace(over, state=State.FAILED), ()
    if event.port_owner is not None:
        return _port_taken(service, over, event.port_owner, now)
    return _counted(service, over, was_well=_was_well(service, before, now), now=now)


def _was_well(service: Service, status: Status, now: float) -> bool:
    if service.has_probe:
        return status.state is State.RUNNING
    return status.started_at is not None and now - status.started_at >= SETTLED_S


def _port_taken(service: Service, over: Status, owner: str, now: float) -> Step:
    """Wait for the port. Somebody else's doing: it does not count towards the limit."""
    text = f"its port is taken: {owner}"
    if over.cause is not None:
        text += f"; {over.cause.text}"
    waiting = replace(over, cause=Cause(CauseKind.PORT, text, over.run))
    # The automatic restarts so far stand for failures, so that the waits grow all the same.
    return _wait(service, waiting, service.restart.backoff.delay_s(over.restarts + 2), now)


def _counted(service: Service, over: Status, *, was_well: bool, now: float) -> Step:
    failing = replace(
        over,
        failures=(*over.failures, now),
        never_healthy=0 if was_well else over.never_healthy + 1,
    )
    reason = _given_up(service, failing, now)
    if reason is not None and failing.cause is not None:
        text = f"gave up: {reason}; the last: {failing.cause.text}"
        return replace(
            failing, state=State.FAILED, cause=Cause(CauseKind.LIMIT, text, failing.run)
        ), ()
    delay_s = service.restart.backoff.delay_s(len(failing.failures))
    if delay_s == 0:
        return next_run(failing, automatic=True)
    return _wait(service, failing, delay_s, now)


def _given_up(service: Service, status: Status, now: float) -> str | None:
    limit = service.restart.limit
    if limit is None:
        return None
    recent = sum(1 for at in status.failures if now - at <= limit.within_s)
    if recent > limit.failures:
        return f"{recent} failures within {format_duration(limit.within_s)}"
    if status.never_healthy > limit.failures:
        return f"{status.never_healthy} runs in a row never became healthy"
    return None


def _wait(service: Service, status: Status, delay_s: float, now: float) -> Step:
    waiting = replace(status, state=State.BACKOFF, retry_at=now + delay_s)
    jitter = service.restart.backoff.jitter
    return waiting, (order.SetTimer(status.run, news.Timer.RETRY, delay_s, jitter),)


def _over(status: Status, event: news.Exited, cause: Cause) -> Status:
    return replace(
        status,
        alive=False,
        pid=None,
        health=Health.NONE,
        started_at=None,
        killed=False,
        ending=None,
        exit_code=event.code,
        exit_signal=event.signal,
        cause=cause,
    )


def _how_stopped(status: Status, event: news.Exited) -> str:
    if status.killed:
        return "killed when its grace was over"
    if event.signal is not None:
        return f"stopped (SIG{signal_name(event.signal)})"
    return "stopped" if event.code is None else f"stopped (exit code {event.code})"


def _with_more(text: str, more: str) -> str:
    return f"{text}; {more}" if more else text


def _rounded(seconds: float) -> float:
    """Return a duration with as many digits as people read: 0.31, 4.2, 12."""
    if seconds < 1:
        return round(seconds, 2)
    return round(seconds, 1) if seconds < 10 else float(round(seconds))
