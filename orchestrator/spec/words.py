"""What the model finds wrong, in words for people."""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.spec.template import Template
from orchestrator.spec.tree import Where

HIDDEN = {
    "Project": {"file", "env_file_values", "secret_values"},
    "Service": {"name", "env_file_values"},
    "Requires": {"set_by_user"},
}
"""Fields that are no keys of the file."""

SHORT = {"Service": ("command", "shell"), "Alternative": ("shell",)}
"""Keys of the file that are no fields, because they are written out before."""

_SAID = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_unicode": "is not UTF-8",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "greater_than": "must be more than 0",
}

_ELSEWHERE = {
    "environment": "env",
    "working_dir": "cwd",
    "directory": "cwd",
    "healthcheck": "health",
    "readiness_probe": "health",
    "cmd": "command",
    "entrypoint": "command",
    "autorestart": "restart",
    "ports": "port",
    "dependsOn": "depends_on",
    "requires": "depends_on",
    "processes": "services",
    "stop_grace_period": "stop",
    "stop_signal": "stop",
}
"""What other supervisors call a thing."""


def problems(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Where, str]]:
    """Yield the path in the file and the message of each thing that is wrong."""
    found = error.errors(include_url=False)
    for one in found:
        # pydantic counts only the good items: a list is not short because of a bad one in it.
        if one["type"] == "too_short" and any(_below(other["loc"], one["loc"]) for other in found):
            continue
        path = tuple(part for part in one["loc"] if part != "[key]")
        yield path, _message(one, path, model)


def _below(path: Where, above: Where) -> bool:
    return len(path) > len(above) and path[: len(above)] == above


def _message(one: Mapping[str, Any], path: Where, model: type[BaseModel]) -> str:
    context, value = one.get("ctx") or {}, one["input"]
    if isinstance(value, Template) and one["type"] != "missing":
        return f"{value.refs[0]} is known only when a service starts, and cannot stand here"
    kind = one["type"]
    if kind in _SAID:
        return _SAID[kind]
    match kind:
        case "extra_forbidden":
            return "unknown key" + _near(str(path[-1]), keys_at(model, path[:-1]))
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            return f"must be {context['expected']}".replace("'", '"')
        case "greater_than_equal":
            return f"must be {context['ge']:g} or more"
        case "less_than_equal":
            return f"must be {context['le']:g} at most"
        case _:  # pragma: no cover  pydantic may learn to say more
            return str(one["msg"])


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    other = _ELSEWHERE.get(name)
    if not near and other in known:
        near = [other]
    return f'; did you mean "{near[0]}"?' if near else ""


def keys_at(model: type[BaseModel], path: Where) -> list[str]:
    """Return the keys that the mapping at ``path`` may have in the file."""
    here: Any = model
    for part in path:
        here = _inner(here, part)
    return keys_of(here)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a mapping in the file that becomes ``model``."""
    hidden = HIDDEN.get(model.__name__, set())
    fields = model.model_fields.items()
    keys = [field.alias or name for name, field in fields if name not in hidden]
    return [*keys, *SHORT.get(model.__name__, ())]


def _inner(here: Any, part: str | int) -> Any:  # noqa: ANN401  types are values here
    arguments = typing.get_args(here)
    if typing.get_origin(here) is dict:
        return arguments[-1]
    if typing.get_origin(here) is tuple:
        return arguments[0]
    fields = here.model_fields.items()
    found = next(field.annotation for name, field in fields if part == (field.alias or name))
    if typing.get_origin(found) in {typing.Union, types.UnionType}:
        return typing.get_args(found)[0]  # the other one is None
    return found
