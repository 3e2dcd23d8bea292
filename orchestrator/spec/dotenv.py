"""Reading `.env` files: NAME=value lines, taken as they are."""

import re
from dataclasses import dataclass

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that can't be read; ``line`` counts from 1."""

    line: int
    message: str


def parse(text: str) -> tuple[dict[str, str], list[Malformed]]:
    r"""Return the values and the lines that can't be read.

    A value is everything after `=` without the blanks around it. In single quotes it is literal; in
    double quotes `\n`, `\t`, `\"`, `\\` are escapes, and either may go over several lines.
    Without quotes ` #` begins a comment. Nothing is replaced in a value.
    """
    values: dict[str, str] = {}
    malformed: list[Malformed] = []
    lines = text.removeprefix("\ufeff").split("\n")
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number].rstrip("\r")
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            malformed.append(Malformed(first, "is not NAME=value"))
            continue
        raw = match[2].strip()
        if raw[:1] in {"'", '"'}:
            while _closing(raw) < 0 and number < len(lines):
                raw += "\n" + lines[number].rstrip("\r")
                number += 1
            if _closing(raw) < 0:
                malformed.append(Malformed(first, f"the {raw[0]} is never closed"))
                break
            values[match[1]] = _unquoted(raw)
        else:
            values[match[1]] = re.split(r"\s#", raw, maxsplit=1)[0].rstrip()
    return values, malformed


def _closing(raw: str) -> int:
    quote, position = raw[0], 1
    while position < len(raw):
        if raw[position] == "\\" and quote == '"':
            position += 2
            continue
        if raw[position] == quote:
            return position
        position += 1
    return -1


def _unquoted(raw: str) -> str:
    inner = raw[1 : _closing(raw)]
    if raw[0] == "'":
        return inner
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), inner, flags=re.DOTALL)
