"""The sentences of causes."""

import pytest

from orchestrator.core.events import Exited
from orchestrator.core.status import Cause, CauseKind, Status
from orchestrator.core.wording import and_, how_it_ended, readable

RUN = Status(run=2, started_at=100.0)


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        (Exited(2, code=3), "exit", "exit code 3 after 12 s"),
        (Exited(2, signal=9), "signal", "killed by SIGKILL (not by us) after 12 s"),
        (Exited(2, signal=15), "signal", "killed by SIGTERM (not by us) after 12 s"),
        (Exited(2, signal=99), "signal", "killed by SIG99 (not by us) after 12 s"),
        (Exited(2), "exit", "ended after 12 s, nobody could see how"),
        (
            Exited(2, code=1, text="it left sh (pid 9) behind"),
            "exit",
            "exit code 1 after 12 s; it left sh (pid 9) behind",
        ),
    ],
)
def test_an_end_says_how_and_after_how_long(event: Exited, kind: str, text: str) -> None:
    assert how_it_ended(RUN, event, 112.0) == Cause(CauseKind(kind), text, 2)


def test_an_end_of_unknown_length_says_no_length() -> None:
    assert how_it_ended(Status(run=2), Exited(2, code=3), 112.0).text == "exit code 3"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.31, "310 ms"),
        (1, "1 s"),
        (4.23, "4.2 s"),
        (9.97, "10 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3 * 3600 + 240, "3 h 4 min"),
        (90061, "1 d 1 h"),
    ],
)
def test_a_duration_has_as_much_as_people_read(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_nothing_more_to_say_is_nothing_more() -> None:
    cause = Cause(CauseKind.EXIT, "exit code 3", 2)
    assert and_(cause, "") is cause
    assert and_(cause, "why") == Cause(CauseKind.EXIT, "exit code 3; why", 2)
