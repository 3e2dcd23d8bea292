"""The lines that `up` draws over in place, seen through a terminal's eyes."""

from typing import Any, TextIO, cast

import pyte
import pytest

from orchestrator.cli.live import Hints, Live
from orchestrator.cli.screen import Screen
from orchestrator.cli.watching import Watched
from tests.unit.cli.items import Item, item, pending, world

PROBE = {"kind": "http", "ok": False, "text": "connection refused", "at": "", "duration_s": 0}


class Terminal:
    """A stdout that a terminal of 60 by 12 reads."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(60, 12)
        self._stream = pyte.Stream(self.screen)
        self.written = 0

    def write(self, text: str) -> int:
        self.written += len(text)
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def flush(self) -> None:
        return

    @property
    def out(self) -> TextIO:
        return cast("TextIO", self)

    @property
    def lines(self) -> list[str]:
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "12")
    return Terminal()


class Seen:
    """What `Live` reads of a watched stack."""

    def __init__(self, *items: Item) -> None:
        self.items = world(*items)

    @property
    def watched(self) -> Watched:
        return cast("Watched", self)


def test_lines_are_drawn_over_and_what_is_left_over_is_wiped(terminal: Terminal) -> None:
    screen = Screen(terminal.out)
    screen.draw(["one is long", "two", "three"])
    screen.draw(["one", "two"])
    assert terminal.lines == ["one", "two"]
    screen.clear()
    terminal.write("after\n")
    assert terminal.lines == ["after"]


def test_nothing_is_written_where_nothing_changed(terminal: Terminal) -> None:
    screen = Screen(terminal.out)
    screen.draw(["one"])
    before = terminal.written
    screen.draw(["one"])
    assert terminal.written == before


def test_more_lines_than_fit_are_counted(terminal: Terminal) -> None:
    screen = Screen(terminal.out)
    for text in ("x", "y"):
        screen.draw([f"{text}{number}" for number in range(30)])
    assert len(terminal.lines) == 10
    assert terminal.lines[0] == "y0"
    assert terminal.lines[-1] == "… and 21 more"


def test_each_service_has_a_line_with_its_state_and_what_it_waits_for(terminal: Terminal) -> None:
    live = Live(terminal.out, colour=False)
    starting: dict[str, Any] = {"has_probe": True, "health": "checking", "last_probe": PROBE}
    seen = Seen(item("scheduler", "starting", **starting), pending("api", "scheduler"))
    live.show(seen.watched, ["scheduler", "api"])
    assert terminal.lines == [
        "scheduler  checking     http: connection refused",
        "api        waiting      for scheduler (healthy)",
    ]
    well: dict[str, Any] = {"has_probe": True, "health": "healthy", "url": "http://localhost:1"}
    seen.items = world(item("scheduler", **well), item("api", "starting"))
    live.show(seen.watched, ["scheduler", "api"])
    assert terminal.lines == [
        "scheduler  ✓ healthy    http://localhost:1  logs/web.log",
        "api        starting     pid 4121",
    ]
    live.clear()
    assert terminal.lines == []


def test_a_line_never_wraps(terminal: Terminal) -> None:
    live = Live(terminal.out, colour=True)
    long = PROBE | {"text": "x" * 500}
    seen = Seen(item("a", "starting", health="checking", last_probe=long))
    for _ in range(3):
        live.show(seen.watched, ["a"])
    assert len(terminal.lines) == 1


def test_what_is_not_well_for_long_is_told_once_and_what_only_waits_is_not() -> None:
    told: list[str] = []
    hints = Hints(0.0, told.append)
    items = world(item("a", "starting"), item("b", "backoff"), pending("c", "a"))
    for _ in range(2):
        hints.look(["a", "b", "c"], items)
    assert told == ["a", "b"]
    early: list[str] = []
    Hints(60.0, early.append).look(["a"], items)
    assert early == []
