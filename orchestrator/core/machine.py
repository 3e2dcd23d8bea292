"""The life of one service as a pure function: what happened goes in, what to do comes out.

Each state has one function, and each function answers every event. News of a run that is not the
newest, or that is over, is dropped before any of them is asked. Time comes in as a value.
"""

from dataclasses import replace
from typing import assert_never

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.failing import Step, ended, ended_for, forgiven, next_run, refused, stopped
from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from orchestrator.spec.model import Health as Probes
from orchestrator.spec.model import Service
from orchestrator.spec.quantities import format_duration


def step(service: Service, status: Status, event: news.Event, now: float) -> Step:
    """Return the new status and what is to be done, in order.

    ``now`` is monotonic, in seconds.
    """
    if _is_stale(status, event):
        return status, ()
    after, orders = _step(service, status, event, now)
    if after.state is not status.state:
        after = replace(after, since=now)
    return after, orders


def _is_stale(status: Status, event: news.Event) -> bool:
    match event:
        case news.TimerFired(run=run):
            return run != status.run
        case (
            news.Spawned(run=run)
            | news.SpawnRefused(run=run)
            | news.BecameHealthy(run=run)
            | news.BecameUnhealthy(run=run)
            | news.Exited(run=run)
        ):
            return run != status.run or not status.alive
        case _:
            return False


def _step(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match status.state:
        case State.STOPPED | State.COMPLETED | State.EXITED | State.FAILED:
            return _at_rest(service, status, event, now)
        case State.PENDING:
            return _pending(status, event)
        case State.STARTING:
            return _starting(service, status, event, now)
        case State.RUNNING:
            return _running(service, status, event, now)
        case State.STOPPING:
            return _stopping(service, status, event, now)
        case State.BACKOFF:
            return _backoff(status, event, now)
        case _:
            assert_never(status.state)


# A state each.


def _at_rest(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.StartRequested() | news.RestartRequested():
            return _afresh(status)
        case news.StopRequested():
            asked = replace(status, wanted=False)
            return (replace(asked, state=State.STOPPED), ()) if _failed(status) else (asked, ())
        case news.Resumed(pid) if pid is not None:
            # What was kept is lost, and it runs: whoever started it wanted it.
            found = replace(status, state=State.STARTING, wanted=True, alive=True, started_at=now)
            return _resumed(service, found, pid)
        case (
            news.DependenciesReady()
            | news.Resumed()
            | news.Spawned()
            | news.SpawnRefused()
            | news.BecameHealthy()
            | news.BecameUnhealthy()
            | news.Exited()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


def _pending(status: Status, event: news.Event) -> Step:
    match event:
        case news.DependenciesReady():
            return next_run(status, automatic=False)
        case news.StopRequested():
            return replace(status, state=State.STOPPED, wanted=False), ()
        case news.Resumed():
            return status, (order.CheckDependencies(),)
        case news.StartRequested() | news.RestartRequested():
            # Asked again, perhaps without dependencies this time.
            return status, (order.CheckDependencies(),)
        case (
            news.Spawned()
            | news.SpawnRefused()
            | news.BecameHealthy()
            | news.BecameUnhealthy()
            | news.Exited()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


def _starting(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.Spawned(pid=pid):
            return _watched(service, replace(status, pid=pid, started_at=now))
        case news.SpawnRefused():
            return refused(service, status, event, now)
        case news.BecameHealthy():
            return _well(service, replace(status, health=Health.HEALTHY))
        case news.Exited():
            after, orders = ended(service, status, event, now)
            return after, (order.StopProbing(status.run), *orders)
        case news.TimerFired(timer=news.Timer.START_TIMEOUT):
            return _end_for(service, status, _too_slow(service, status))
        case news.StopRequested(grace_s):
            return _stop(service, replace(status, wanted=False), grace_s)
        case news.RestartRequested(grace_s):
            return _stop(service, status, grace_s)
        case news.Resumed(pid):
            return _resumed(service, status, pid) if pid is not None else (status, ())
        case (
            news.StartRequested()
            | news.DependenciesReady()
            # Not well yet is what starting means; the start's own timeout ends it.
            | news.BecameUnhealthy()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


def _running(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.BecameHealthy():
            return replace(status, health=Health.HEALTHY), ()
        case news.BecameUnhealthy(text=text, held=held):
            if held is None and service.health and service.health.on_unhealthy == "restart":
                cause = Cause(CauseKind.HEALTH, f"unhealthy: {text}", status.run)
                return _end_for(service, status, cause)
            return replace(status, health=Health.UNHEALTHY), ()
        case news.Exited():
            after, orders = ended(service, status, event, now)
            return after, (order.StopProbing(status.run), *orders)
        case news.TimerFired(timer=news.Timer.FORGIVE):
            return _well(service, replace(status, failures=status.failures[1:]))
        case news.StopRequested(grace_s):
            return _stop(service, replace(status, wanted=False), grace_s)
        case news.RestartRequested(grace_s):
            return _stop(service, status, grace_s)
        case news.Resumed(pid):
            return _resumed(service, status, pid) if pid is not None else (status, ())
        case (
            news.StartRequested()
            | news.DependenciesReady()
            | news.Spawned()
            | news.SpawnRefused()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


def _stopping(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.Exited():
            return _is_down(service, status, event, now)
        case news.SpawnRefused(text=text):
            return _is_down(service, status, news.Exited(status.run, text=text), now)
        case news.Spawned(pid=pid):
            # The stop was quicker than the start: what it asked for is asked again.
            again = order.Kill(status.run) if status.killed else order.Terminate(status.run)
            return replace(status, pid=pid, started_at=now), (again,)
        case news.TimerFired(timer=news.Timer.KILL):
            return replace(status, killed=True), (order.Kill(status.run),)
        case news.StopRequested(grace_s):
            return _hurried(replace(status, wanted=False, ending=None), grace_s)
        case news.RestartRequested(grace_s):
            return _hurried(replace(status, wanted=True, ending=None), grace_s)
        case news.StartRequested():
            return replace(status, wanted=True, ending=None), ()
        case news.Resumed(pid):
            return _stop_orders(service, status, None) if pid is not None else (status, ())
        case (
            news.DependenciesReady()
            | news.BecameHealthy()
            | news.BecameUnhealthy()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


def _backoff(status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.TimerFired(timer=news.Timer.RETRY):
            return next_run(status, automatic=True)
        case news.StartRequested() | news.RestartRequested():
            return _afresh(status)
        case news.StopRequested():
            return replace(status, state=State.STOPPED, wanted=False, retry_at=None), ()
        case news.Resumed():
            rest_s = max(0.0, (status.retry_at or now) - now)
            return status, (order.SetTimer(status.run, news.Timer.RETRY, rest_s),)
        case (
            news.DependenciesReady()
            | news.Spawned()
            | news.SpawnRefused()
            | news.BecameHealthy()
            | news.BecameUnhealthy()
            | news.Exited()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


# What several states do.


def _failed(status: Status) -> bool:
    return status.state is State.FAILED


def _afresh(status: Status) -> Step:
    wanted = replace(forgiven(status), state=State.PENDING, wanted=True)
    return wanted, (order.CheckDependencies(),)


def _watched(service: Service, status: Status) -> Step:
    """Return a live run that is probed from now on; without a probe it is well by running."""
    if service.health is None:
        return _well(service, replace(status, health=Health.NONE))
    checking = replace(status, health=Health.CHECKING)
    return checking, (
        order.SetTimer(status.run, news.Timer.START_TIMEOUT, service.health.start_timeout_s),
        order.StartProbing(status.run),
    )


def _well(service: Service, status: Status) -> Step:
    """Return a run that is well; each while of it forgives one failure."""
    running = replace(
        status,
        state=State.RUNNING,
        never_healthy=0 if service.has_probe else status.never_healthy,
    )
    if not running.failures:
        return running, ()
    after_s = service.restart.forgive_after_s
    return running, (order.SetTimer(status.run, news.Timer.FORGIVE, after_s),)


def _resumed(service: Service, status: Status, pid: int) -> Step:
    """Return a live run that an earlier supervisor left, with its timers and probes again."""
    live = replace(status, pid=pid)
    if not live.wanted:
        return _stop(service, live, None)
    if live.state is State.STARTING or service.health is None:
        return _watched(service, live)
    after, orders = _well(service, replace(live, health=Health.CHECKING))
    return after, (order.StartProbing(live.run), *orders)


def _too_slow(service: Service, status: Status) -> Cause:
    waited_s = (service.health or Probes()).start_timeout_s
    return Cause(CauseKind.TIMEOUT, f"not healthy within {format_duration(waited_s)}", status.run)


def _end_for(service: Service, status: Status, cause: Cause) -> Step:
    return _stop(service, replace(status, ending=cause), None)


def _stop(service: Service, status: Status, grace_s: float | None) -> Step:
    after, orders = _stop_orders(service, replace(status, state=State.STOPPING), grace_s)
    return after, (order.StopProbing(status.run), *orders)


def _stop_orders(service: Service, status: Status, grace_s: float | None) -> Step:
    grace = service.stop.grace_s if grace_s is None else grace_s
    if grace == 0:
        return replace(status, killed=True), (order.Kill(status.run),)
    kill_later = order.SetTimer(status.run, news.Timer.KILL, grace)
    return status, (order.Terminate(status.run), kill_later)


def _hurried(status: Status, grace_s: float | None) -> Step:
    if grace_s is None or status.killed:
        return status, ()
    if grace_s == 0:
        return replace(status, killed=True), (order.Kill(status.run),)
    return status, (order.SetTimer(status.run, news.Timer.KILL, grace_s),)


def _is_down(service: Service, status: Status, event: news.Exited, now: float) -> Step:
    """Decide after a run that was asked to end: by a failure, for a new run, or for good."""
    if status.wanted and status.ending is not None:
        return ended_for(service, status, event, status.ending, now)
    down = stopped(status, event)
    return next_run(forgiven(down), automatic=False) if status.wanted else (down, ())
