"""What crosses the control socket: the protocol's number, and errors as plain values."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from orchestrator import errors
from orchestrator.errors import OrchestratorError, PortOwner, Problem

PROTOCOL = 1

_STATUS = {"unknown-service": 404, "port-in-use": 409, "error": 500}
_REFUSED = 422


def kinds() -> dict[str, type[OrchestratorError]]:
    """Return every class of error by its kind."""
    return {one.kind: one for one in _classes(OrchestratorError)}


def to_wire(error: OrchestratorError) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the JSON value of an error."""
    value = {"kind": error.kind, "message": error.message, **errors.attributes(error)}
    return _STATUS.get(error.kind, _REFUSED), value


def from_wire(value: Mapping[str, Any]) -> OrchestratorError:
    """Return the error that a JSON value stands for; an unknown kind is an OrchestratorError."""
    kind = kinds().get(str(value.get("kind")), OrchestratorError)
    known = {one.name for one in fields(kind)}
    values = {name: _restored(name, one) for name, one in value.items() if name in known}
    values.setdefault("message", "the supervisor refused, and did not say why")
    return kind(**values)


def _restored(name: str, value: Any) -> Any:  # noqa: ANN401  JSON is anything
    match name:
        case "owner":
            return PortOwner(**value)
        case "problems":
            return tuple(Problem(**one) for one in value)
        case _:
            return tuple(value) if isinstance(value, list) else value


def _classes(kind: type[OrchestratorError]) -> Iterator[type[OrchestratorError]]:
    yield kind
    for below in kind.__subclasses__():
        # A class without a kind of its own stays where it is raised; its parent stands for it.
        if "kind" in vars(below):
            yield from _classes(below)
