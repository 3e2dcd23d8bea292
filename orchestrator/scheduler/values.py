"""The words and values that client and server share."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Status(StrEnum):
    """Where a conversation is. The resource says it as a number: its place in this list."""

    SCHEDULED = "Scheduled"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def number(self) -> int:
        """Return the number that `/api/conversations` uses on the wire."""
        return STATUSES.index(self)

    @property
    def is_final(self) -> bool:
        """Tell whether nothing will happen to the conversation any more."""
        return self in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


STATUSES = tuple(Status)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a conversation goes; ``additional_info`` is kept and never sent."""

    endpoint: str
    method: str = "POST"
    headers_json: str | None = None
    additional_info: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as the scheduler keeps it. All times are aware and in UTC."""

    id: str
    text: str
    status: Status
    scheduled_time: datetime
    created_at: datetime
    updated_at: datetime
    target: Target


@dataclass(frozen=True, slots=True)
class Page:
    """One page of conversations, newest created first; ``number`` counts from 1."""

    conversations: tuple[Conversation, ...]
    number: int
    size: int
    total: int
    pages: int


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the scheduler offers; ``input_schema`` is a JSON Schema."""

    name: str
    description: str
    input_schema: dict[str, object]


def utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; one without a zone is local time, as Python has it."""
    return moment.astimezone(UTC)
