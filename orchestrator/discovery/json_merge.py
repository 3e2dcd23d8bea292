"""Our keys into the text of a config.json, as cuts into the original; all else stays."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.discovery.json_scan import (
    Span,
    check,
    decode,
    items,
    members,
    skip_space,
    unmergeable,
)

Wanted = str | dict[str, "Wanted"] | list["Wanted"]

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_INDENT = re.compile(r"[ \t]*+")
_INDENTED_LINE = re.compile(r"[\r\n]([ \t]++)[^\s]")
_DEFAULT_UNIT = "  "
_NEW_FILE = "{}\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is published of one MCP server. Credentials that are None are left as they are."""

    name: str
    url: str
    client_id: str | None = None
    api_key: str | None = field(default=None, repr=False)

    def wanted(self) -> dict[str, Wanted]:
        """Return the entry as it stands in mcp.mcp_servers."""
        auth: dict[str, Wanted] = {}
        if self.client_id is not None:
            auth["client_id"] = self.client_id
        if self.api_key is not None:
            auth["api_key"] = self.api_key
        transport: dict[str, Wanted] = {"type": "http", "url": self.url}
        return {"name": self.name, "transport": transport | ({"auth": auth} if auth else {})}


def merged(data: bytes | None, entries: Iterable[Entry]) -> bytes:
    """Return ``data`` with the entries in it; equal to ``data`` when they all stand there already.

    None stands for a file that is not there yet. A ``null`` on our path counts as not there. Where
    several servers have an entry's name, all of them get its URL: readers differ in which one they
    take.

    Raises:
        Unmergeable: The data is not JSON, has a key twice, or has another type on our path.
    """
    text = _NEW_FILE if data is None else _decoded(data)
    for entry in entries:
        text = _merge(text, entry)
    return text.encode()


def by_hand(entries: Iterable[Entry]) -> str:
    """Return what a person can put into the file instead, on one line, the API keys masked."""
    wanted: list[Wanted] = []
    for entry in entries:
        masked = None if entry.api_key is None else "••••••••"
        wanted.append(Entry(entry.name, entry.url, entry.client_id, masked).wanted())
    return _rendered({"mcp": {"mcp_servers": wanted}}, _Style(), None)


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Style:
    """How the file is written. ``newline`` is empty where all of it stands on one line."""

    newline: str = ""
    unit: str = _DEFAULT_UNIT
    colon: str = ": "

    @property
    def gap(self) -> str:
        """What stands after a comma within a line."""
        return " " if self.colon.endswith(" ") else ""


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise unmergeable(before, len(before), "this byte is not UTF-8") from error


def _merge(text: str, entry: Entry) -> str:
    root = check(text)
    edits = _edits(text, root, entry.wanted(), _style(text, root))
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edits(text: str, root: int, server: dict[str, Wanted], style: _Style) -> list[_Edit]:
    """Return the cuts that put ``server`` into mcp.mcp_servers; the root must be an object."""
    if text[root] != "{":
        raise unmergeable(text, root, f"the file holds {_type(text, root)}, not an object")
    wanted: dict[str, Wanted] = {"mcp": {"mcp_servers": [server]}}
    return _object_edits(text, root, wanted, style, "")


def _object_edits(
    text: str, start: int, wanted: dict[str, Wanted], style: _Style, path: str
) -> list[_Edit]:
    found = {member.key: member.value for member in members(text, start)}
    edits: list[_Edit] = []
    missing: list[tuple[str | None, Wanted]] = []
    for key, value in wanted.items():
        if key in found:
            edits += _value_edits(text, found[key], value, style, f"{path}.{key}".lstrip("."))
        else:
            missing.append((key, value))
    return [*edits, _insertion(text, start, missing, style)] if missing else edits


def _value_edits(text: str, span: Span, wanted: Wanted, style: _Style, path: str) -> list[_Edit]:
    """Return the cuts that make the value at ``span`` hold what is wanted."""
    mark = text[span.start]
    if isinstance(wanted, dict) and mark == "{":
        return _object_edits(text, span.start, wanted, style, path)
    if isinstance(wanted, list) and mark == "[":
        return _list_edits(text, span.start, wanted, style, path)
    if isinstance(wanted, str) and mark not in "{[":
        same = mark == '"' and decode(text[span.start : span.end]) == wanted
        return [] if same else [_Edit(*span, _literal(wanted))]
    if mark == "n":
        return [_Edit(*span, _rendered(wanted, style, _own_line(text, span.start)))]
    needed = {dict: "an object", list: "a list", str: "text"}[type(wanted)]
    reason = f"{path} is {_type(text, span.start)}, not {needed}"
    raise unmergeable(text, span.start, reason)


def _list_edits(
    text: str, start: int, wanted: Sequence[Wanted], style: _Style, path: str
) -> list[_Edit]:
    """Return the cuts into the list of servers at ``start``."""
    spans = items(text, start)
    edits: list[_Edit] = []
    missing: list[tuple[str | None, Wanted]] = []
    for server in (each for each in wanted if isinstance(each, dict)):
        same = [span for span in spans if _name_of(text, span) == server["name"]]
        for span in same:
            edits += _object_edits(text, span.start, server, style, f"{path}[{server['name']}]")
        if not same:
            missing.append((None, server))
    return [*edits, _insertion(text, start, missing, style)] if missing else edits


def _name_of(text: str, span: Span) -> str | None:
    if text[span.start] != "{":
        return None
    for member in members(text, span.start):
        if member.key == "name" and text[member.value.start] == '"':
            return decode(text[member.value.start : member.value.end])
    return None


def _insertion(
    text: str, start: int, parts: Sequence[tuple[str | None, Wanted]], style: _Style
) -> _Edit:
    """Return the cut that adds members (or items, with the key None) to the container at ``start``.

    They come last, set apart as the last ones that stand there are.
    """
    spans = items(text, start)
    if not spans:
        end = skip_space(text, start + 1) + 1
        indent = _indent_at(text, start) if style.newline else None
        return _Edit(start, end, _container(text[start], parts, style, indent))
    separator = _separator(text, start, spans, style)
    breaks = _LINE_BREAK.split(separator)
    indent = _indent_at(text, spans[-1].start)
    broken = _is_broken(text, spans[-1], default=len(breaks) > 1)
    added = (_part(part, style, indent if broken else None) for part in parts)
    return _Edit(spans[-1].end, spans[-1].end, "".join(separator + part for part in added))


def _separator(text: str, start: int, spans: Sequence[Span], style: _Style) -> str:
    """Return what stands between the last two, or would stand between two of them."""
    if len(spans) > 1:
        return text[spans[-2].end : spans[-1].start]
    lead = text[start + 1 : spans[0].start]
    return "," + (lead if _LINE_BREAK.search(lead) else style.gap)


def _is_broken(text: str, span: Span, *, default: bool) -> bool:
    """Tell whether an item or a member's value goes over several lines, so that ours does too."""
    begin = span.start
    if text[begin] == "{" and items(text, begin):
        return _LINE_BREAK.search(text, begin, span.end) is not None
    return default


def _style(text: str, root: int) -> _Style:
    """Return how the file is written, as its first object and its first indented line show."""
    inside = members(text, root)
    if not inside:
        newline = _LINE_BREAK.search(text)
        return _Style(newline[0] if newline else "\n")
    first = inside[0]
    colon = text[first.key_end : first.value.start]
    colon = colon if not _LINE_BREAK.search(colon) else ": "
    newline = _LINE_BREAK.search(text, root, inside[-1].value.end)
    if newline is None:
        return _Style("", _DEFAULT_UNIT, colon)
    line = _INDENTED_LINE.search(text, root)
    return _Style(newline[0], line[1] if line else "", colon)


def _indent_at(text: str, position: int) -> str:
    """Return the white space at the beginning of the line of ``position``."""
    begin = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
    indent = _INDENT.match(text, begin)
    return indent[0] if indent else ""


def _own_line(text: str, position: int) -> str | None:
    """Return the indentation of a member's line that it has for itself; None where it has not."""
    begin = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
    shared = any(mark in text[begin:position] for mark in "{[,")
    return None if shared else _indent_at(text, position)


def _rendered(value: Wanted, style: _Style, indent: str | None) -> str:
    """Return a value as text; ``indent`` is its line's, None keeps it on one line."""
    if isinstance(value, str):
        return _literal(value)
    if isinstance(value, dict):
        return _container("{", tuple(value.items()), style, indent)
    return _container("[", [(None, item) for item in value], style, indent)


def _container(
    mark: str, parts: Sequence[tuple[str | None, Wanted]], style: _Style, indent: str | None
) -> str:
    inner = None if indent is None else indent + style.unit
    texts = [_part(part, style, inner) for part in parts]
    close = "}" if mark == "{" else "]"
    if indent is None:
        return mark + f",{style.gap}".join(texts) + close
    line = style.newline + indent + style.unit
    return mark + ",".join(line + text for text in texts) + style.newline + indent + close


def _part(part: tuple[str | None, Wanted], style: _Style, indent: str | None) -> str:
    key, value = part
    rendered = _rendered(value, style, indent)
    return rendered if key is None else _literal(key) + style.colon + rendered


def _literal(text: str) -> str:
    # What can't be seen or is no character (half a surrogate pair) is written as an escape.
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _type(text: str, start: int) -> str:
    names = {"{": "an object", "[": "a list", '"': "text", "t": "true", "f": "false", "n": "null"}
    return names.get(text[start], "a number")
