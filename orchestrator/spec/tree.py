"""YAML as plain values, with the place in the file of each."""

from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_MAX_NODES = 200_000
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NumberAsWritten(float):
    """A number that knows how it was written, because some places want the text: 1.10, 0755."""

    text: str


class IntegerAsWritten(int):
    """The same for whole numbers."""

    text: str


@dataclass(slots=True)
class Tree:
    """The document as plain values; ``places`` are line and column from 1 of keys and values."""

    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[tuple[Path, int, int, str]] = field(default_factory=list)

    def place(self, path: Path) -> tuple[int | None, int | None]:
        """Return the place of the nearest thing on the way to ``path``."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None, None


class TooLarge(ValueError):
    """Aliases make the document too large."""


def read(text: str) -> Tree:
    """Return the first document of ``text``.

    Raises:
        yaml.YAMLError: it is no YAML.
        TooLarge: its aliases unfold to more than anybody wrote.
    """
    tree = Tree()
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            tree.value = _Reader(loader, tree).value(node, ())
    finally:
        loader.dispose()
    return tree


class _Reader:
    def __init__(self, loader: Any, tree: Tree) -> None:  # noqa: ANN401  PyYAML's, C or Python
        self._loader = loader
        self._tree = tree
        self._count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401  YAML is anything
        self._count += 1
        if self._count > _MAX_NODES:
            raise TooLarge("its aliases unfold to more than 200,000 values")
        self._tree.places.setdefault(path, _place(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(one, (*path, number)) for number, one in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._refuse_repeats(node, path)
        self._loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is not None:
                self._tree.places[(*path, key)] = _place(key_node)
                values[key] = self.value(value_node, (*path, key))
        return values

    def _refuse_repeats(self, node: yaml.MappingNode, path: Path) -> None:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value in seen:
                line, column = _place(key_node)
                here = (*path, key_node.value)
                self._tree.problems.append((here, line, column, "the key stands here twice"))
            seen.add(str(key_node.value))

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        line, column = _place(node)
        self._tree.problems.append((path, line, column, "a key must be a word"))
        return None

    def _scalar(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401
        kind = node.tag.rpartition(":")[2]
        if kind == "timestamp":
            return node.value
        try:
            value = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            line, column = _place(node)
            problem = getattr(error, "problem", None) or str(error)
            self._tree.problems.append((path, line, column, problem))
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            value = IntegerAsWritten(value)
            value.text = node.value
        elif isinstance(value, float):
            value = NumberAsWritten(value)
            value.text = node.value
        return value


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
