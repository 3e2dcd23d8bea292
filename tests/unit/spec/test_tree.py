"""YAML with the places of its values, by either of PyYAML's readers."""

from typing import Any

import pytest
import yaml

from orchestrator.spec.tree import TooLarge, Unreadable, read
from tests.unit.spec.test_dump import EVERYTHING

both = pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader], ids=["C", "Python"])


def test_both_readers_say_the_same() -> None:
    fast, slow = (read(EVERYTHING, loader) for loader in (yaml.CSafeLoader, yaml.SafeLoader))
    assert fast.value == slow.value == yaml.safe_load(EVERYTHING)
    assert fast.places == slow.places


@both
def test_a_value_has_the_place_of_its_key_or_of_itself_in_a_list(loader: Any) -> None:
    tree = read("a:\n  b: [x,\n    y]\n", loader)
    assert tree.places == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", "b"): (2, 3),
        ("a", "b", 0): (2, 7),
        ("a", "b", 1): (3, 5),
    }
    assert tree.place(("a", "b", 7, "z")) == (2, 3)
    assert tree.place(("z",)) == (1, 1)
    assert read("", loader).place(("z",)) == (None, None)


@both
def test_merged_keys_come_after_own_ones_and_the_first_of_several_wins(loader: Any) -> None:
    text = """
one: &one {a: 1, b: 1}
two: &two {b: 2, c: 2}
all: {<<: [*one, *two], c: 3, "<<": literal}
"""
    value = read(text, loader).value
    assert value["all"] == {"a": 1, "b": 1, "c": 3, "<<": "literal"}


@both
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0o17", "0o17"),
        ("017", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        (".inf", float("inf")),
        ("1:30.5", "1:30.5"),
        ("on", True),
        ("~", None),
        ("=", "="),
        ("2026-11-23 01:02:03", "2026-11-23 01:02:03"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
    ],
)
def test_a_scalar_is_what_yaml_says_but_no_number_to_base_60(
    loader: Any, text: str, value: Any
) -> None:
    assert read(text, loader).value == value


@both
@pytest.mark.parametrize(
    "text",
    [
        "!!binary aGk=",
        "!!set {a}",
        "!!python/object:os.system x",
        "!!bool x",
        '!!int ""',
        "!x y",
        "9" * 5000,
    ],
)
def test_what_is_no_plain_value_is_reported_and_marked(loader: Any, text: str) -> None:
    tree = read(text, loader)
    assert isinstance(tree.value, Unreadable)
    assert len(tree.problems) == 1


@both
@pytest.mark.parametrize("depth", [90, 150, 900, 5000])
def test_depth_has_a_limit_that_nobody_reaches(loader: Any, depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth == 90:
        assert read(text, loader).problems == []
        return
    with pytest.raises(TooLarge, match="is nested too deeply"):
        read(text, loader)
