"""The small world: one service, what really runs, and every timer that is open.

A world is a status together with what the supervisor's hands would hold. ``moves`` is all that can
happen in it next, ``happen`` carries one of them out as the supervisor does, and checks while
doing it. Worlds that behave alike are one: times are quantised to "just now" and "long ago".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.machine import step
from orchestrator.core.status import Health, State, Status
from orchestrator.spec.model import Service

NOW, LONG_AGO = 1000.0, 0.0
"""Long ago is past every limit's time."""


class Broken(AssertionError):
    """What must be true of every world is not."""


@dataclass(frozen=True)
class World:
    """One service and what really is."""

    status: Status = field(default_factory=Status)
    process: str = ""
    """"" none, "spawning" ordered and not there yet, "running"."""
    timers: frozenset[Timer] = frozenset()
    probing: bool = False
    awaits_dependencies: bool = False
    signalled: str = ""
    """"" not, "term", "kill"."""


@dataclass(frozen=True)
class Move:
    """What happens next, and is told."""

    events: tuple[news.Event, ...] = ()
    fired: Timer | None = None
    restarted: bool = False
    """The supervisor was killed and a new one takes over."""
    waits: bool = False
    """Nothing but a long time."""


def moves(world: World) -> Iterator[Move]:
    """Return all that can happen in a world."""
    yield from (Move((event,)) for event in _REQUESTS)
    yield from (
        Move((news.TimerFired(world.status.run, timer),), fired=timer) for timer in world.timers
    )
    if world.awaits_dependencies:
        yield Move((news.DependenciesReady(),))
    yield from _of_process(world)
    yield from _of_a_new_supervisor(world)
    yield Move(waits=True)


_REQUESTS = (
    news.StartRequested(),
    news.StopRequested(),
    news.StopRequested(grace_s=0),
    news.StopRequested(grace_s=2),
    news.RestartRequested(),
    news.RestartRequested(grace_s=0),
)


def ends(run: int) -> tuple[news.Exited, ...]:
    """Return the ways in which a process can end."""
    return (
        news.Exited(run, code=0),
        news.Exited(run, code=1),
        news.Exited(run, code=78),
        news.Exited(run, signal=9),
        news.Exited(run),
        news.Exited(run, code=1, port_owner="pid 812"),
    )


def _of_process(world: World) -> Iterator[Move]:
    run = world.status.run
    if world.process == "spawning":
        yield Move((news.Spawned(run, 7),))
        yield Move((news.SpawnRefused(run, "no memory", permanent=False),))
        yield Move((news.SpawnRefused(run, "no such file", permanent=True),))
    if world.process == "running":
        yield from (Move((end,)) for end in ends(run))
    if world.probing:
        yield Move((news.BecameHealthy(run),))
        yield Move((news.BecameUnhealthy(run, "refused"),))
        yield Move((news.BecameUnhealthy(run, "refused", held="a debugger is attached"),))
        if world.process == "running":
            # Both at the same tick, in both orders.
            crash, unhealthy = news.Exited(run, code=1), news.BecameUnhealthy(run, "refused")
            yield Move((unhealthy, crash))
            yield Move((crash, unhealthy))


def _of_a_new_supervisor(world: World) -> Iterator[Move]:
    run = world.status.run
    if world.process:
        yield Move((news.Resumed(7),), restarted=True)
        interrupted = news.Exited(run, text="its start was interrupted")
        yield Move((news.Resumed(None), interrupted), restarted=True)
    else:
        yield Move((news.Resumed(None),), restarted=True)


def happen(service: Service, world: World, move: Move) -> World:
    """Return the world after a move, quantised.

    Raises:
        Broken: an order cannot be carried out in it, or must not have been given.
    """
    if move.waits:
        return _quantised(service, _aged(world))
    if move.restarted:
        world = replace(
            world, timers=frozenset(), probing=False, awaits_dependencies=False, signalled=""
        )
    if move.fired is not None:
        world = replace(world, timers=world.timers - {move.fired})
    for event in move.events:
        world = _told(service, world, event)
    return _quantised(service, world)


def _told(service: Service, world: World, event: news.Event) -> World:
    world, before = _became(world, event), world.status
    after, orders = step(service, before, event, NOW)
    _check_order(service, before, event, after, orders)
    world = replace(world, status=after)
    if after.run != before.run or after.state.at_rest:
        world = replace(world, timers=frozenset(), signalled="")
    if after.state is not State.PENDING:
        world = replace(world, awaits_dependencies=False)
    for one in orders:
        world = _performed(world, one)
    return world


def _became(world: World, event: news.Event) -> World:
    """Return the world as the event says that it is."""
    match event:
        case news.Spawned(run=run) if run == world.status.run:
            return replace(world, process="running")
        case news.Resumed(pid) if pid is not None:
            return replace(world, process="running")
        case news.Exited(run=run) | news.SpawnRefused(run=run) if run == world.status.run:
            return replace(world, process="")
        case _:
            return world


def _performed(world: World, one: order.Action) -> World:
    _check_performable(world, one)
    match one:
        case order.CheckDependencies():
            return replace(world, awaits_dependencies=True)
        case order.Spawn():
            return replace(world, process="spawning")
        case order.Terminate():
            return replace(world, signalled="term")
        case order.Kill():
            return replace(world, signalled="kill")
        case order.SetTimer(timer=timer):
            return replace(world, timers=world.timers | {timer})
        case order.StartProbing():
            return replace(world, probing=True)
        case order.StopProbing():
            return replace(world, probing=False)


def _check_performable(world: World, one: order.Action) -> None:
    """Assert that the hands can do it: what is ordered of a process, it can be asked."""
    newest = isinstance(one, order.CheckDependencies) or one.run == world.status.run
    _require(newest or isinstance(one, order.StopProbing), f"{one} is of an older run")
    match one:
        case order.Spawn():
            _require(not world.process, "two processes")
            _require(not world.probing, "probes of an earlier run go on")
        case order.Terminate():
            _require(world.process == "running", "a stop signal to no process")
            _require(not world.signalled, "a second stop signal")
        case order.StartProbing():
            _require(world.process == "running", "probes without a process")
        case _:
            pass


def _check_order(
    service: Service,
    before: Status,
    event: news.Event,
    after: Status,
    orders: tuple[order.Action, ...],
) -> None:
    spawns = [one for one in orders if isinstance(one, order.Spawn)]
    if spawns and not after.wanted:
        raise Broken("a run of a service that is not wanted")
    if spawns and (after.run, len(spawns)) != (before.run + 1, 1):
        raise Broken("a run that is not the next one")
    if not spawns and after.run != before.run:
        raise Broken("a number without a run")
    failed = isinstance(event, news.Exited | news.SpawnRefused)
    by_hand = before.state is State.STOPPING and before.ending is None
    if failed and before.failures and spawns and not by_hand:
        raise Broken("a failed run is tried again without a wait")
    if failed and (after.cause is None or after.cause.run != before.run or not after.cause.text):
        raise Broken("an end without a cause")
    if failed and not before.wanted and after.state is not State.STOPPED:
        raise Broken("an end is not final though nobody wants it")


def check(service: Service, world: World) -> None:
    """Assert what is true of every world.

    Raises:
        Broken: it is not.
    """
    status, state = world.status, world.status.state
    _require(status.alive == bool(world.process), "alive is not what is")
    _require((status.pid is not None) == (world.process == "running"), "pid is not what is")
    _require(state.at_rest <= (not world.process), "a service at rest has a process")
    _require(state.at_rest <= (not world.timers), "a service at rest has a timer")
    _require(world.probing <= (world.process == "running"), "probes without a process")
    _require((status.retry_at is not None) == (state is State.BACKOFF), "retry_at outside backoff")
    if state is not State.STOPPING:
        _require(status.killed_at is None, "killed, and not stopping")
        _require(status.ending is None, "ended for something, and not stopping")
    match state:
        case State.PENDING:
            _require(world.awaits_dependencies, "pending waits for nothing")
            _require(not world.process, "pending has a process")
        case State.BACKOFF:
            _require(Timer.RETRY in world.timers, "backoff waits for nothing")
            _require(not world.process, "backoff has a process")
        case State.STARTING:
            _require(bool(world.process), "starting has no process")
            if world.process == "running":
                _require(world.probing, "a start that nobody watches")
                _require(Timer.START_TIMEOUT in world.timers, "a start without an end")
        case State.RUNNING:
            _require(world.process == "running", "running has no process")
            _require(world.probing == service.has_probe, "running without its probes")
            if status.failures and status.health is not Health.UNHEALTHY:
                _require(Timer.FORGIVE in world.timers, "a failure that is never forgiven")
        case State.STOPPING:
            _check_stopping(world)
        case _:
            _require(state.at_rest, "a state that nothing is asserted of")
    if state in {State.PENDING, State.STARTING, State.RUNNING, State.BACKOFF}:
        _require(status.wanted, f"{state} though nobody wants it")
    _check_limit(service, status)


def _check_stopping(world: World) -> None:
    _require(bool(world.process), "stopping has no process")
    _require(not world.probing, "stopping is probed")
    _require(bool(Timer.KILL in world.timers or world.signalled == "kill"), "a stop without an end")
    if world.process == "running":
        _require(bool(world.signalled), "stopping was not told to stop")


def _check_limit(service: Service, status: Status) -> None:
    limit = service.restart.limit
    if limit is None:
        return
    recent = sum(NOW - at <= limit.within_s for at in status.failures)
    if status.state in {State.BACKOFF, State.STARTING}:
        _require(recent <= limit.failures, "more failures than the limit allows")
        _require(status.never_healthy <= limit.failures, "more bad runs than the limit allows")


def _require(true: object, otherwise: str) -> None:
    if not true:
        raise Broken(otherwise)


def _aged(world: World) -> World:
    status = world.status
    old = replace(
        status,
        failures=tuple(LONG_AGO for _ in status.failures),
        started_at=None if status.started_at is None else LONG_AGO,
    )
    return replace(world, status=old)


def _quantised(service: Service, world: World) -> World:
    """Return the one world that stands for all that behave as this one does."""
    status, limit = world.status, service.restart.limit
    counted = limit.failures + 1 if limit else 3
    lasted = status.started_at is not None and not service.has_probe
    return replace(
        world,
        status=replace(
            status,
            run=min(status.run, 1),
            pid=None if status.pid is None else 7,
            # With a probe it does not matter how long a run lasted.
            started_at=status.started_at if lasted else None,
            failures=status.failures[-counted:],
            never_healthy=min(status.never_healthy, counted),
            port_waits=0,
            restarts=0,
            since=NOW,
            retry_at=None if status.retry_at is None else NOW,
            killed_at=None if status.killed_at is None else NOW,
            exit_code=None,
            exit_signal=None,
            cause=None,
            ending=status.ending and replace(status.ending, text="why", run=1),
        ),
    )
