"""`up` without a terminal, `wait`, and what `start` and `restart` wait for, by exit codes."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.conftest import HANG, Make
from tests.integration.control.far_end import far_end, stream, value
from tests.stack import Stack, evil, free_port, wait_until
from tests.unit.cli.items import Item, item, pending, waits

FAILS = {
    "command": [sys.executable, "-S", "-c", "print('my last words'); raise SystemExit(3)"],
    "restart": "no",
    "oneshot": True,
}
AFTER = {"command": HANG, "depends_on": {"bad": "completed"}}
NEVER = {"command": HANG, "health": {"exec": ["false"]}}


def test_without_a_terminal_it_returns_when_all_is_well_with_a_line_a_service(make: Make) -> None:
    port = free_port()
    one = make(
        {
            "web": {
                "command": evil("http_ok", port, "hang"),
                "port": port,
                "health": {"http": "/"},
            },
            "plain": {"command": HANG},
        }
    )
    ran = one.run("up")
    assert ran.code == 0, ran
    lines = ran.out.splitlines()
    assert lines[0] == f"web    healthy    http://127.0.0.1:{port}"
    assert lines[1] == "plain  running"
    assert lines[2].startswith("ready in ")
    assert "\x1b" not in ran.out
    assert one.service("plain")["uptime_s"] >= 1


def test_a_failure_is_18_with_its_cause_and_its_last_lines_and_the_rest_runs_on(make: Make) -> None:
    one = make({"bad": FAILS, "after": AFTER, "ok": {"command": HANG}})
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 18, ran
    assert "bad | my last words" in ran.err
    assert "exit code 3" in ran.err
    assert ran.err.splitlines()[-1] == ("orchestrator: failed: bad; not started for that: after")
    assert one.service("ok")["state"] == "running"


def test_the_last_lines_are_those_of_the_run_that_failed(make: Make) -> None:
    one = make({"bad": FAILS | {"command": ["sh", "-c", "cat word; exit 1"]}})
    (one.folder / "word").write_text("first")
    assert one.run("up", "-d", "--wait").code == 18
    (one.folder / "word").write_text("second")
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 18
    assert "second" in ran.err
    assert "first" not in ran.err


def test_minus_d_alone_does_not_wait_and_does_not_fail(make: Make) -> None:
    one = make({"bad": FAILS, "never": NEVER, "after": {"command": HANG, "depends_on": ["never"]}})
    ran = one.run("up", "-d")
    assert ran.code == 0, ran
    assert "started in" in ran.out
    assert "waits for never (healthy)" in ran.out


def test_too_late_is_17_and_what_runs_goes_on(make: Make) -> None:
    one = make({"never": NEVER})
    ran = one.run("up", "--wait-timeout", "500ms")
    assert ran.code == 17, ran
    assert "not ready in time: never" in ran.err
    assert one.service("never")["state"] == "starting"


def test_only_what_is_named_and_what_it_needs_is_waited_for(make: Make) -> None:
    one = make(
        {
            "api": {"command": HANG, "depends_on": ["db"]},
            "db": {"command": HANG},
            "other": NEVER,
        }
    )
    ran = one.run("up", "-d", "--wait", "api")
    assert ran.code == 0, ran
    assert one.service("db")["state"] == "running"
    assert one.service("other")["state"] == "stopped"
    assert one.run("up", "-d", "nobody").code == 4


def test_a_second_up_says_that_it_runs_and_starts_what_was_stopped(make: Make) -> None:
    one = make({"a": {"command": HANG}, "b": {"command": HANG}})
    one.up()
    one.run("stop", "b")
    ran = one.up()
    assert "already running" in ran.err
    assert one.wait_for_state("b", "running")


def test_a_changed_file_is_announced_and_not_taken_over(one: Stack) -> None:
    one.up()
    one.write({"a": {"command": HANG}, "new": {"command": HANG}})
    assert "has changed" in one.up().err
    assert "has changed" in one.run("ps").err
    assert one.run("ps", "-q", "-a").out == "a\n"


def test_abort_on_failure_stops_all_in_the_background_as_well(make: Make) -> None:
    one = make({"bad": FAILS, "ok": {"command": HANG}})
    assert one.run("up", "-d", "--wait", "--abort-on-failure").code == 18
    assert one.survivors() == set()


def test_exit_code_from_watches_also_in_a_pipe_and_shows_the_output(make: Make) -> None:
    e2e = {"command": ["sh", "-c", "echo tested; exit 9"], "restart": "no"}
    one = make({"e2e": e2e, "ok": {"command": HANG}})
    ran = one.run("up", "--exit-code-from", "e2e")
    assert ran.code == 9, ran
    assert "e2e | tested" in ran.out
    assert one.survivors() == set()
    assert one.run("up", "--exit-code-from", "nobody").code == 4
    assert one.survivors() == set()


def test_a_signal_that_ended_it_is_a_shells_code(make: Make) -> None:
    one = make({"e2e": {"command": ["sh", "-c", "kill -9 $$$$"], "restart": "no"}})
    assert one.run("up", "--exit-code-from", "e2e").code == 137


def test_under_a_service_manager_it_watches_and_shows_logs_at_once(make: Make) -> None:
    one = make({"a": {"command": HANG}, "never": NEVER})
    environ = one.environ | {"INVOCATION_ID": "0123"}
    started = one.start("up", env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert started.stdout is not None
    with started.stdout:
        seen = b""
        os.set_blocking(started.stdout.fileno(), False)

        def look() -> bool:
            nonlocal seen
            seen += started.stdout.read() or b""  # type: ignore[union-attr]
            return b"a     | up" in seen

        wait_until(look, 10)
        started.terminate()
        assert started.wait(15) == 143
    assert one.survivors() == set()


def test_the_reader_of_an_attached_up_goes_away_and_the_stack_ends(one: Stack) -> None:
    started = one.start("up", "--attach", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stderr is not None
    with started.stderr:
        started.stdout.readline()
        started.stdout.close()
        wait_until(one.answers)
        one.run("restart", "a")
        assert started.wait(15) == 0
    assert one.survivors() == set()


def test_the_published_entry_is_told_without_its_secret(make: Make) -> None:
    port = free_port()
    one = make(
        {
            "sched": {
                "command": evil("http_ok", port, "hang"),
                "port": port,
                "health": {"http": "/"},
                "mcp": {"name": "Sched", "auth": {"client_id": "me", "api_key": "${secrets.key}"}},
            }
        },
        secrets={"key": {"generate": True}},
    )
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 0, ran
    assert "config/config.json has Sched (URL, client id, key ••••••••)" in ran.out
    config = json.loads((one.folder / "config" / "config.json").read_text())
    key = config["mcp"]["mcp_servers"][0]["transport"]["auth"]["api_key"]
    assert key not in ran.out + ran.err


# `wait`, `start --wait`, `restart --wait`.


def test_wait_asks_for_what_it_is_told_to(make: Make) -> None:
    one = make({"job": {"command": ["true"], "oneshot": True}, "a": {"command": HANG}})
    one.up()
    assert one.run("wait", "job", "--for", "completed").code == 0
    assert one.run("wait", "a", "--for", "started").code == 0
    assert one.run("wait").code == 0
    ran = one.run("wait", "a", "--for", "completed", "--timeout", "200ms")
    assert (ran.code, ran.err) == (17, "orchestrator: not completed in time: a\n")


def test_wait_is_over_at_once_when_it_can_not_come_true(make: Make) -> None:
    one = make({"bad": FAILS, "after": AFTER})
    one.up()
    one.wait_for_state("bad", "failed")
    ran = one.run("wait", "after")
    assert ran.code == 18
    assert "after is pending" in ran.err
    assert one.run("wait", "bad").code == 18


def test_wait_for_stopped_is_true_of_what_never_ran_or_is_down(one: Stack) -> None:
    assert one.run("wait", "--for", "stopped").code == 0
    one.up()
    assert one.run("wait", "--for", "stopped", "--timeout", "100ms").code == 17
    waiting = one.start("wait", "--for", "stopped")
    one.down()
    assert waiting.wait(10) == 0
    assert one.run("wait", "nobody", "--for", "stopped").code == 4


def test_restart_waits_until_the_new_run_is_well_or_is_not(make: Make) -> None:
    one = make({"a": {"command": HANG}, "bad": FAILS})
    one.up()
    assert one.run("restart", "a", "--wait").code == 0
    assert one.service("a")["run"] == 2
    ran = one.run("start", "bad", "--wait")
    assert ran.code == 18
    assert "my last words" in ran.err


def test_globs_name_several_and_a_wrong_name_the_nearest(make: Make) -> None:
    one = make({name: {"command": HANG} for name in ("web-a", "web-b", "db")})
    one.up()
    assert one.run("stop", "web-*").code == 0
    states = {name: one.service(name)["state"] for name in ("web-a", "web-b", "db")}
    assert states == {"web-a": "stopped", "web-b": "stopped", "db": "running"}
    ran = one.run("restart", "web-q")
    assert ran.code == 4
    assert "did you mean 'web-" in ran.err


# The same decisions on a far end that says what a test wants, moment by moment.


@pytest.fixture
def told(make: Make) -> Stack:
    """A stack whose supervisor is the far end of a test."""
    one = make({"a": {"command": HANG}})
    for folder in (one.state_dir, one.runtime_dir):
        folder.mkdir(mode=0o700, parents=True)
    (one.state_dir / "runtime").write_text(str(one.runtime_dir))
    return one


def snapshot(*items: Item) -> dict[str, object]:
    return {"type": "snapshot", "protocol": 1, "stack": "x", "pid": 1, "services": list(items)}


def news(new: Item, before: str) -> dict[str, object]:
    return {"type": "service", "item": new, "before": before, "after": new["state"], "text": ""}


def ask(one: Stack, *messages: object, words: tuple[str, ...] = ("wait",)) -> tuple[int, str]:
    hold = threading.Event()
    answers = {
        "GET /v1/stack": value({"protocol": 1, "services": []}),
        "GET /v1/events": stream(*messages, hold=hold),
    }
    with far_end(Path(one.runtime_dir), answers):
        try:
            ran = one.run(*words)
        finally:
            hold.set()
    return ran.code, ran.err


def test_the_answer_comes_with_the_message_that_decides(told: Stack) -> None:
    began = time.monotonic()
    well = item("a", has_probe=True, health="healthy")
    assert ask(told, snapshot(item("a", "starting")), news(well, "starting"))[0] == 0
    assert time.monotonic() - began < 5


def test_a_dependency_that_just_completed_is_no_failure(told: Stack) -> None:
    api = pending("api", waits("job", "completed"))
    code, err = ask(
        told,
        snapshot(item("job", "running", oneshot=True), api),
        news(item("job", "completed", oneshot=True), "running"),
        news(item("api", has_probe=True, health="healthy"), "pending"),
        words=("wait", "api"),
    )
    assert code == 0, err


def test_messages_that_were_dropped_are_made_up_for(told: Stack) -> None:
    hold = threading.Event()
    well = item("a", has_probe=True, health="healthy")
    answers = {
        "GET /v1/stack": value({"protocol": 1, "stack": "x", "services": [well]}),
        "GET /v1/events": stream(
            snapshot(item("a", "starting")), {"type": "dropped", "count": 9}, hold=hold
        ),
    }
    with far_end(Path(told.runtime_dir), answers):
        try:
            assert told.run("wait").code == 0
        finally:
            hold.set()


def test_a_supervisor_that_ends_meanwhile_is_4(told: Stack) -> None:
    with far_end(
        Path(told.runtime_dir),
        {
            "GET /v1/stack": value({"protocol": 1, "services": []}),
            "GET /v1/events": stream(snapshot(item("a", "starting"))),
        },
    ):
        ran = told.run("wait")
    assert ran.code == 4
