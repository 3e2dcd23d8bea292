"""What the model finds wrong, in words for people."""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]

_ADDED = re.compile(r"int|constrained-int|literal\[.*\]|function-.*")


def problems(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Path, str]]:
    """Yield the path in the file and the message of each thing that is wrong."""
    for one in error.errors(include_url=False, include_context=True):
        path = _path_in_file(one["loc"])
        yield path, _message(one["type"], one["msg"], one.get("ctx") or {}, path, model)


def _path_in_file(location: tuple[str | int, ...]) -> Path:
    """Drop what pydantic adds to a location, such as the member of a union it tried."""
    return tuple(one for one in location if isinstance(one, int) or not _ADDED.fullmatch(one))


def _message(
    kind: str, text: str, context: dict[str, Any], path: Path, model: type[BaseModel]
) -> str:
    match kind:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), keys_at(model, path[:-1]), n=1)
            return "unknown key" + (f'; did you mean "{near[0]}"?' if near else "")
        case "missing":
            return "is missing"
        case "value_error":
            return str(context.get("error", text))
        case "literal_error" | "enum":
            return f"must be {context.get('expected', '')}".replace("'", '"')
        case "too_short":
            return "must not be empty"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be a mapping"
        case "tuple_type" | "list_type":
            return "must be a list"
        case _:
            return text.replace("Input should be", "must be").replace("Value error, ", "")


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that the file may have at ``path``; none where there is no fixed set."""
    here: Any = model
    for part in path:
        here = _inner(here, part)
    if isinstance(here, type) and issubclass(here, BaseModel):
        own = {"name", "file", "env_file_values", "set_by_user"}
        keys = [field.alias or name for name, field in here.model_fields.items() if name not in own]
        if here.__name__ == "Service":
            keys += ["command", "shell"]
        if here.__name__ in {"Project", "Mcp"}:
            keys += ["name"]
        return keys
    return []


def _inner(here: Any, part: str | int) -> Any:  # noqa: ANN401  types are values here
    for option in _options(here):
        if isinstance(option, type) and issubclass(option, BaseModel):
            for name, field in option.model_fields.items():
                if part in (name, field.alias):
                    return field.annotation
        arguments = typing.get_args(option)
        if typing.get_origin(option) in {dict, tuple} and arguments:
            return arguments[-1] if typing.get_origin(option) is dict else arguments[0]
    return None


def _options(here: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if typing.get_origin(here) in {typing.Union, types.UnionType}:
        return tuple(one for one in typing.get_args(here) if one is not type(None))
    return (here,)
