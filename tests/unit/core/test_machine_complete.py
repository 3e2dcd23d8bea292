"""Every state answers every event, and news of another run changes nothing."""

from dataclasses import replace

import pytest

from orchestrator.core import events as news
from orchestrator.core.machine import step
from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from orchestrator.spec.model import Policy, Service
from tests.unit.core.life import EVENTS, of_run, service

SERVICES = (
    service(),
    service(probe=True),
    service(oneshot=True),
    service(restart={"policy": Policy.ALWAYS, "limit": None}),
    service(probe=True, restart={"policy": Policy.NO}),
)
LIVE = {State.STARTING, State.RUNNING, State.STOPPING}


def status(state: State, run: int = 1) -> Status:
    """Return a status that a service can have in the state."""
    common = Status(state=state, wanted=state is not State.STOPPED, run=run)
    if state in LIVE:
        return replace(common, alive=True, pid=7, started_at=990.0, health=Health.CHECKING)
    return replace(common, retry_at=1001.0) if state is State.BACKOFF else common


def test_no_kind_of_event_is_missing_here() -> None:
    assert {type(event) for event in EVENTS} == set(news.Event.__args__)


@pytest.mark.parametrize("state", State)
def test_every_state_answers_every_event(state: State) -> None:
    for tried in SERVICES:
        for event in EVENTS:
            for before in variants(status(state)):
                after, orders = step(tried, before, event, 1000.0)
                assert isinstance(after, Status), event
                assert isinstance(orders, tuple), event


@pytest.mark.parametrize("state", State)
def test_the_same_in_gives_the_same_out_and_leaves_the_input_alone(state: State) -> None:
    before = status(state)
    for event in EVENTS:
        first = step(SERVICES[1], before, event, 1000.0)
        assert step(SERVICES[1], before, event, 1000.0) == first
    assert before == status(state)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("run", [1, 3])
def test_news_of_another_run_changes_nothing(state: State, run: int) -> None:
    before = status(state, run=2)
    told = [of_run(event, run) for event in EVENTS if hasattr(event, "run")]
    assert len(told) > 10
    for event in told:
        assert step(SERVICES[1], before, event, 1000.0) == (before, ()), event


@pytest.mark.parametrize("state", sorted(set(State) - LIVE))
def test_news_of_a_process_that_is_known_to_have_ended_changes_nothing(state: State) -> None:
    before = status(state)
    for event in EVENTS:
        if hasattr(event, "run") and not isinstance(event, news.TimerFired):
            assert step(SERVICES[1], before, event, 1000.0) == (before, ()), event


@pytest.mark.parametrize("state", State)
def test_since_is_when_the_state_was_entered(state: State) -> None:
    before = status(state)
    for event in EVENTS:
        after, _ = step(SERVICES[0], before, event, 1000.0)
        moved = after.state is not state or after.run != before.run
        assert after.since == (1000.0 if moved else before.since), event


def variants(one: Status) -> tuple[Status, ...]:
    """Return the status, and those of the same state that are decided about differently."""
    if not one.alive:
        return (one, replace(one, failures=(1.0, 999.0)))
    return (
        one,
        replace(one, pid=None, started_at=None),
        replace(one, wanted=False),
        replace(one, killed_at=999.0),
        replace(one, ending=Cause(CauseKind.HEALTH, "unhealthy", 1), failures=(1.0, 999.0)),
    )


def test_a_service_of_the_tests_is_what_the_file_would_give() -> None:
    assert isinstance(SERVICES[0], Service)
    assert SERVICES[1].has_probe
    assert not SERVICES[0].has_probe
