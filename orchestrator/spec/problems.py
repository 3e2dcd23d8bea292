"""What is wrong with the file so far, each thing with its place."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.errors import Problem, SpecError
from orchestrator.spec.tree import Tree, Where

Report = Callable[[Where, str], None]
"""Takes the way to what is wrong, and the reason."""


class Problems:
    """Collects, so that people see everything at once. ``shown`` is how the file is called."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.tree = Tree()
        # What is said of these later is no news.
        self._unreadable: set[Where] = set()
        # In the order of their coming, each once: an aliased mapping is read at every place of it.
        self._found: dict[Problem, None] = {}

    def report(self, path: Where, message: str) -> None:
        """Note what is wrong at ``path``, with the nearest place that is known."""
        path = self._written(path)
        if path not in self._unreadable:
            line, column = self.tree.place(path)
            self.add(Problem(self.shown, line, column, dotted(path), message))

    def read(self, tree: Tree) -> None:
        """Take over the places of a file that was read, and what could not be read of it."""
        self.tree = tree
        for path, line, column, message in tree.problems:
            self.add(Problem(self.shown, line, column, dotted(path), message))
            self._unreadable.add(path)

    def add(self, problem: Problem) -> None:
        """Note a problem with a place of its own."""
        self._found[problem] = None

    def has(self, path: Where) -> bool:
        """Whether something was already found at ``path``."""
        text = dotted(self._written(path))
        return any(one.path == text for one in self._found)

    def _written(self, path: Where) -> Where:
        """Return a path in the long form as the path of what stands in the file."""
        places = self.tree.places
        if path[2:4] == ("run", 0) and path[:3] not in places:
            path = (*path[:2], *path[4:])
        value: Any = self.tree.value
        for length, part in enumerate(path):
            if isinstance(value, dict):
                if part not in value:
                    return path  # a key that is missing there, or one that a default made
                value = value[part]
            elif isinstance(value, list) and (part in value or isinstance(part, int)):
                # A list of names is a mapping in the long form.
                number = part if isinstance(part, int) else value.index(part)
                path, value = (*path[:length], number, *path[length + 1 :]), value[number]
            else:
                return path[:length]
        return path

    def fail_if_any(self) -> None:
        """Raise SpecError if there are any."""
        if self._found:
            raise self.error()

    def error(self) -> SpecError:
        """Return all of them as one error, in the order of the file."""
        ordered = sorted(self._found, key=self._order)
        return SpecError("\n".join(str(problem) for problem in ordered), tuple(ordered))

    def _order(self, one: Problem) -> tuple[bool, str, int, int]:
        return one.file != self.shown, one.file, one.line or 0, one.column or 0


def dotted(path: Where) -> str:
    """Return a path as people write it: ``services.web.run[0].command``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that names the nearest of ``known``; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
