"""What a service waits for."""

import pytest

from orchestrator.core.status import Health, State, Status
from orchestrator.spec.model import Condition, Service
from orchestrator.spec.template import Template
from orchestrator.supervise.dependencies import waiting_for


def needing(condition: Condition) -> Service:
    return Service.model_validate(
        {
            "name": "web",
            "run": [{"command": [Template.literal("web")]}],
            "depends_on": {"db": condition},
        }
    )


def waits(condition: Condition, status: Status, *, probed: bool = True) -> bool:
    return bool(waiting_for(needing(condition), lambda _: status, lambda _: probed))


def failed(condition: Condition, status: Status) -> bool:
    (one,) = waiting_for(needing(condition), lambda _: status, lambda _: True)
    return one.failed


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (Condition.STARTED, Status(State.STARTING, pid=7)),
        (Condition.STARTED, Status(State.RUNNING, pid=7)),
        (Condition.STARTED, Status(State.COMPLETED)),
        (Condition.STARTED, Status(State.EXITED)),
        (Condition.HEALTHY, Status(State.RUNNING, pid=7, health=Health.HEALTHY)),
        (Condition.HEALTHY, Status(State.COMPLETED)),
        (Condition.COMPLETED, Status(State.COMPLETED)),
    ],
)
def test_a_condition_that_is_met_is_not_waited_for(condition: Condition, status: Status) -> None:
    assert not waits(condition, status)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (Condition.STARTED, Status(State.STARTING)),
        (Condition.STARTED, Status(State.PENDING)),
        (Condition.HEALTHY, Status(State.STARTING, pid=7, health=Health.CHECKING)),
        (Condition.HEALTHY, Status(State.RUNNING, pid=7, health=Health.UNHEALTHY)),
        (Condition.HEALTHY, Status(State.RUNNING, pid=7, health=Health.CHECKING)),
        (Condition.COMPLETED, Status(State.RUNNING, pid=7)),
        (Condition.COMPLETED, Status(State.EXITED)),
    ],
)
def test_a_condition_that_is_not_met_is_waited_for(condition: Condition, status: Status) -> None:
    assert waits(condition, status)


def test_healthy_of_a_service_without_a_probe_means_running() -> None:
    running = Status(State.RUNNING, pid=7, health=Health.NONE)
    assert not waits(Condition.HEALTHY, running, probed=False)


def test_waiting_for_a_failed_service_says_that_it_failed() -> None:
    assert failed(Condition.HEALTHY, Status(State.FAILED))
    assert failed(Condition.COMPLETED, Status(State.FAILED))
    assert not failed(Condition.HEALTHY, Status(State.BACKOFF))
