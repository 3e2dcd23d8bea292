"""The live lines of an attached `up`: one a service, rewritten in place, until all is decided."""

import shutil
import sys
import time
from collections.abc import Sequence

from orchestrator.cli.outcome import Item
from orchestrator.cli.table import duration, paint, reasons, waiting_text
from orchestrator.cli.watching import Watched
from orchestrator.logs.clean import clean

_HINT_AFTER_S = 15.0


class Live:
    """Draws on a terminal; elsewhere it appends a line when a state changes."""

    def __init__(self, *, terminal: bool, colour: bool) -> None:
        self._terminal = terminal
        self._colour = colour
        self._drawn = 0
        self._told: dict[str, tuple[str, str]] = {}
        self._since: dict[str, float] = {}

    def show(self, watched: Watched, names: Sequence[str]) -> None:
        """Show every service as it is now."""
        now = time.monotonic()
        for name in names:
            item = watched.items[name]
            word = (item["state"], item["health"])
            if self._told.get(name) != word:
                self._told[name] = word
                self._since[name] = now
                if not self._terminal:
                    self._write(self._line(item, names, 0.0) + "\n")
        if self._terminal:
            self._redraw([self._line(watched.items[n], names, now - self._since[n]) for n in names])

    def clear(self) -> None:
        """Take the live lines away; what comes next stands in their place."""
        if self._terminal and self._drawn:
            self._write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _redraw(self, lines: Sequence[str]) -> None:
        height = max(3, shutil.get_terminal_size().lines - 2)
        shown = list(lines[:height])
        if len(lines) > height:
            shown[-1] = f"… and {len(lines) - height + 1} more"
        self.clear()
        self._write("".join(f"{line}\x1b[K\n" for line in shown))
        self._drawn = len(shown)

    def _line(self, item: Item, names: Sequence[str], for_s: float) -> str:
        width = max(map(len, names))
        text = f"{item['name'].ljust(width)}  {_mark(item):<12} {_what(item, for_s)}"
        if self._terminal:
            text = text[: shutil.get_terminal_size().columns - 1]
        code = _COLOURS.get(item["state"])
        if item["health"] == "healthy":
            code = 32
        mark = _mark(item)
        return text.replace(mark, paint(mark, code, on=self._colour), 1) if code else text

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


_COLOURS = {"running": 32, "completed": 32, "failed": 31, "backoff": 31, "starting": 33}


def _mark(item: Item) -> str:
    if item["health"] == "healthy":
        return "✓ healthy"
    if item["state"] == "completed":
        return "✓ completed"
    if item["state"] == "failed":
        return "✗ failed"
    if item["state"] == "pending":
        return "waiting"
    return str(item["health"] if item["health"] in {"checking", "unhealthy"} else item["state"])


def _what(item: Item, for_s: float) -> str:
    state = item["state"]
    if state == "pending":
        return f"for {waiting_text(item)}" if item["waiting_for"] else ""
    if item["health"] == "healthy":
        return f"{item['url'] or ''}  {item['log_file']}".strip()
    found = [duration(for_s)] if for_s >= 1 and state not in {"running", "completed"} else []
    probe = item["last_probe"]
    if probe and not probe["ok"] and state == "starting":
        found.append(f"{probe['kind']}: {probe['text']}")
    elif state in {"failed", "backoff", "exited"}:
        found += reasons(item)[:1]
    elif item["pid"]:
        found.append(f"pid {item['pid']}")
    return " · ".join(clean(one.encode(), colour=False) for one in found)


def is_slow(watched: Watched, name: str) -> bool:
    """Whether a service has been starting so long that more should be said about it."""
    item = watched.items[name]
    return item["state"] == "starting" and watched.running_for_s(name) >= _HINT_AFTER_S
