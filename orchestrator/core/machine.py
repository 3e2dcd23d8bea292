"""The life of one service as a pure function: what happened goes in, what to do comes out.

Each state has one function, and each function answers every event. News of a run that is not the
newest is dropped before any of them is asked. Time comes in as a value.
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
    if after.state is not status.state or after.run != status.run:
        after = replace(after, since=now)
    return after, orders


def _is_stale(status: Status, event: news.Event) -> bool:
    match event:
        case news.Spawned(run=run):
            # A shim that is connected to anew tells it again.
            return run != status.run or status.pid is not None
        case (
            news.SpawnRefused(run=run)
            | news.BecameHealthy(run=run)
            | news.BecameUnhealthy(run=run)
            | news.Exited(run=run)
            | news.TimerFired(run=run)
        ):
            return run != status.run
        case _:
            return False


def _step(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match status.state:
        case State.STOPPED | State.COMPLETED | State.EXITED | State.FAILED:
            return _at_rest(service, status, event, now)
        case State.PENDING:
            return _pending(service, status, event, now)
        case State.STARTING:
            return _starting(service, status, event, now)
        case State.RUNNING:
            return _running(service, status, event, now)
        case State.STOPPING:
            return _stopping(service, status, event, now)
        case State.BACKOFF:
            return _backoff(service, status, event, now)
        case _:
            assert_never(status.state)


# A state each.


def _at_rest(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.StartRequested() | news.RestartRequested():
            return _afresh(status)
        case news.StopRequested():
            asked = replace(status, wanted=False)
            failed = status.state is State.FAILED
            return (replace(asked, state=State.STOPPED) if failed else asked), ()
        case news.Resumed(pid) if pid is not None:
            return _found(service, status, event, now)
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


def _pending(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.DependenciesReady():
            return next_run(status, automatic=False)
        case news.StopRequested():
            return replace(status, state=State.STOPPED, wanted=False), ()
        case news.Resumed(pid) if pid is not None:
            return _found(service, status, event, now)
        case news.Resumed() | news.StartRequested() | news.RestartRequested():
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
            return _end_for(service, status, _too_slow(service, status), now)
        case news.StopRequested(grace_s):
            return _stop(service, replace(status, wanted=False), grace_s, now)
        case news.RestartRequested(grace_s):
            return _stop(service, status, grace_s, now)
        case news.Resumed():
            return _resumed(service, status, event, now)
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
            return _healthy_again(service, status)
        case news.BecameUnhealthy(text=text, held=held):
            if held is None and service.health and service.health.on_unhealthy == "restart":
                cause = Cause(CauseKind.HEALTH, f"unhealthy: {text}", status.run)
                return _end_for(service, status, cause, now)
            return replace(status, health=Health.UNHEALTHY), ()
        case news.Exited():
            after, orders = ended(service, status, event, now)
            return after, (order.StopProbing(status.run), *orders)
        case news.TimerFired(timer=news.Timer.FORGIVE) if status.health is not Health.UNHEALTHY:
            return _well(service, replace(status, failures=status.failures[1:]))
        case news.StopRequested(grace_s):
            return _stop(service, replace(status, wanted=False), grace_s, now)
        case news.RestartRequested(grace_s):
            return _stop(service, status, grace_s, now)
        case news.Resumed():
            return _resumed(service, status, event, now)
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
            # The stop was quicker than the start.
            known = replace(status, pid=pid, started_at=now)
            return known, (_order_to_end(known),)
        case news.TimerFired(timer=news.Timer.KILL):
            return _kill(status, now)
        case news.StopRequested(grace_s):
            return _hurry(replace(status, wanted=False, ending=None), grace_s, now)
        case news.RestartRequested(grace_s):
            return _hurry(replace(status, wanted=True, ending=None), grace_s, now)
        case news.StartRequested():
            return replace(status, wanted=True, ending=None), ()
        case news.Resumed():
            return _resumed(service, status, event, now)
        case (
            news.DependenciesReady()
            | news.BecameHealthy()
            | news.BecameUnhealthy()
            | news.TimerFired()
        ):
            return status, ()
        case _:
            assert_never(event)


def _backoff(service: Service, status: Status, event: news.Event, now: float) -> Step:
    match event:
        case news.TimerFired(timer=news.Timer.RETRY):
            return next_run(status, automatic=True)
        case news.StartRequested() | news.RestartRequested():
            return _afresh(status)
        case news.StopRequested():
            return replace(status, state=State.STOPPED, wanted=False, retry_at=None), ()
        case news.Resumed(pid) if pid is not None:
            return _found(service, status, event, now)
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


def _afresh(status: Status) -> Step:
    """Return a service that was asked for by hand: it waits for what it depends on."""
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
        # Without a probe running proves nothing yet: its end tells whether it lasted.
        never_healthy=0 if service.has_probe else status.never_healthy,
        port_waits=0 if service.has_probe else status.port_waits,
    )
    if not running.failures:
        return running, ()
    after_s = service.restart.forgive_after_s
    return running, (order.SetTimer(status.run, news.Timer.FORGIVE, after_s),)


def _healthy_again(service: Service, status: Status) -> Step:
    """Return a run that is well, and forgives from now on if it was not before."""
    if status.health is Health.HEALTHY:
        return status, ()
    return _well(service, replace(status, health=Health.HEALTHY))


# Ending a run.


def _end_for(service: Service, status: Status, cause: Cause, now: float) -> Step:
    return _stop(service, replace(status, ending=cause), None, now)


def _too_slow(service: Service, status: Status) -> Cause:
    waited_s = (service.health or Probes()).start_timeout_s
    return Cause(CauseKind.TIMEOUT, f"not healthy within {format_duration(waited_s)}", status.run)


def _stop(service: Service, status: Status, grace_s: float | None, now: float) -> Step:
    """Ask the run to end; ``grace_s`` is in place of the service's own."""
    stopping = replace(status, state=State.STOPPING)
    quiet = order.StopProbing(status.run)
    grace = service.stop.grace_s if grace_s is None else grace_s
    if grace == 0:
        after, orders = _kill(stopping, now)
        return after, (quiet, *orders)
    kill_later = order.SetTimer(status.run, news.Timer.KILL, grace)
    if status.pid is None:
        # A signal now would be lost, or come twice: Spawned asks for it.
        return stopping, (quiet, kill_later)
    return stopping, (quiet, order.Terminate(status.run), kill_later)


def _kill(status: Status, now: float) -> Step:
    killed_at = now if status.killed_at is None else status.killed_at
    return replace(status, killed_at=killed_at), (order.Kill(status.run),)


def _order_to_end(status: Status) -> order.Action:
    killed = status.killed_at is not None
    return order.Kill(status.run) if killed else order.Terminate(status.run)


def _hurry(status: Status, grace_s: float | None, now: float) -> Step:
    """Stop with another grace than was begun with; None lets it be."""
    if grace_s is None or status.killed_at is not None:
        return status, ()
    if grace_s == 0:
        return _kill(status, now)
    return status, (order.SetTimer(status.run, news.Timer.KILL, grace_s),)


def _is_down(service: Service, status: Status, event: news.Exited, now: float) -> Step:
    """Decide after a run that was asked to end: by a failure, for a new run, or for good."""
    if status.ending is not None:
        return ended_for(service, status, event, status.ending, now)
    down, orders = stopped(status, event)
    return next_run(forgiven(down), automatic=False) if status.wanted else (down, orders)


# Taking over from an earlier supervisor.


def _found(service: Service, status: Status, event: news.Resumed, now: float) -> Step:
    """Return a run that lives though nothing is known of it: whoever started it wanted it."""
    live = replace(forgiven(status), state=State.STARTING, wanted=True, alive=True)
    return _resumed(service, live, event, now)


def _resumed(service: Service, status: Status, event: news.Resumed, now: float) -> Step:
    """Return a run with its timers and probes again; without a pid its end is told next."""
    if event.pid is None:
        return status, ()
    known = (at for at in (status.started_at, event.started_at) if at is not None)
    live = replace(status, pid=event.pid, started_at=next(known, now))
    if live.state is State.STOPPING or not live.wanted:
        return _stop_again(service, live)
    if live.state is State.STARTING or service.health is None:
        return _watched(service, live)
    after, orders = _well(service, replace(live, health=Health.CHECKING))
    return after, (order.StartProbing(live.run), *orders)


def _stop_again(service: Service, status: Status) -> Step:
    stopping = replace(status, state=State.STOPPING)
    kill_later = order.SetTimer(status.run, news.Timer.KILL, service.stop.grace_s)
    return stopping, (_order_to_end(stopping), kill_later)
