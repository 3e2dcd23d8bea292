"""The conversations as a REST resource, `/api/conversations`."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.server import answers, bodies
from orchestrator.scheduler.server.guids import read_guid
from orchestrator.scheduler.server.moments import now_ticks
from orchestrator.scheduler.server.store import Store
from orchestrator.scheduler.server.tools import ToolRefused, Tools
from orchestrator.scheduler.values import STATUSES, Target

DEFAULT_PAGE_SIZE = 10
LARGEST_PAGE_SIZE = 100
LARGEST_INT = 2**31 - 1


class Conversations:
    """Create, read, list and cancel."""

    def __init__(self, tools: Tools, store: Store, clock: Clock, largest_body_bytes: int) -> None:
        self._tools = tools
        self._store = store
        self._clock = clock
        self._largest = largest_body_bytes

    async def create(self, request: Request) -> Response:
        """Answer ``POST /api/conversations``."""
        fields = await bodies.read_fields(request, self._largest)
        text = bodies.text_field(fields, "conversationText")
        scheduled = bodies.time_field(fields, "scheduledTime")
        target = _target(bodies.object_field(fields, "target"))
        try:
            record = await self._tools.create(text, scheduled, target)
        except ToolRefused as refusal:
            return answers.error(str(refusal))
        response = answers.Json(answers.conversation(record, with_zone=True), 201)
        host = quote(request.headers["host"], safe="[]:")
        response.headers["Location"] = f"http://{host}/api/Conversations/{record.id}"
        return response

    async def read(self, request: Request) -> Response:
        """Answer ``GET /api/conversations/{id}``."""
        record = await self._store.find(_guid(request))
        return (
            answers.Problem(404) if record is None else answers.Json(answers.conversation(record))
        )

    async def cancel(self, request: Request) -> Response:
        """Answer ``DELETE /api/conversations/{id}``."""
        now = now_ticks(self._clock.wall_ns())
        was_scheduled = await self._store.cancel(_guid(request), now)
        return answers.empty(204) if was_scheduled else answers.Problem(404)

    async def list(self, request: Request) -> Response:
        """Answer ``GET /api/conversations``, newest created first."""
        asked = {
            name.lower(): value for name, value in reversed(request.query_params.multi_items())
        }
        number = max(_int(asked, "page", 1), 1)
        size = _int(asked, "pageSize", DEFAULT_PAGE_SIZE)
        size = DEFAULT_PAGE_SIZE if size < 1 else min(size, LARGEST_PAGE_SIZE)
        status = status_number(asked.get("status", ""))
        records, total = await self._store.page(status, number, size)
        content = {
            "data": [answers.conversation(record) for record in records],
            "page": number,
            "pageSize": size,
            "totalCount": total,
            "totalPages": -(-total // size),
        }
        return answers.Json(content)


def status_number(text: str) -> int | None:
    """Read a status by name without case or by number; None, which filters nothing, for others."""
    word = text.strip().lower()
    named = next((status.number for status in STATUSES if status.value.lower() == word), None)
    if named is not None:
        return named
    digits = word[1:] if word[:1] in {"+", "-"} else word
    is_number = digits.isascii() and digits.isdigit() and int(digits) <= LARGEST_INT
    return int(word) if is_number else None


def _target(given: dict[str, object]) -> Target:
    fields = {name.lower(): value for name, value in given.items()}
    return Target(
        endpoint=bodies.text_field(fields, "endpoint", "target."),
        method=bodies.text_field(fields, "method", "target."),
        headers_json=bodies.optional_text_field(fields, "headersJson", "target."),
        additional_info=bodies.optional_text_field(fields, "additionalInfo", "target."),
    )


def _guid(request: Request) -> str:
    text = request.path_params["id"]
    return read_guid(text) or bodies.refuse("id", f"The value '{text}' is not valid.")


def _int(asked: dict[str, str], name: str, default: int) -> int:
    text = asked.get(name.lower())
    if text is None:
        return default
    digits = text.strip().lstrip("+-")
    if not (
        digits.isascii() and digits.isdigit() and len(digits) < 12 and int(digits) <= LARGEST_INT
    ):
        bodies.refuse(name, f"The value '{text}' is not valid.")
    try:
        return int(text)
    except ValueError:
        bodies.refuse(name, f"The value '{text}' is not valid.")
