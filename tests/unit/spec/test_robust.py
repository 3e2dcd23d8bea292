"""Whatever stands anywhere in a file, the answer is a project or problems with their places."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import SpecError
from orchestrator.spec.load import load
from tests.unit.spec.test_dump import EVERYTHING

WHOLE = yaml.safe_load(EVERYTHING)
ODD: list[Any] = [
    None,
    True,
    -1,
    1.5,
    float("nan"),
    10**400,
    "",
    "none",
    "${PORT}",
    "${services.web.url}x",
    "${A",
    "$",
    [],
    ["${PORT}", None],
    [[]],
    {},
    {"": None},
    {"a": {"b": ["${secrets.key}"]}},
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    for key, one in inner.items() if isinstance(inner, dict) else ():
        yield from paths(one, (*path, key))


def changed(path: tuple[Any, ...], odd: Any) -> Any:
    """Return the whole file with one value in it replaced."""
    if not path:
        return odd
    whole = copy.deepcopy(WHOLE)
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    return whole


@pytest.mark.parametrize("path", list(paths(WHOLE)), ids=lambda path: ".".join(map(str, path)))
def test_any_value_in_any_place_gives_an_answer(tmp_path: Path, path: tuple[Any, ...]) -> None:
    file = tmp_path / "services.yaml"
    for odd in ODD:
        file.write_text(yaml.dump(changed(path, odd), Dumper=yaml.CSafeDumper))
        try:
            load(file, {})
        except SpecError as error:
            found = error.problems
        else:
            continue
        assert found
        assert all(one.message and one.line for one in found)
