"""JSON as bytes, by the interpreter's own C code alone.

The json package would bring re, enum and functools along: a third of a shim's memory, as every
object that a forked process touches becomes its own copy.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class _Rules:
    """How the scanner reads: as json.loads does."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}.get


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"not for JSON: {type(value).__name__}")


_scan = _json.make_scanner(_Rules)  # type: ignore[arg-type]
_SORTED = _SKIPS = False
_NAN = True
_write = _json.make_encoder(
    None, _refuse, _json.encode_basestring_ascii, None, ":", ",", _SORTED, _SKIPS, _NAN
)


def encoded(value: object) -> bytes:
    """Return a value as one line of JSON, with its newline."""
    return "".join(_write(value, 0)).encode("ascii") + b"\n"


def decoded_object(line: bytes) -> dict[str, Any]:
    """Return the object that a line of JSON holds. Raises ValueError when it is none."""
    value = _decoded(line)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 one kind of error for one kind of fault
    return value


def _decoded(line: bytes) -> object:
    text = str(line, "utf-8").strip()
    try:
        value, end = _scan(text, 0)
    except (StopIteration, SystemError):
        # The scanner's own exception is in the json package, which is not there.
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value
