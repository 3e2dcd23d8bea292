"""Lines of several services as text for people: a prefix each, clean, with no secret in it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.logs.query import Item, Line, ServiceEvent
from orchestrator.logs.redact import Redactor
from orchestrator.logs.shown import shown
from orchestrator.spec.quantities import signal_name

_PREFIX_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_DIM = "\x1b[2m"
_RESET = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Look:
    """How lines are shown."""

    colour: bool = False
    timestamps: bool = False
    prefix: bool = True


class LogPrinter:
    """Writes items as text lines. The prefix' colour goes by the name's place in the alphabet."""

    def __init__(
        self,
        services: Sequence[str],
        write: Callable[[str], object],
        redactor: Redactor,
        look: Look,
    ) -> None:
        self._write = write
        self._redactor = redactor
        self._look = look
        self._width = max(map(len, services), default=0)
        self._colours = {
            name: _PREFIX_COLOURS[number % len(_PREFIX_COLOURS)]
            for number, name in enumerate(sorted(services))
        }

    def show(self, item: Item) -> None:
        """Write one item; a line end is added."""
        if isinstance(item, ServiceEvent):
            self._show_event(item)
        elif item.text or not item.before:
            # What is left of a line whose beginning was shown before may be its end alone.
            text = shown(item, self._redactor, colour=self._look.colour)
            self._write(f"{self._lead(item)}{text}\n")

    def say(self, service: str, text: str) -> None:
        """Write a line of our own about a service, marked as such."""
        self._write(f"{self._name(service)}{self._marked(self._redactor.text(text))}\n")

    def _show_event(self, event: ServiceEvent) -> None:
        """Mark where a run ends and another begins; the very first start is nothing new."""
        if event.event != "start" or event.run != 1:
            self._write(f"{self._lead(event)}{self._marked(describe(event))}\n")

    def _marked(self, text: str) -> str:
        mark = f"── {text} ──"
        return f"{_DIM}{mark}{_RESET}" if self._look.colour else mark

    def _lead(self, item: Item) -> str:
        stamp = ""
        if self._look.timestamps:
            stamp = local_time(item.ts) + " "
            if self._look.colour:
                stamp = f"{_DIM}{stamp}{_RESET}"
        return stamp + self._name(item.service)

    def _name(self, service: str) -> str:
        if not self._look.prefix:
            return ""
        name = f"{service.ljust(self._width)} | "
        if self._look.colour:
            return f"\x1b[{self._colours.get(service, 37)}m{name}{_RESET}"
        return name


def describe(event: ServiceEvent) -> str:
    """Return an event in words."""
    match event.event:
        case "start":
            return f"run {event.run} started"
        case "exit":
            if event.code is not None:
                return f"run {event.run} ended with exit code {event.code}"
            if event.signal is not None:
                return f"run {event.run} was ended by SIG{signal_name(event.signal)}"
            return f"run {event.run} ended"
        case _:
            return "output is missing here"


def as_json(item: Item, redactor: Redactor) -> str:
    """Return an item as one line of `logs --format json`."""
    value: dict[str, Any] = {
        "service": item.service,
        "ts": None if item.ts is None else utc_time(item.ts),
        "run": item.run,
        "seq": item.seq,
    }
    if isinstance(item, Line):
        value["text"] = shown(item, redactor)
        if item.partial:
            value["partial"] = True
    else:
        value["event"] = item.event
        if item.event == "exit":
            value["exit_code"] = item.code
            value["signal"] = signal_name(item.signal) if item.signal else None
    return json.dumps(value, ensure_ascii=False)


def utc_time(ts: float) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(ts, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def local_time(ts: float | None) -> str:
    """Return RFC 3339 in local time with milliseconds; blanks of the same width for None."""
    if ts is None:
        return " " * len("2026-01-01T00:00:00.000+00:00")
    return datetime.fromtimestamp(ts).astimezone().isoformat(timespec="milliseconds")
