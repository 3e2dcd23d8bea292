"""The table of `ps`: columns, what is dropped where it is narrow, and the reasons below a row."""

import pytest

from orchestrator.cli.table import duration, harmless, reasons, render
from tests.unit.cli.items import item, pending, waits

LONG = "http://localhost:5146/" + "x" * 60


def test_every_column_is_there_and_what_is_not_known_is_a_dash() -> None:
    lines = render([item("web", url="http://localhost:1"), item("db", "stopped")], colour=False)
    assert lines[0].split() == ["NAME", "STATE", "HEALTH", "PID", "UPTIME", "RESTARTS", "URL"]
    assert lines[1].split() == ["web", "running", "-", "4121", "1m01s", "0", "http://localhost:1"]
    assert lines[2].split() == ["db", "stopped", "-", "-", "-", "0", "-"]


def test_piped_output_is_never_cut() -> None:
    assert LONG in render([item("web", url=LONG)], colour=False)[1]


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [(200, []), (79, ["URL"]), (46, ["URL", "PID"]), (38, ["URL", "PID", "RESTARTS"])],
)
def test_a_narrow_terminal_loses_url_then_pid_then_restarts(
    columns: int, left_out: list[str]
) -> None:
    heading = render([item("web", url=LONG)], colour=False, width=columns)[0].split()
    every = ["NAME", "STATE", "HEALTH", "PID", "UPTIME", "RESTARTS", "URL"]
    assert heading == [one for one in every if one not in left_out]


def test_problems_stand_on_top_with_their_reason_below() -> None:
    cause = {"kind": "exit", "text": "exit code 3 after 2 s", "run": 4}
    lines = render([item("fine"), item("broken", "failed", cause=cause)], colour=False)
    assert lines[1].startswith("broken")
    assert lines[2] == "  └ exit code 3 after 2 s (run 4)"
    assert lines[3].startswith("fine")


def test_one_changed_row_keeps_the_columns_of_the_whole_table() -> None:
    items = [item("a"), item("a-very-long-name-indeed")]
    whole = render(items, colour=False)
    assert render(items, colour=False, only={"a"}) == [whole[1]]


def test_colour_is_on_words_alone_and_only_when_asked_for() -> None:
    plain = render([item("web", health="healthy")], colour=False)
    painted = render([item("web", health="healthy")], colour=True)
    assert "\x1b" not in "".join(plain)
    assert "\x1b[32mhealthy" in painted[1]


def test_what_a_pending_service_waits_for_is_told() -> None:
    assert reasons(pending("api", waits("db"), waits("job", "completed", failed=True))) == [
        "waits for db (healthy), job (completed; it failed)"
    ]


def test_a_service_in_backoff_tells_when_it_is_tried_again_and_why_it_is_there() -> None:
    cause = {"kind": "exit", "text": "exit code 1 after 10 ms", "run": 2}
    one = item("a", "backoff", next_restart_at="2000-01-01T00:00:00.000Z", cause=cause)
    assert reasons(one) == ["next try now", "exit code 1 after 10 ms (run 2)"]
    later = item("a", "backoff", next_restart_at="2999-01-01T00:00:00.000Z", cause=cause)
    assert reasons(later)[0].startswith("next try in ")


def test_the_last_end_of_a_restarted_service_stays_to_be_seen() -> None:
    cause = {"kind": "signal", "text": "killed by SIGKILL (not by us) after 12 s", "run": 2}
    assert reasons(item("a", restarts=2, run=3, cause=cause)) == [f"{cause['text']} (run 2)"]
    assert reasons(item("a", restarts=0, run=3, cause=cause)) == []


def test_a_failing_probe_is_told_while_it_matters() -> None:
    probe = {"kind": "http", "ok": False, "text": "connection refused", "at": "", "duration_s": 0}
    told = ["http: connection refused"]
    assert reasons(item("a", "starting", last_probe=probe)) == told
    assert reasons(item("a", health="unhealthy", last_probe=probe)) == told
    assert reasons(item("a", health="healthy", last_probe=probe)) == []


def test_what_a_service_wrote_cannot_touch_the_terminal() -> None:
    evil = "a\x1b]0;owned\x07b\x1b[2Jc\nd\u202ee"
    cause = {"kind": "exit", "text": evil, "run": 1}
    (told,) = reasons(item("a", "failed", cause=cause))
    assert told == "abc d<U+202E>e (run 1)"
    assert harmless("plain text") == "plain text"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.04, "0.0s"),
        (4.21, "4.2s"),
        (59.4, "59s"),
        (192, "3m12s"),
        (7500, "2h05m"),
        (90000, "1d01h"),
        (273600, "3d04h"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_long_command_of_an_alternative_is_cut_between_words() -> None:
    one = item(
        "web",
        command=["/usr/bin/python3", "/srv/app/main.py", *(f"--option-{n}" for n in range(9))],
        alternatives=[{"index": 0, "taken": True, "why": None, "broken": False}],
    )
    (_, _, line) = render([one], colour=False)
    assert (
        line == "  └ alternative 0 of its run: python3 main.py --option-0 --option-1 --option-2 …"
    )
