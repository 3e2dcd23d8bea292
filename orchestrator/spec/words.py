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
    for one in error.errors(include_url=False):
        path = tuple(part for part in one["loc"] if part != "[key]")
        yield path, _message(one, path, model)


def _message(one: Mapping[str, Any], path: Where, model: type[BaseModel]) -> str:
    context, value = one.get("ctx") or {}, one["input"]
    if isinstance(value, Template) and one["type"] != "missing":
        return f"{value.refs[0]} is known only when a service starts, and cannot stand here"
    match one["type"]:
        case "extra_forbidden":
            return "unknown key" + _near(str(path[-1]), keys_at(model, path[:-1]))
        case "missing":
            return "is missing"
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            return f"must be {context['expected']}".replace("'", '"')
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be a mapping"
        case "tuple_type":
            return "must be a list"
        case "greater_than":
            return "must be more than 0"
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
    """Return the keys that the file may have at ``path``; none where there is no fixed set."""
    here: Any = model
    for part in path:
        here = _inner(here, part)
    return keys_of(here) if here is not None else []


def keys_of(model: Any) -> list[str]:  # noqa: ANN401  types are values here
    """Return the keys of a mapping in the file that becomes ``model``."""
    found = model_of(model)
    if found is None:
        return []
    hidden = HIDDEN.get(found.__name__, set())
    fields = found.model_fields.items()
    keys = [field.alias or name for name, field in fields if name not in hidden]
    return [*keys, *SHORT.get(found.__name__, ())]


def _inner(here: Any, part: str | int) -> Any:  # noqa: ANN401
    model = model_of(here)
    if model is not None:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
        return None
    arguments = typing.get_args(_bare(here))
    kind = typing.get_origin(_bare(here))
    return {dict: arguments[-1:], tuple: arguments[:1]}.get(kind, (None,))[0]


def model_of(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401
    """Return the model of an annotation such as ``Limit | None``; None if it has none."""
    bare = _bare(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _bare(annotation: Any) -> Any:  # noqa: ANN401
    """Return an annotation without ``| None``."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        options = [one for one in typing.get_args(annotation) if one is not type(None)]
        return options[0]
    return annotation
