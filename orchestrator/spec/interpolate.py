"""Replacing `${…}` in the texts of services.yaml."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.spec.template import Ref, Template

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPRESSION = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*?)(?:(:-|:\?)(.*))?", re.DOTALL)

LATER = {"PORT", "PYTHON", "STATE_DIR"}
"""Names that are not variables of the environment: they are known when a service starts."""

LATER_ROOTS = {"secrets", "services", "requires"}


@dataclass(slots=True)
class Replaced:
    """A text with its variables replaced; ``used`` had a value, ``problems`` are for people."""

    template: Template
    used: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def value(self) -> str | Template:
        """The plain text where nothing in it is left for later."""
        if self.template.refs:
            return self.template
        return "".join(part for part in self.template.parts if isinstance(part, str))


def replace(text: str, variables: Mapping[str, str]) -> Replaced:
    """Replace what can be replaced now; `${PORT}` and the like stay as references.

    Only `${…}` is read, and `$$` is a dollar; any other `$` stays. What a variable holds is taken
    as it is, whatever it looks like.
    """
    result = Replaced(Template(()))
    parts: list[str | Ref] = []
    position = 0
    while (found := text.find("$", position)) >= 0:
        _add(parts, text[position:found])
        if text.startswith("$$", found):
            _add(parts, "$")
            position = found + 2
        elif text.startswith("${", found):
            end = closing_brace(text, found)
            if end < 0:
                result.problems.append(f"{text[found : found + 20]!r} has no closing brace")
                position = len(text)
                break
            for part in _expression(text[found + 2 : end], variables, result):
                _add(parts, part)
            position = end + 1
        else:
            _add(parts, "$")
            position = found + 1
    _add(parts, text[position:])
    result.template = Template(tuple(parts))
    return result


def closing_brace(text: str, start: int) -> int:
    """Return where the `${` at ``start`` is closed, nested ones passed over; -1 if nowhere."""
    depth, position = 0, start
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 2
            continue
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1


def split_words(text: str, split: Callable[[str], list[str]]) -> list[str]:
    """Split a text with ``split`` so that no `${…}` in it is torn, whatever stands in it."""
    marks: list[str] = []
    marked, position = "", 0
    while (found := text.find("${", position)) >= 0:
        end = closing_brace(text, found)
        if end < 0:
            break
        marked += text[position:found] + chr(0xF0000 + len(marks))
        marks.append(text[found : end + 1])
        position = end + 1
    words = split(marked + text[position:])
    table = {0xF0000 + number: mark for number, mark in enumerate(marks)}
    return [word.translate(table) for word in words]


def _expression(
    inner: str, variables: Mapping[str, str], result: Replaced
) -> tuple[str | Ref, ...]:
    match = _EXPRESSION.fullmatch(inner)
    if match is None:
        result.problems.append(f"cannot read ${{{inner}}}")
        return ()
    name, operator, rest = match[1], match[2], match[3]
    path = tuple(name.split("."))
    if name in LATER or path[0] in LATER_ROOTS:
        return (Ref(path),)
    if not _NAME.fullmatch(name):
        result.problems.append(f"cannot read ${{{inner}}}: {name!r} is no name of a variable")
        return ()
    if name in variables:
        result.used.append(name)
        return (variables[name],)
    if operator == ":-":
        nested = replace(rest, variables)
        result.used.extend(nested.used)
        result.problems.extend(nested.problems)
        return nested.template.parts
    if operator == ":?":
        result.problems.append(
            f"${{{name}}} is not set: {rest}" if rest else f"${{{name}}} is not set"
        )
    else:
        result.problems.append(
            f"${{{name}}} is not set, neither in the environment nor in the env_file; "
            f"give it a default with ${{{name}:-…}}"
        )
    return ()


def _add(parts: list[str | Ref], part: str | Ref) -> None:
    if isinstance(part, str) and parts and isinstance(parts[-1], str):
        parts[-1] += part
    elif part != "":
        parts.append(part)
