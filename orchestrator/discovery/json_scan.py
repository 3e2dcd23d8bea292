"""Where the values of a JSON text stand, and whether it is JSON at all.

Why not a library's round trip: config.json belongs to its user, and what is not ours must stay byte
for byte. `json.loads` followed by `json.dumps` rewrites the spelling of numbers (1e5, 1.0, -0),
escapes, indentation and line ends, takes NaN for JSON, and lets the last of two equal keys win in
silence. With the places of the values known, an edit is a cut into the original text, and nothing
else moves.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(eq=False)
class Unmergeable(Exception):
    """The text can't be edited without harm. ``line`` and ``column`` (characters) count from 1."""

    reason: str
    line: int
    column: int


class Span(NamedTuple):
    """A piece of the text: ``text[start:end]``."""

    start: int
    end: int


class Member(NamedTuple):
    """A key with its value in an object. ``key`` is decoded; ``start`` is where the key begins."""

    key: str
    start: int
    key_end: int
    value: Span


# Possessive quantifiers (*+) keep a broken string of megabytes linear.
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_TOKEN = re.compile(
    rf"[ \t\n\r]*+(?:({_STRING})|({_NUMBER}|true|false|null)|([{{}}\[\],:])|(\Z))",
)
_END_GROUP = 4
_KEY_SHOWN = 60
_SPACE = re.compile(r"[ \t\n\r]*+")
_PART = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]')

# What may come next: the states of the check, worded for its messages.
_VALUE = "a value"
_FIRST_ITEM = "a value or ']'"
_FIRST_KEY = "a key or '}'"
_KEY = "a key"
_COLON = "':'"
_AFTER = "',' or the end of the object or list"
_END = "the end of the file"

# Where a closing mark may stand, by the mark and whether the innermost container is an object.
_CLOSED_BY = {("}", True): (_AFTER, _FIRST_KEY), ("]", False): (_AFTER, _FIRST_ITEM)}

# What people and tools write that looks like JSON, by how it begins.
_LOOKALIKES = {
    "//": "a comment is not JSON",
    "/*": "a comment is not JSON",
    "#": "a comment is not JSON",
    "NaN": "NaN is not JSON",
    "Infinity": "Infinity is not JSON",
    "-Infinity": "Infinity is not JSON",
    "'": "text in single quotes is not JSON",
    '"': "this text is not closed, or has a raw control character or a wrong escape in it",
    "\x00": "a NUL byte is not JSON",
}


def check(text: str) -> int:
    """Return where the root value begins.

    Stricter than `json.loads`: NaN and Infinity are refused, and a key that an object has twice.
    No recursion, so no depth is too deep.

    Raises:
        Unmergeable: The text is not JSON, or has a key twice in one object.

    Source: RFC 8259.
    """
    if text.startswith("\ufeff"):
        raise unmergeable(text, 0, "it begins with a byte order mark, which JSON has not")
    checker = _Checker(text)
    position = 0
    while (match := _TOKEN.match(text, position)) is not None:
        if not checker.take(match):
            return skip_space(text, 0)
        position = match.end()
    raise checker.refusal(skip_space(text, position))


def members(text: str, start: int) -> list[Member]:
    """Return the members of the object that begins at ``start``, in order, of a checked text."""
    found = []
    for span in _children(text, start):
        key_end = _end_of_string(text, span.start)
        colon = text.index(":", key_end)
        value = Span(skip_space(text, colon + 1), span.end)
        found.append(Member(decode(text[span.start : key_end]), span.start, key_end, value))
    return found


def items(text: str, start: int) -> list[Span]:
    """Return the items of the list that begins at ``start``, in order, of a checked text."""
    return list(_children(text, start))


def decode(literal: str) -> str:
    """Return what a JSON string, given with its quotes, stands for."""
    return str(json.loads(literal)) if "\\" in literal else literal[1:-1]


def skip_space(text: str, position: int) -> int:
    """Return the position of the first character from ``position`` on that is not white space."""
    space = _SPACE.match(text, position)
    return space.end() if space else position


def unmergeable(text: str, position: int, reason: str) -> Unmergeable:
    """Return the error for ``position`` in ``text``, with its line and column."""
    before = text[:position].replace("\r\n", "\n").replace("\r", "\n")
    return Unmergeable(reason, before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Checker:
    """The grammar: takes one token after the other, with a stack of its own."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._expected = _VALUE
        # How every open container began, and the keys seen in it so far.
        self._opened: list[tuple[str, set[str]]] = []

    def take(self, token: re.Match[str]) -> bool:
        """Take the next token. False when it was the end of the text, in its right place."""
        string, atom, mark, _ = token.groups()
        at = token.start(token.lastindex or 0)
        if self._expected in (_KEY, _FIRST_KEY) and string is not None:
            self._take_key(at, string)
        elif self._expected in (_VALUE, _FIRST_ITEM) and (string is not None or atom is not None):
            self._close_value()
        elif mark is not None:
            self._take_mark(at, mark)
        elif self._expected == _END and token.lastindex == _END_GROUP:
            return False
        else:
            raise self.refusal(at)
        return True

    def refusal(self, at: int) -> Unmergeable:
        """Return what is wrong at ``at``, where the expected does not stand."""
        text = self._text
        for beginning, reason in _LOOKALIKES.items():
            if text.startswith(beginning, at) and not _TOKEN.match(text, at):
                return unmergeable(text, at, reason)
        if at == len(text):
            reason = f"it ends too early; {self._expected} is missing" if at else "it is empty"
            return unmergeable(text, at, reason)
        if text[at] in "}]" and text[:at].rstrip().endswith(","):
            return unmergeable(text, at, "the comma before this is one too many")
        return unmergeable(text, at, f"{self._expected} was expected here")

    def _take_key(self, at: int, string: str) -> None:
        keys = self._opened[-1][1]
        key = decode(string)
        if key in keys:
            shown = string if len(string) < _KEY_SHOWN else string[:_KEY_SHOWN] + '…"'
            raise unmergeable(self._text, at, f"the key {shown} stands here a second time")
        keys.add(key)
        self._expected = _COLON

    def _take_mark(self, at: int, mark: str) -> None:
        in_object = bool(self._opened) and self._opened[-1][0] == "{"
        if mark in "{[" and self._expected in (_VALUE, _FIRST_ITEM):
            self._opened.append((mark, set()))
            self._expected = _FIRST_KEY if mark == "{" else _FIRST_ITEM
        elif self._expected in _CLOSED_BY.get((mark, in_object), ()):
            self._opened.pop()
            self._close_value()
        elif mark == "," and self._expected == _AFTER:
            self._expected = _KEY if in_object else _VALUE
        elif mark == ":" and self._expected == _COLON:
            self._expected = _VALUE
        else:
            raise self.refusal(at)

    def _close_value(self) -> None:
        self._expected = _AFTER if self._opened else _END


def _children(text: str, start: int) -> Iterator[Span]:
    """Yield what stands between the commas of the container at ``start``, without white space."""
    depth = 0
    begin = start + 1
    for part in _PART.finditer(text, start):
        mark = part[0]
        if mark in "{[":
            depth += 1
            continue
        if depth == 1 and mark in ",]}":
            span = _trimmed(text, begin, part.start())
            if span.start < span.end:
                yield span
            begin = part.end()
        depth -= mark in "]}"
        if not depth:
            return


def _end_of_string(text: str, start: int) -> int:
    string = _PART.match(text, start)
    return string.end() if string else start


def _trimmed(text: str, start: int, end: int) -> Span:
    start = min(skip_space(text, start), end)
    while end > start and text[end - 1] in " \t\n\r":
        end -= 1
    return Span(start, end)
