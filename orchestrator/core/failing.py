"""What the end of a run means: done, exited, tried again after a wait, or failed."""

from dataclasses import replace

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from orchestrator.core.wording import and_, how_it_ended, how_it_stopped
from orchestrator.spec.model import Policy, Service
from orchestrator.spec.quantities import format_duration

Step = tuple[Status, tuple[order.Action, ...]]

EX_CONFIG = 78
"""A wrong configuration does not mend itself. Source: sysexits.h; s6 and systemd have the like."""

SETTLED_S = 1.0
"""A run without a probe that lasted this long counts as having been well; `--wait` agrees."""


def next_run(status: Status, *, automatic: bool) -> Step:
    """Order one more run; ``automatic`` ones are counted as restarts."""
    run = status.run + 1
    after = replace(
        status,
        state=State.STARTING,
        run=run,
        alive=True,
        retry_at=None,
        restarts=status.restarts + automatic,
    )
    return after, (order.Spawn(run),)


def forgiven(status: Status) -> Status:
    """Forget all failures, as a start by hand does."""
    return replace(status, failures=(), never_healthy=0, port_waits=0, restarts=0, retry_at=None)


def ended(service: Service, status: Status, event: news.Exited, now: float) -> Step:
    """Decide after a run that nobody asked to end."""
    over, cause = _over(status, event), how_it_ended(status, event, now)
    well = event.code is not None and event.code in service.success_exit_codes
    if well and service.oneshot:
        done = replace(over, failures=(), never_healthy=0)
        return _at_rest(done, State.COMPLETED, cause)
    if well and service.restart.policy is not Policy.ALWAYS:
        return _at_rest(over, State.EXITED, and_(cause, _by_policy(service)))
    if service.restart.policy is Policy.NO:
        return _at_rest(over, State.FAILED, and_(cause, _by_policy(service)))
    if event.code == EX_CONFIG and not well:
        hopeless = and_(cause, "a wrong configuration (EX_CONFIG) is not tried again")
        return _at_rest(over, State.FAILED, hopeless)
    if event.port_owner is not None:
        taken = Cause(CauseKind.PORT, f"its port is taken: {event.port_owner}", status.run)
        return _port_taken(service, over, and_(taken, cause.text), now)
    return _counted(service, over, cause, was_well=_was_well(service, status, now), now=now)


def ended_for(
    service: Service, status: Status, event: news.Exited, cause: Cause, now: float
) -> Step:
    """Decide after a run that we ended for a failure of its own: health, or a start too slow."""
    over, told = _over(status, event), and_(cause, event.text)
    if service.restart.policy is Policy.NO:
        return _at_rest(over, State.FAILED, and_(told, _by_policy(service)))
    return _counted(service, over, told, was_well=cause.kind is CauseKind.HEALTH, now=now)


def stopped(status: Status, event: news.Exited) -> Step:
    """Return the status after a run that was asked to end."""
    return _at_rest(_over(status, event), State.STOPPED, how_it_stopped(status, event))


def refused(service: Service, status: Status, event: news.SpawnRefused, now: float) -> Step:
    """Decide after a program that could not be started."""
    over = _over(status, news.Exited(status.run))
    cause = Cause(CauseKind.SPAWN, event.text, status.run)
    if event.permanent:
        return _at_rest(over, State.FAILED, cause)
    if service.restart.policy is Policy.NO:
        return _at_rest(over, State.FAILED, and_(cause, _by_policy(service)))
    return _counted(service, over, cause, was_well=False, now=now)


def _over(status: Status, event: news.Exited) -> Status:
    """Return the status without the run that it had."""
    return replace(
        status,
        alive=False,
        pid=None,
        health=Health.NONE,
        started_at=None,
        killed_at=None,
        ending=None,
        exit_code=event.code,
        exit_signal=event.signal,
    )


def _at_rest(over: Status, state: State, cause: Cause) -> Step:
    return replace(over, state=state, cause=cause), ()


def _by_policy(service: Service) -> str:
    return f"not restarted, as restart.policy is {service.restart.policy}"


def _was_well(service: Service, status: Status, now: float) -> bool:
    if service.has_probe:
        return status.state is State.RUNNING
    return status.started_at is not None and now - status.started_at >= SETTLED_S


def _counted(service: Service, over: Status, cause: Cause, *, was_well: bool, now: float) -> Step:
    """Count one failure more; retry as backoff says, or give up as the limit says."""
    failing = replace(
        over,
        cause=cause,
        failures=(*over.failures, now)[-_kept_failures(service) :],
        never_healthy=0 if was_well else over.never_healthy + 1,
        port_waits=0,
    )
    reason = _given_up(service, failing, now)
    if reason is not None:
        text = f"gave up: {reason}; the last: {cause.text}"
        return _at_rest(failing, State.FAILED, Cause(CauseKind.LIMIT, text, cause.run))
    delay_s = service.restart.backoff.delay_s(len(failing.failures))
    return (
        next_run(failing, automatic=True) if delay_s == 0 else _wait(service, failing, delay_s, now)
    )


def _kept_failures(service: Service) -> int:
    """Return how many failures are worth remembering: past these backoff is at its maximum."""
    limit = service.restart.limit
    return max(100, limit.failures + 1 if limit else 0)


def _given_up(service: Service, status: Status, now: float) -> str | None:
    limit = service.restart.limit
    if limit is None:
        return None
    recent = sum(now - at <= limit.within_s for at in status.failures)
    if recent > limit.failures:
        return f"{recent} failures within {format_duration(limit.within_s)}"
    if status.never_healthy > limit.failures:
        never = "became healthy" if service.has_probe else f"lasted {format_duration(SETTLED_S)}"
        return f"{status.never_healthy} runs in a row never {never}"
    return None


def _port_taken(service: Service, over: Status, cause: Cause, now: float) -> Step:
    """Wait for the port. Somebody else's doing: it does not count towards the limit."""
    waiting = replace(over, cause=cause, port_waits=over.port_waits + 1)
    # At once would only fail again: the first wait is that of a second failure.
    return _wait(service, waiting, service.restart.backoff.delay_s(waiting.port_waits + 1), now)


def _wait(service: Service, status: Status, delay_s: float, now: float) -> Step:
    waiting = replace(status, state=State.BACKOFF, retry_at=now + delay_s)
    jitter = service.restart.backoff.jitter
    return waiting, (order.SetTimer(status.run, news.Timer.RETRY, delay_s, jitter),)
