"""Reading JSON bodies the way ASP.NET does, with its refusals."""

import json
from collections.abc import Mapping
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request

from orchestrator.scheduler.server.moments import Moment, read_strictly

Fields = dict[str, object]


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class BodyRefused(Exception):
    """The body cannot be taken: ``status`` is 400, 413 or 415, ``errors`` says why per field."""

    def __init__(self, status: int, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(f"body refused with {status}")
        self.status = status
        self.errors = errors or {}


async def read_fields(request: Request, largest_bytes: int) -> Fields:
    """Return the JSON object in the body; property names are lower-cased, the last one wins.

    Raises:
        BodyRefused: 415 no JSON content type, 413 too large, 400 empty, broken, or no object.
    """
    if not _is_json(request.headers.get("content-type", "")):
        raise BodyRefused(415)
    text = _decoded(await _read(request, largest_bytes))
    if not text.strip():
        refuse("", "A non-empty request body is required.")
    try:
        value = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, {"$": ["The body is not valid JSON."]}) from error
    if not isinstance(value, dict):
        refuse("$", "A JSON object is required.")
    return {name.lower(): field for name, field in value.items()}


def text_field(fields: Mapping[str, object], name: str, path: str = "") -> str:
    """Return a required text.

    Raises:
        BodyRefused: it is missing, null or no text.
    """
    value = optional_text_field(fields, name, path)
    if value is None:
        refuse(path + name, f"The {name} field is required.")
    return value


def optional_text_field(fields: Mapping[str, object], name: str, path: str = "") -> str | None:
    """Return a text, or None where it is missing or null.

    Raises:
        BodyRefused: it is no text.
    """
    value = fields.get(name.lower())
    if value is None or (isinstance(value, str) and not isinstance(value, Number)):
        return value
    return refuse(f"$.{path}{name}", f"The {name} field must be a string.")


def time_field(fields: Mapping[str, object], name: str) -> Moment:
    """Return a time; a missing one is the first of all times, as in .NET.

    Raises:
        BodyRefused: it is null or no ISO 8601 time.
    """
    if name.lower() not in fields:
        return Moment(ticks=-621_355_968_000_000_000, zone="none")
    value = fields[name.lower()]
    is_text = isinstance(value, str) and not isinstance(value, Number)
    moment = read_strictly(str(value)) if is_text else None
    if moment is None:
        refuse(f"$.{name}", f"The {name} field must be an ISO 8601 time.")
    return moment


def object_field(fields: Mapping[str, object], name: str) -> dict[str, object]:
    """Return a required object as it is.

    Raises:
        BodyRefused: it is missing, null or no object.
    """
    value = fields.get(name.lower())
    if value is None:
        refuse(name, f"The {name} field is required.")
    if not isinstance(value, dict):
        refuse(f"$.{name}", f"The {name} field must be an object.")
    return value


def as_text(value: object) -> str | None:
    """Return an argument of a tool as text: what is no text becomes its JSON, None stays None."""
    if isinstance(value, bool):
        return str(value)
    return value if value is None or isinstance(value, str) else _json(value)


def refuse(path: str, problem: str) -> NoReturn:
    """Refuse the body for one field.

    Raises:
        BodyRefused: always.
    """
    raise BodyRefused(400, {path: [problem]})


def _json(value: object) -> str:
    if isinstance(value, dict):
        inner = (f"{json.dumps(k, ensure_ascii=False)}:{_json(v)}" for k, v in value.items())
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


async def _read(request: Request, largest_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > largest_bytes:
        raise BodyRefused(413)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest_bytes:
                raise BodyRefused(413)
    except ClientDisconnect as error:
        raise BodyRefused(400) from error
    return bytes(body)


def _is_json(content_type: str) -> bool:
    kind, *options = (part.strip().lower() for part in content_type.split(";"))
    charsets = [o.partition("=")[2].strip('" ') for o in options if o.startswith("charset=")]
    is_json = kind in {"application/json", "text/json"} or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    return is_json and set(charsets) <= {"utf-8", "utf8", "us-ascii"}


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BodyRefused(400, {"$": ["The body is not valid UTF-8."]}) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
