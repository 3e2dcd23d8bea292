"""Reading `.env` files: NAME=value lines, taken as they are."""

import re
from dataclasses import dataclass

_BLANK = " \t\r\f\v"
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_COMMENT = re.compile(r"[ \t]#.*")
_QUOTED = {
    "'": re.compile(r"'([^']*)'"),
    '"': re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that can't be read; ``line`` counts from 1."""

    line: int
    message: str


def parse(text: str) -> tuple[dict[str, str], list[Malformed]]:
    r"""Return the values and the lines that can't be read; of a repeated name the last one counts.

    A value is everything after `=` without the blanks around it. In single quotes it is literal; in
    double quotes `\n`, `\r`, `\t`, `\"`, `\\`, `\$` are escapes, and either may go over several
    lines. Without quotes ` #` begins a comment. Nothing is replaced in a value.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    values: dict[str, str] = {}
    malformed: list[Malformed] = []
    start, number = 0, 1
    while start < len(text):
        end = _line_end(text, start)
        line = text[start:end].strip(_BLANK)
        if line and not line.startswith("#"):
            name, value, end = _value(text, start, end)
            if name is None:
                malformed.append(Malformed(number, value))
            else:
                values[name] = value
        number += text.count("\n", start, end) + 1
        start = end + 1
    return values, malformed


def _value(text: str, start: int, end: int) -> tuple[str | None, str, int]:
    """Return name, value and the end of the last line of it; no name: what is wrong."""
    match = _NAME.match(text, start, end)
    if match is None or "\0" in text[start:end]:
        return None, "is not NAME=value", end
    raw = text[match.end() : end]
    first = end - len(raw.lstrip(_BLANK))
    quote = text[first : first + 1]
    if quote not in _QUOTED:
        return match[1], _COMMENT.sub("", raw).strip(_BLANK), end
    quoted = _QUOTED[quote].match(text, first)
    if quoted is None:
        return None, f"the {quote} is never closed", end
    end = _line_end(text, quoted.end())
    after = text[quoted.end() : end].strip(_BLANK)
    if after and not after.startswith("#"):
        return None, f"there is more after the closing {quote}", end
    if quote == "'":
        return match[1], quoted[1], end
    return match[1], _ESCAPE.sub(lambda one: _ESCAPES.get(one[1], one[0]), quoted[1]), end


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
