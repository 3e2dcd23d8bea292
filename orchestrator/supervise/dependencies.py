"""Whether what a service waits for is there; pure."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.core.status import Health, State, Status
from orchestrator.spec.model import Condition, Service


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that a service still waits for."""

    service: str
    condition: Condition
    failed: bool
    """Whether it cannot come true before somebody mends that service."""


def waiting_for(
    service: Service, status_of: Callable[[str], Status], probed: Callable[[str], bool]
) -> tuple[Waiting, ...]:
    """Return what ``service`` still waits for, in the file's order; empty when it may start.

    ``probed`` tells whether a service has a health probe: `healthy` of one without means running.
    """
    return tuple(
        Waiting(name, condition, failed=_hopeless(status_of(name), condition))
        for name, condition in service.depends_on.items()
        if not _met(status_of(name), condition, has_probe=probed(name))
    )


def _met(status: Status, condition: Condition, *, has_probe: bool) -> bool:
    match condition:
        case Condition.COMPLETED:
            return status.state is State.COMPLETED
        case Condition.STARTED:
            spawned = status.state in {State.STARTING, State.RUNNING} and status.pid is not None
            return spawned or status.state in {State.COMPLETED, State.EXITED}
        case Condition.HEALTHY:
            if status.state is State.COMPLETED:
                return True
            return status.state is State.RUNNING and (
                not has_probe or status.health is Health.HEALTHY
            )


def _hopeless(status: Status, condition: Condition) -> bool:
    if status.state is State.FAILED:
        return True
    return condition is Condition.HEALTHY and status.state in {State.EXITED, State.STOPPED}
