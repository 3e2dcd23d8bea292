"""Conversations as rows for people and as JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from orchestrator.cli.table import harmless
from orchestrator.scheduler.values import Conversation

_LONGEST_TEXT = 40


def local(moment: datetime) -> str:
    """Return a time as people here write it, with its offset."""
    return moment.astimezone().isoformat(" ", "seconds")


def wire_time(moment: datetime) -> str:
    """Return a time in UTC with milliseconds, as all JSON of this program has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_endpoint(endpoint: str) -> str:
    """Return an address for people: one line, and nobody's password."""
    try:
        has_user = "@" in urlsplit(endpoint).netloc
    except ValueError:
        has_user = False
    before, at, rest = endpoint.partition("@")
    scheme = before.partition("//")[0]
    return harmless(f"{scheme}//••••{at}{rest}" if has_user else endpoint)


def document(conversation: Conversation) -> dict[str, object]:
    """Return a conversation as JSON. Of headers only the names: values may be keys."""
    target = conversation.target
    return {
        "id": conversation.id,
        "status": conversation.status.value,
        "text": conversation.text,
        "scheduled_time": wire_time(conversation.scheduled_time),
        "created_at": wire_time(conversation.created_at),
        "updated_at": wire_time(conversation.updated_at),
        "endpoint": as_endpoint(target.endpoint),
        "method": target.method,
        "headers": header_names(target.headers_json),
        "additional_info": target.additional_info,
    }


def header_names(headers_json: str | None) -> list[str]:
    """Return the names of the headers that a conversation is sent with."""
    try:
        headers = json.loads(headers_json or "{}")
    except (ValueError, RecursionError):
        return []
    return [str(name) for name in headers] if isinstance(headers, dict) else []


def details(conversation: Conversation) -> Iterator[str]:
    """Yield a line for each thing that is known of a conversation."""
    rows = {
        "id": conversation.id,
        "status": conversation.status.value,
        "scheduled": local(conversation.scheduled_time),
        "created": local(conversation.created_at),
        "updated": local(conversation.updated_at),
        "to": f"{conversation.target.method} {as_endpoint(conversation.target.endpoint)}",
        "headers": ", ".join(header_names(conversation.target.headers_json)),
        "info": conversation.target.additional_info or "",
        "text": conversation.text,
    }
    for name, value in rows.items():
        if value:
            yield f"{name:<10}{harmless(value)}"


def table(conversations: Sequence[Conversation]) -> Iterator[str]:
    """Yield the header and a line for each conversation."""
    rows = [("ID", "STATUS", "SCHEDULED", "TO", "TEXT"), *map(_cells, conversations)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells: Iterable[str] = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  ".join((*cells, row[4])).rstrip()


def _cells(conversation: Conversation) -> tuple[str, ...]:
    text = harmless(conversation.text)
    return (
        harmless(conversation.id),
        conversation.status.value,
        local(conversation.scheduled_time),
        as_endpoint(conversation.target.endpoint),
        text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…",
    )
