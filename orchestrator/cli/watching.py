"""The stack as a stream of events shows it, kept up to date in this process."""

import time
from collections.abc import Sequence
from typing import Any

from orchestrator.control.client import BrokenOff, ControlClient, Events, Message, Unresponsive
from orchestrator.errors import OrchestratorError, UnknownService

Item = dict[str, Any]

_PUBLISH_S = 10.0

CHANGED = (
    "services.yaml has changed since this stack was started; `down` and `up` take the change over"
)


class Watched:
    """The services as they are now, by the messages that came so far."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._again = events.again
        self._seen_at: dict[str, float] = {}
        self.items: dict[str, Item] = {}
        self.stack: Message = {}
        self.stopped = False
        first = events.next(10.0)
        if first is None and events.ended:
            raise BrokenOff("the supervisor ended while it was asked")
        if first is None:
            raise Unresponsive("the supervisor does not say what is")
        self._take(first)

    @property
    def ended(self) -> bool:
        """Whether no more messages will come."""
        return self._events.ended

    def next(self, timeout_s: float | None) -> Message | None:
        """Return the next message, taken into account; None when none came in time."""
        message = self._events.next(timeout_s)
        if message is not None:
            self._take(message)
        return message

    def running_for_s(self, name: str) -> float:
        """Return for how many seconds the service's run has lasted, 0 where there is none."""
        uptime_s = self.items[name]["uptime_s"]
        if uptime_s is None:
            return 0.0
        return float(uptime_s) + time.monotonic() - self._seen_at[name]

    def have_published(self, client: ControlClient) -> None:
        """Have config.json written with all that is ready by now, and return when it is.

        It is written soon after a service is healthy anyway; who waited for that may read it next.
        """
        try:
            answer = client.post("/v1/publish", {}, _PUBLISH_S)
        except OrchestratorError:
            return  # the service is up; that it is not published is warned of by the supervisor
        self.stack["published"] = answer["published"]
        for text in answer["warnings"]:
            self._take({"type": "warning", "text": text})

    def as_of_now(self, name: str) -> Item:
        """Return a service with the uptime it has by now."""
        item = self.items[name]
        if item["uptime_s"] is None:
            return item
        return {**item, "uptime_s": round(self.running_for_s(name), 3)}

    def names(self, wanted: Sequence[str]) -> list[str]:
        """Return the services that the words name, globs included; none given means all.

        Raises:
            UnknownService: a word names nothing.
        """
        return matching(wanted, list(self.items)) if wanted else list(self.items)

    def _take(self, message: Message) -> None:
        match message.get("type"):
            case "snapshot":
                self.stack = message
                self.items = {one["name"]: one for one in message["services"]}
                self._seen_at = dict.fromkeys(self.items, time.monotonic())
            case "service":
                item = message["item"]
                self.items[item["name"]] = item
                self._seen_at[item["name"]] = time.monotonic()
            case "published":
                names = self.stack.setdefault("published", [])
                if message["name"] not in names:
                    names.append(message["name"])
            case "warning":
                warnings = self.stack.setdefault("warnings", [])
                if message["text"] not in warnings:
                    warnings.append(message["text"])
            case "stack":
                self.stopped = self.stopped or message["state"] == "stopped"
            case "dropped":
                # We were stopped (Ctrl-Z) for long. What the lost ones said stands in a snapshot.
                self._take({**self._again(), "type": "snapshot"})
            case _:
                pass


def matching(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the known names that the words (names or globs) stand for, each once, in order.

    Raises:
        UnknownService: a word names nothing.
    """
    import difflib
    import fnmatch

    found: dict[str, None] = {}
    for word in words:
        names = [name for name in known if fnmatch.fnmatchcase(name, word)]
        if not names:
            near = next(iter(difflib.get_close_matches(word, known, n=1)), None)
            hint = f"; did you mean {near!r}?" if near else ""
            raise UnknownService(f"there is no service {word!r}{hint}", word, near)
        found.update(dict.fromkeys(names))
    return list(found)
