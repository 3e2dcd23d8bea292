"""The live lines of an attached `up`: one a service, rewritten in place, until all is decided."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from orchestrator.cli.outcome import Item
from orchestrator.cli.screen import Screen
from orchestrator.cli.table import duration, harmless, paint, reasons, waiting_text
from orchestrator.cli.watching import Watched

_COLOURS = {
    "✓ healthy": 32,
    "✓ completed": 32,
    "running": 32,
    "starting": 33,
    "checking": 33,
    "unhealthy": 31,
    "backoff": 31,
    "✗ failed": 31,
}


class Live:
    """Shows each service as it is now, for how long, and why; in lines of a terminal."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._screen = Screen(out)
        self._colour = colour
        self._told: dict[str, tuple[str, str]] = {}
        self._since: dict[str, float] = {}

    def show(self, watched: Watched, names: Sequence[str]) -> None:
        """Show every service as it is now."""
        now = time.monotonic()
        width = max(map(len, names), default=0)
        for name in names:
            item = watched.items[name]
            word = (item["state"], item["health"])
            if self._told.get(name) != word:
                self._told[name] = word
                self._since[name] = now
        lines = [self._line(watched.items[n], width, now - self._since[n]) for n in names]
        self._screen.draw(lines)

    def clear(self) -> None:
        """Take the live lines away; what comes next stands in their place."""
        self._screen.clear()

    def _line(self, item: Item, width: int, for_s: float) -> str:
        mark = _mark(item)
        lead = item["name"].ljust(width)
        text = f"{mark:<12} {_what(item, for_s)}".rstrip()
        code = _COLOURS.get(mark)
        if code is not None and self._colour:
            text = paint(mark, code, on=True) + text[len(mark) :]
        return f"{lead}  {text}"


def _mark(item: Item) -> str:
    if item["health"] == "healthy":
        return "✓ healthy"
    match item["state"]:
        case "completed":
            return "✓ completed"
        case "failed":
            return "✗ failed"
        case "pending":
            return "waiting"
        case state:
            return str(item["health"] if item["health"] in {"checking", "unhealthy"} else state)


def _what(item: Item, for_s: float) -> str:
    state = item["state"]
    if state == "pending":
        return f"for {waiting_text(item)}" if item["waiting_for"] else ""
    if item["health"] == "healthy":
        return f"{harmless(item['url'] or '')}  {item['log_file']}".strip()
    found = []
    if state not in {"running", "completed", "failed", "exited"} and for_s >= 1:
        found.append(duration(for_s))
    if state in {"failed", "backoff", "exited"}:
        found += reasons(item)[:2]
    elif state == "starting" and reasons(item):
        found += reasons(item)
    elif item["pid"]:
        found.append(f"pid {item['pid']}")
    return " · ".join(found)


class Hints:
    """Tells, once a service, which of them have not become well for long."""

    def __init__(self, after_s: float, say: Callable[[str], None]) -> None:
        self._after_s = after_s
        self._say = say
        self._since = time.monotonic()
        self._told: set[str] = set()

    def look(self, undecided: Sequence[str], items: Mapping[str, Item]) -> None:
        """Say more about those that are on their way, and have been for too long."""
        if time.monotonic() - self._since < self._after_s:
            return
        for name in undecided:
            if name not in self._told and items[name]["state"] != "pending":
                self._told.add(name)
                self._say(name)
