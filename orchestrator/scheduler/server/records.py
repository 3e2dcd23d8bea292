"""A conversation as the store keeps it."""

from dataclasses import dataclass, replace
from uuid import uuid4

from orchestrator.scheduler.server.moments import Moment, now_ticks
from orchestrator.scheduler.values import Status, Target


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation. Times are ticks (100 ns) since the epoch, in UTC."""

    id: str
    text: str
    status: Status
    scheduled: Moment
    created_ticks: int
    updated_ticks: int
    target_id: str
    target: Target
    attempts: int = 0


def new_record(text: str, scheduled: Moment, target: Target, wall_ns: int) -> Record:
    """Return a record with fresh ids, created at ``wall_ns`` (nanoseconds since the epoch)."""
    now = now_ticks(wall_ns)
    return Record(
        str(uuid4()), text, Status.SCHEDULED, scheduled, now, now, str(uuid4()), replace(target)
    )
