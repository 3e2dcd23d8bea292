"""The answers of the dialect, byte shapes as the .NET service gives them."""

import json
import secrets
from typing import Any

from starlette.responses import Response

from orchestrator.scheduler.server.bodies import BodyRefused
from orchestrator.scheduler.server.moments import written
from orchestrator.scheduler.server.records import Record

_SECTIONS = {400: "15.5.1", 401: "15.5.2", 404: "15.5.5", 413: "15.5.14", 415: "15.5.16"}
_TITLES = {
    400: "One or more validation errors occurred.",
    401: "Unauthorized",
    404: "Not Found",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    503: "Service Unavailable",
}


class Json(Response):
    """A JSON body in UTF-8."""

    media_type = "application/json; charset=utf-8"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - as Starlette has it
        """Return the compact text."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class Problem(Json):
    """A problem document of RFC 9110's status codes, in RFC 9457's shape."""

    media_type = "application/problem+json; charset=utf-8"

    def __init__(self, status: int, errors: dict[str, list[str]] | None = None) -> None:
        section = _SECTIONS.get(status, "15.6.4")
        content: dict[str, object] = {
            "type": f"https://tools.ietf.org/html/rfc9110#section-{section}",
            "title": _TITLES[status],
            "status": status,
        }
        if errors:
            content["errors"] = errors
        content["traceId"] = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        super().__init__(content, status)


def empty(status: int, headers: dict[str, str] | None = None) -> Response:
    """Return an answer without a body and without a content type."""
    return Response(status_code=status, headers=headers)


def refused_body(refusal: BodyRefused) -> Response:
    """Return the answer to a body that cannot be taken."""
    if refusal.status == 413:
        return empty(413, {"Connection": "close"})
    return Problem(refusal.status, refusal.errors)


def error(text: str) -> Response:
    """Return a tool's refusal."""
    return Json({"error": text}, 400)


def conversation(record: Record, *, with_zone: bool = False) -> dict[str, object]:
    """Return the resource; times have a zone only in the answer that creates it, as in .NET."""
    zone = "Z" if with_zone else ""
    scheduled = record.scheduled
    return {
        "id": record.id,
        "scheduledTime": str(scheduled) if with_zone else written(scheduled.ticks),
        "conversationText": record.text,
        "createdAt": written(record.created_ticks) + zone,
        "updatedAt": written(record.updated_ticks) + zone,
        "status": record.status.number,
        "target": {
            "id": record.target_id,
            "conversationId": record.id,
            "endpoint": record.target.endpoint,
            "method": record.target.method,
            "headersJson": record.target.headers_json,
            "additionalInfo": record.target.additional_info,
        },
    }
