"""Reading what a scheduler says about conversations, whatever the quirks of the wire."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.scheduler.errors import Rejected
from orchestrator.scheduler.values import STATUSES, Conversation, Page, Status, Target, utc


def read_conversation(data: Mapping[str, Any]) -> Conversation:
    """Read a conversation of `/api/conversations`.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    target = data["target"]
    return Conversation(
        id=str(data["id"]),
        text=str(data["conversationText"]),
        status=read_status(data["status"]),
        scheduled_time=read_time(data["scheduledTime"]),
        created_at=read_time(data["createdAt"]),
        updated_at=read_time(data["updatedAt"]),
        target=Target(
            endpoint=str(target["endpoint"]),
            method=str(target["method"]),
            headers_json=target.get("headersJson"),
            additional_info=target.get("additionalInfo"),
        ),
    )


def read_page(data: Mapping[str, Any]) -> Page:
    """Read a page of `/api/conversations`.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    return Page(
        conversations=tuple(read_conversation(item) for item in data["data"]),
        number=int(data["page"]),
        size=int(data["pageSize"]),
        total=int(data["totalCount"]),
        pages=int(data["totalPages"]),
    )


def read_status(value: object) -> Status:
    """Read a status: a number from the resource, a word from the tool.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, int) and 0 <= value < len(STATUSES):
        return STATUSES[value]
    return Status(str(value))


def read_time(text: str) -> datetime:
    """Read a time: one without a zone is UTC, for so the service's database gives them back.

    Raises:
        ValueError: it is no time.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else utc(moment)


def time_on_the_wire(moment: datetime | str) -> str:
    """Return a time as it is sent: in UTC, with ``Z``. What has no zone is local time.

    Raises:
        Rejected: a text that is no ISO 8601 time.
    """
    try:
        given = datetime.fromisoformat(moment.strip()) if isinstance(moment, str) else moment
        return utc(given).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError) as error:
        raise Rejected(f"{moment!r} is no time; use ISO 8601, such as 2031-01-31T09:30:00Z") from (
            error
        )
