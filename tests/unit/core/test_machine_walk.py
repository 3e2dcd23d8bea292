"""The whole small world is walked, and what must be true is true in every corner of it."""

from collections import deque
from functools import cache

import pytest

from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.status import State
from orchestrator.spec.model import Policy, Service
from tests.unit.core.life import PROBE, service
from tests.unit.core.world import Move, World, check, happen, moves

SMALL = {"failures": 1, "within": 120}
VARIANTS: dict[str, Service] = {
    "plain": service(restart={"limit": SMALL}),
    "probed": service(probe=True, restart={"limit": SMALL}),
    "ignores its probe": service(
        health=PROBE.model_copy(update={"on_unhealthy": "ignore"}), restart={"limit": SMALL}
    ),
    "one-shot": service(oneshot=True, restart={"limit": SMALL}),
    "always": service(probe=True, restart={"policy": Policy.ALWAYS, "limit": SMALL}),
    "never": service(probe=True, restart={"policy": Policy.NO}),
    "without a limit": service(probe=True, restart={"limit": None}),
    "killed at once": service(restart={"limit": SMALL}, stop={"grace": 0}),
    "three failures": service(restart={"limit": {"failures": 3, "within": 120}}),
}
NOT_REACHED = {
    "plain": {State.COMPLETED},
    "probed": {State.COMPLETED},
    "ignores its probe": {State.COMPLETED},
    "one-shot": {State.EXITED},
    "always": {State.COMPLETED, State.EXITED},
    "never": {State.COMPLETED, State.BACKOFF},
    "without a limit": {State.COMPLETED},
    "killed at once": {State.COMPLETED},
    "three failures": {State.COMPLETED},
}


@cache
def walk(variant: str) -> frozenset[World]:
    """Return every world that can be reached, each checked; the way there is told of a bad one."""
    walked = VARIANTS[variant]
    came: dict[World, tuple[World, Move] | None] = {World(): None}
    ahead = deque(came)
    while ahead:
        world = ahead.popleft()
        for move in moves(world):
            try:
                reached = happen(walked, world, move)
                if reached not in came:
                    came[reached] = (world, move)
                    check(walked, reached)
                    ahead.append(reached)
            except AssertionError as broken:
                way = "\n".join(_way(came, world, move))
                raise AssertionError(f"{broken}; the way there:\n{way}") from None
    return frozenset(came)


def _way(came: dict[World, tuple[World, Move] | None], world: World, move: Move) -> list[str]:
    way, step = [str(move)], came[world]
    while step is not None:
        world, move = step
        way.append(f"{move}   in {world.status.state}")
        step = came[world]
    return way[::-1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_world_that_can_be_reached_is_in_order(variant: str) -> None:
    assert len(walk(variant)) > 50


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_state_is_reached_but_those_that_the_service_cannot_have(variant: str) -> None:
    reached = {world.status.state for world in walk(variant)}
    assert set(State) - reached == NOT_REACHED[variant]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stop_leads_to_rest_from_everywhere_and_nothing_runs_again(variant: str) -> None:
    for world in walk(variant):
        stopped = happen(VARIANTS[variant], world, Move((news.StopRequested(),)))
        if stopped.process == "spawning":
            spawned = Move((news.Spawned(stopped.status.run, 7),))
            stopped = happen(VARIANTS[variant], stopped, spawned)
        if stopped.process:
            assert stopped.signalled, world
            ended = Move((news.Exited(stopped.status.run, code=1),))
            stopped = happen(VARIANTS[variant], stopped, ended)
        assert stopped.status.state in {State.STOPPED, State.COMPLETED, State.EXITED}, world
        assert not stopped.status.wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stop_whose_signal_is_ignored_ends_with_a_kill(variant: str) -> None:
    for world in walk(variant):
        stopped = happen(VARIANTS[variant], world, Move((news.StopRequested(),)))
        if stopped.process and stopped.signalled != "kill":
            due = Move((news.TimerFired(stopped.status.run, Timer.KILL),), fired=Timer.KILL)
            assert happen(VARIANTS[variant], stopped, due).signalled == "kill", world


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_start_leads_to_running_from_everywhere(variant: str) -> None:
    for world in walk(variant):
        went = happen(VARIANTS[variant], world, Move((news.StartRequested(),)))
        for _ in range(8):
            if went.status.state is State.RUNNING:
                break
            went = happen(VARIANTS[variant], went, _helpful(went))
        assert went.status.state is State.RUNNING, world


def _helpful(world: World) -> Move:
    """Return what a willing service and willing surroundings do next."""
    run = world.status.run
    if world.process == "spawning":
        return Move((news.Spawned(run, 7),))
    match world.status.state:
        case State.PENDING:
            return Move((news.DependenciesReady(),))
        case State.STARTING:
            return Move((news.BecameHealthy(run),))
        case State.STOPPING:
            return Move((news.Exited(run, code=0),))
        case State.BACKOFF:
            return Move((news.TimerFired(run, Timer.RETRY),), fired=Timer.RETRY)
        case _:
            raise AssertionError(f"{world} waits for nothing")


@pytest.mark.parametrize("variant", VARIANTS)
def test_failures_are_forgiven_one_by_one_until_none_is_left(variant: str) -> None:
    for world in walk(variant):
        if world.status.state is State.RUNNING and Timer.FORGIVE in world.timers:
            due = Move((news.TimerFired(world.status.run, Timer.FORGIVE),), fired=Timer.FORGIVE)
            better = happen(VARIANTS[variant], world, due).status
            if better.health.value != "unhealthy":
                assert len(better.failures) == max(0, len(world.status.failures) - 1), world
