"""What the services of an attached `up` write, and what becomes of them, in the order of time."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from orchestrator.cli.outcome import Item
from orchestrator.cli.table import harmless
from orchestrator.control.client import Message
from orchestrator.logs.follow import Follower
from orchestrator.logs.index import Index, Kind
from orchestrator.logs.lines import newest
from orchestrator.logs.printer import LogPrinter, Look
from orchestrator.logs.query import Line, Query
from orchestrator.logs.redact import Redactor
from orchestrator.logs.segments import Log
from orchestrator.system.clock import SystemClock

_LINES_BEFORE = 10
_DRAIN_S = 2.0
_LOOKS = 2
_TOLD_ELSEWHERE = {"start", "exit"}
"""Events of the log that a change of state tells as well, and why."""


class Trail:
    """Shows the logs from where this `up` began, with a mark where a service changed."""

    def __init__(
        self,
        logs: Mapping[str, Path],
        items: Mapping[str, Item],
        redactor: Redactor,
        lasted_s: float,
        *,
        colour: bool,
    ) -> None:
        """``lasted_s`` is how long ago this `up` began: runs since then are shown whole."""
        self._since = SystemClock().wall() - lasted_s
        self._logs = logs
        self._begins = {
            name: _begin(Log(path), self._since, is_live=items[name]["pid"] is not None)
            for name, path in logs.items()
        }
        self._follower: Follower | None = None
        self._printer = LogPrinter(list(logs), sys.stdout.write, redactor, Look(colour=colour))
        self._names = set(logs)
        self._health = {name: item["health"] for name, item in items.items()}

    def show(self) -> bool:
        """Write what is new; return whether there was anything."""
        if self._follower is None:
            self._follower = Follower(self._logs)
            self._show_before(self._follower)
        found = False
        for item in self._follower.poll():
            if isinstance(item, Line) or item.event not in _TOLD_ELSEWHERE:
                found = True
                self._printer.show(item)
        if found:
            sys.stdout.flush()
        return found

    def _show_before(self, follower: Follower) -> None:
        """Write what there is already, with the ends of runs that nobody saw happen."""
        for item in follower.before(Query(count=None), self._begins):
            if isinstance(item, Line) or (item.event == "exit" and item.ts >= self._since):
                self._printer.show(item)
        sys.stdout.flush()

    def drain(self) -> None:
        """Write what there is; what others go on writing has no end, so not for long."""
        deadline = time.monotonic() + _DRAIN_S
        in_vain = 0
        # The first look at new bytes may wait for the record that dates them.
        while in_vain < _LOOKS and time.monotonic() < deadline:
            in_vain = 0 if self.show() else in_vain + 1

    def close(self) -> None:
        """Close the files."""
        if self._follower is not None:
            self._follower.close()

    def mark(self, message: Message) -> None:
        """Write a line for a change of state or health, after what the service wrote before it."""
        if message["type"] == "warning":
            sys.stdout.write(f"warning: {harmless(message['text'])}\n")
        elif message["type"] == "service" and message["item"]["name"] in self._names:
            text = self._change(message)
            if text:
                self._catch_up()
                self._printer.say(message["item"]["name"], text)
        sys.stdout.flush()

    def _catch_up(self) -> None:
        for _ in range(_LOOKS):
            if self.show():
                return

    def _change(self, message: Message) -> str:
        item = message["item"]
        before, self._health[item["name"]] = self._health[item["name"]], item["health"]
        text = harmless(message["text"])
        if message["before"] != message["after"]:
            return f"{message['before']} → {message['after']}" + (f": {text}" if text else "")
        if {before, item["health"]} == {"healthy", "unhealthy"}:
            probe = item["last_probe"]
            why = f": {harmless(probe['text'])}" if probe and not probe["ok"] else ""
            return f"{before} → {item['health']}{why}"
        return ""


def _begin(log: Log, since: float, *, is_live: bool) -> int:
    """Return where to begin: at the first run since then, else at the last lines of a live one.

    What an earlier `up` left in the log of a service that does not run is not shown again.
    """
    end = log.end()
    runs = [one for one in Index(log.index_path).marks() if one.kind is Kind.START]
    for one in runs:
        if one.wall_s >= since:
            return one.offset
    return newest(log, _LINES_BEFORE, runs[-1].offset, end) if runs and is_live else end
