"""YAML as plain values, with the place in the file of each."""

from dataclasses import dataclass, field
from typing import Any

import yaml

Where = tuple[str | int, ...]
"""The way to a value: keys and, in lists, numbers from 0."""

_MAX_NODES = 100_000
_MAX_DEPTH = 100
# A nesting that only text this full of it can have is let through without being counted.
_HARMLESS = 2000
_TAG = "tag:yaml.org,2002:"
_SCALARS = {"str", "null", "bool", "int", "float", "timestamp", "value"}
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's loader on libyaml where it was built with it; it reads ten times as fast."""


class NumberAsWritten(float):
    """A number that knows how it was written, because some places want the text: 1.10, 0755."""

    text: str


class IntegerAsWritten(int):
    """The same for whole numbers."""

    text: str


class Unreadable:
    """Stands for a value that was reported, so that it is not taken for one that is missing."""


@dataclass(slots=True)
class Tree:
    """The document as plain values; ``places`` are line and column from 1 of keys and values."""

    value: Any = None
    places: dict[Where, tuple[int, int]] = field(default_factory=dict)
    problems: list[tuple[Where, int, int, str]] = field(default_factory=list)

    def place(self, path: Where) -> tuple[int | None, int | None]:
        """Return the place of the nearest thing on the way to ``path``."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None, None


class TooLarge(ValueError):
    """The document is nested too deeply, or its aliases unfold to more than anybody wrote."""


def read(text: str, loader_type: Any = FAST_LOADER) -> Tree:  # noqa: ANN401  PyYAML's, C or Python
    """Return the only document of ``text``.

    Raises:
        yaml.YAMLError: it is no YAML, or there is a second document.
        TooLarge: nested too deeply, or too large when its aliases are unfolded.
    """
    _check_depth(text, loader_type)
    tree = Tree()
    loader = loader_type(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            tree.value = _Reader(loader, tree).value(node, ())
    except RecursionError:
        raise TooLarge("is nested too deeply") from None
    finally:
        loader.dispose()
    return tree


def _check_depth(text: str, loader_type: Any) -> None:  # noqa: ANN401
    """Refuse what would overflow the C stack: libyaml's composer recurses without a limit."""
    openers = text.count("[") + text.count("{") + text.count("- ") + text.count("? ")
    widest = max((len(line) - len(line.lstrip(" ")) for line in text.splitlines()), default=0)
    if openers + widest < _HARMLESS:
        return
    depth = 0
    for event in yaml.parse(text, Loader=loader_type):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise TooLarge("is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    def __init__(self, loader: Any, tree: Tree) -> None:  # noqa: ANN401
        self._loader = loader
        self._tree = tree
        self._count = 0
        self._open: set[int] = set()
        self._pairs: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}

    def value(self, node: yaml.Node, path: Where) -> Any:  # noqa: ANN401  YAML is anything
        self._spend(1)
        self._tree.places.setdefault(path, _place(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._problem(node, path, "holds itself")
        if node.tag not in {_TAG + "map", _TAG + "seq"}:
            return self._problem(node, path, f"the tag {_tag(node)} is not known here")
        if len(path) >= _MAX_DEPTH:
            raise TooLarge("is nested too deeply")
        self._open.add(id(node))
        value = self._collection(node, path)
        self._open.remove(id(node))
        return value

    def _collection(self, node: yaml.Node, path: Where) -> Any:  # noqa: ANN401
        if isinstance(node, yaml.SequenceNode):
            return [self.value(one, (*path, number)) for number, one in enumerate(node.value)]
        values: dict[str, Any] = {}
        for key, (key_node, value_node) in self._merged(node, path).items():
            self._tree.places[(*path, key)] = _place(key_node)
            values[key] = self.value(value_node, (*path, key))
        return values

    def _merged(self, node: yaml.Node, path: Where) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return a mapping's pairs with those that `<<` brings in; its own count more."""
        if id(node) in self._pairs:
            return self._pairs[id(node)]
        self._pairs[id(node)] = {}  # for one that merges itself
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for source in self._sources(value_node, path):
                    pairs = self._merged(source, path)
                    self._spend(1 + len(pairs))
                    merged = {**pairs, **merged}
            elif not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be a word")
            elif key_node.value in own:
                self._problem(key_node, (*path, key_node.value), "the key stands here twice")
            else:
                own[key_node.value] = key_node, value_node
        self._pairs[id(node)] = {**merged, **own}
        return self._pairs[id(node)]

    def _sources(self, node: yaml.Node, path: Where) -> list[yaml.Node]:
        found = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if all(isinstance(one, yaml.MappingNode) for one in found):
            return list(found)
        self._problem(node, path, "`<<` takes a mapping or a list of mappings")
        return []

    def _scalar(self, node: yaml.ScalarNode, path: Where) -> Any:  # noqa: ANN401
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind not in _SCALARS:
            return self._problem(node, path, f"the tag {_tag(node)} is not known here")
        if "\0" in text:
            return self._problem(node, path, "holds a NUL character")
        if kind == "null":
            return None
        # Two numbers with a colon are a port mapping or a time to people, not a number to base 60.
        if kind not in {"bool", "int", "float"} or (kind != "bool" and ":" in text):
            return text
        try:
            value = getattr(self._loader, f"construct_yaml_{kind}")(node)
        except (ValueError, KeyError, IndexError):
            return self._problem(node, path, f"is no YAML {kind}")
        return value if kind == "bool" else _as_written(value, text)

    def _spend(self, count: int) -> None:
        self._count += count
        if self._count > _MAX_NODES:
            raise TooLarge(f"its aliases unfold to more than {_MAX_NODES:,} values")

    def _problem(self, node: yaml.Node, path: Where, message: str) -> Unreadable:
        self._tree.problems.append((path, *_place(node), message))
        return Unreadable()


def _as_written(number: float, text: str) -> IntegerAsWritten | NumberAsWritten:
    kind = IntegerAsWritten if isinstance(number, int) else NumberAsWritten
    value = kind(number)
    value.text = text
    return value


def _tag(node: yaml.Node) -> str:
    return repr(node.tag.replace(_TAG, "!!"))


def _place(node: yaml.Node) -> tuple[int, int]:
    mark = node.start_mark
    return mark.line + 1, mark.column + 1
