"""Replacing `${…}` in the texts of services.yaml."""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from orchestrator.spec.template import Ref, Template

LATER = frozenset({"PORT", "PYTHON", "STATE_DIR"})
"""Names that are no variables of the environment: they are known when a service starts."""

LATER_ROOTS = frozenset({"secrets", "services", "requires"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+", re.ASCII)
_EXPRESSION = re.compile(r"([^:]*)(?:(:-|:\?)(.*))?", re.DOTALL)
_BRACES = re.compile(r"\$\$|[{}]")
_DEEPEST = 20


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


def replace(
    text: str, variables: Mapping[str, str], later: Collection[str] = LATER, depth: int = 0
) -> Replaced:
    """Replace what can be replaced now; the names in ``later`` stay as references.

    Only `${…}` is read, and `$$` is a dollar; any other `$` stays. What a variable holds is taken
    as it is, whatever it looks like. ``depth`` is how many defaults of others this one stands in.
    """
    result = Replaced(Template(()))
    parts: list[str | Ref] = []
    position = 0
    while (found := text.find("$", position)) >= 0:
        _add(parts, text[position:found])
        if text.startswith("${", found):
            end = closing_brace(text, found)
            if end < 0:
                result.problems.append(f"{_short(text[found:])} has no closing brace")
                position = len(text)
                break
            for part in _expression(text[found + 2 : end], variables, later, depth, result):
                _add(parts, part)
            position = end + 1
        else:
            _add(parts, "$")
            position = found + (2 if text.startswith("$$", found) else 1)
    _add(parts, text[position:])
    result.template = Template(tuple(parts))
    return result


def closing_brace(text: str, start: int) -> int:
    """Return where the `${` at ``start`` is closed, braces in between in pairs; -1 if nowhere."""
    depth = 0
    for found in _BRACES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0 and found[0] == "}":
            return found.start()
    return -1


def split_words(text: str, split: Callable[[str], list[str]]) -> list[str]:
    """Split a text with ``split`` so that no `${…}` in it is torn, whatever stands in it."""
    # A character that shells pass through, and that is not in the text.
    mark = next(chr(code) for code in range(0xE000, 0x110000) if chr(code) not in text)
    torn: list[str] = []
    marked, position = "", 0
    while (found := text.find("$", position)) >= 0:
        end = closing_brace(text, found) if text.startswith("${", found) else -1
        if end < 0:
            end = found + (1 if text.startswith("$$", found) else 0)
        marked += f"{text[position:found]}{mark}{len(torn)}{mark}"
        torn.append(text[found : end + 1])
        position = end + 1
    words = split(marked + text[position:])
    return [re.sub(f"{mark}(\\d+){mark}", lambda one: torn[int(one[1])], word) for word in words]


def _expression(
    inner: str, variables: Mapping[str, str], later: Collection[str], depth: int, result: Replaced
) -> tuple[str | Ref, ...]:
    match = _EXPRESSION.fullmatch(inner)
    name, operator, rest = (match[1], match[2], match[3]) if match else ("", None, None)
    root = name.partition(".")[0]
    if _DOTTED.fullmatch(name) and root in LATER_ROOTS:
        if operator:
            result.problems.append(f"{_short('${' + inner + '}')}: ${{{name}}} takes no default")
        return (Ref(tuple(name.split("."))),)
    if not _NAME.fullmatch(name):
        result.problems.append(_unreadable(inner))
        return ()
    if name in later:
        return (Ref((name,)),)
    if name in variables:
        result.used.append(name)
        return (variables[name],)
    if operator == ":-":
        return _default(rest or "", variables, later, depth, result)
    result.problems.append(_missing(name, rest if operator else None, {*variables, *later}))
    return ()


def _default(
    text: str, variables: Mapping[str, str], later: Collection[str], depth: int, result: Replaced
) -> tuple[str | Ref, ...]:
    if depth == _DEEPEST:
        result.problems.append("has defaults within defaults, too deep to be meant")
        return ()
    nested = replace(text, variables, later, depth + 1)
    result.used.extend(nested.used)
    result.problems.extend(nested.problems)
    return nested.template.parts


def _missing(name: str, message: str | None, known: Collection[str]) -> str:
    if message is not None:
        return f"${{{name}}} is not set: {message}" if message else f"${{{name}}} is not set"
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    hint = f'did you mean "${{{near[0]}}}"?' if near else f"a default is ${{{name}:-…}}"
    return f"${{{name}}} is set neither in the environment nor in the env_file; {hint}"


def _unreadable(inner: str) -> str:
    shown = _short("${" + inner + "}")
    return f"{shown} cannot be read: there are ${{NAME}}, ${{NAME:-default}} and ${{NAME:?message}}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _add(parts: list[str | Ref], part: str | Ref) -> None:
    if isinstance(part, str) and parts and isinstance(parts[-1], str):
        parts[-1] += part
    elif part != "":
        parts.append(part)
