"""`up` on a terminal: what is seen, what keys and signals do, and how it leaves the terminal."""

import os
import signal

import pytest

from tests.cli.conftest import HANG, Make
from tests.cli.terminal import terminal
from tests.stack import Stack, evil, free_port, wait_until


def test_what_is_waited_for_is_seen_until_it_is_there_then_the_summary_then_the_logs(
    make: Make,
) -> None:
    port = free_port()
    waits = f"while ! test -e go; do read -t 0.05 x < fifo; done; exec {' '.join(evil())}"
    one = make(
        {
            "web": {"command": HANG, "depends_on": ["db"]},
            "db": {
                "command": ["bash", "-c", f"{waits} http_ok {port} hang"],
                "port": port,
                "health": {"http": "/"},
            },
        }
    )
    os.mkfifo(one.folder / "fifo")
    keep = os.open(one.folder / "fifo", os.O_RDWR)
    try:
        with terminal(one, "up") as shown:
            shown.wait_for("waiting      for db (healthy)")
            shown.wait_for("http: ")
            (one.folder / "go").touch()
            shown.wait_for("ready in ")
            shown.wait_for("web | up")
            lines = [line for line in shown.lines if line]
            assert lines[0] == "orchestrator up · tested · 2 services"
            assert not any("waiting" in line for line in lines)
            ready = next(n for n, line in enumerate(lines) if line.startswith("ready in"))
            assert lines[ready - 2 : ready] == [
                "web  running",
                f"db   healthy    http://127.0.0.1:{port}",
            ]
            assert lines.index("web | up") > ready
            shown.press(b"\x03")
            assert shown.end() == 130
    finally:
        os.close(keep)
    assert one.survivors() == set()


@pytest.mark.parametrize(("keys", "code"), [(b"d", 0), (b"\x03", 130)])
def test_the_terminal_is_left_as_it_was(one: Stack, keys: bytes, code: int) -> None:
    with terminal(one, "up") as shown:
        before = shown.modes()
        wait_until(lambda: shown.modes() != before)
        shown.wait_for("d detaches")
        shown.press(keys)
        assert shown.end() == code
        assert shown.modes() == before


def test_an_interruption_while_it_starts_stops_what_was_started(make: Make) -> None:
    one = make({f"s{number}": {"command": HANG} for number in range(5)})
    with terminal(one, "up") as shown:
        wait_until(lambda: (one.state_dir / "stack.lock").exists())
        os.kill(shown.pid, signal.SIGINT)
        assert shown.end() in {130, -signal.SIGINT}
    wait_until(lambda: one.survivors() == set(), 10)


def test_a_third_ctrl_c_leaves_at_once_and_the_kill_goes_on(make: Make) -> None:
    one = make({"a": {"command": evil("ignterm", "print", "up", "hang"), "stop": {"grace": "60s"}}})
    with terminal(one, "up") as shown:
        shown.wait_for("d detaches")
        one.wait_for_log("a", b"up")
        supervisor = one.supervisor_pid
        shown.press(b"\x03")
        shown.wait_for("stopping;")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            shown.press(b"\x03")
            shown.wait_for("killing")
            shown.press(b"\x03")
            assert shown.end(within_s=4) == 130
        finally:
            os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: one.survivors() == set(), 10)


def test_a_crash_and_its_restart_stand_between_the_lines_in_order(make: Make) -> None:
    script = "echo first; test -e once && exec sleep 1000; touch once; echo last; exit 3"
    one = make({"a": {"command": ["sh", "-c", script]}})
    with terminal(one, "up") as shown:
        shown.wait_for("a | ── run 1 ended with exit code 3 ──")
        one.run("restart", "a")
        shown.wait_for("stopping → starting")
        text = "\n".join(shown.lines)
        last, crash = text.index("a | last"), text.index("exit code 3")
        assert last < crash < text.index("a | first", crash) < text.index("running → stopping")
        shown.press(b"\x03")
        assert shown.end() == 130


def test_what_a_service_writes_cannot_touch_the_terminal_but_colour_stays(make: Make) -> None:
    script = r"printf '\033]0;owned\007\033[2J\033[31mred\033[0m \342\200\256x\n'; sleep 1000"
    one = make({"a": {"command": ["bash", "-c", script]}})
    with terminal(one, "up") as shown:
        shown.wait_for("red <U+202E>x")
        assert b"\x1b[31mred" in shown.seen
        assert b"owned" not in shown.seen
        assert b"\x1b[2J" not in shown.seen
        shown.press(b"\x03")
        assert shown.end() == 130


def test_what_an_earlier_up_left_in_the_logs_is_not_shown_again(make: Make) -> None:
    one = make({"a": {"command": ["sh", "-c", "echo run $(cat n); exec sleep 1000"]}})
    (one.folder / "n").write_text("one")
    one.up()
    one.wait_for_log("a", b"run one")
    one.down()
    (one.folder / "n").write_text("two")
    with terminal(one, "up") as shown:
        shown.wait_for("a | run two")
        assert not any("run one" in line for line in shown.lines)
        shown.press(b"\x03")
        assert shown.end() == 130


def test_attaching_to_a_running_stack_shows_only_the_last_lines(make: Make) -> None:
    one = make({"a": {"command": ["sh", "-c", "seq 1000; exec sleep 1000"]}})
    one.up()
    one.wait_for_log("a", b"1000\n")
    with terminal(one, "up") as shown:
        shown.wait_for("already running")
        shown.wait_for("a | 1000")
        assert sum(line.startswith("a | ") for line in shown.lines) == 10
        shown.press(b"d")
        assert shown.end() == 0
    assert one.service("a")["state"] == "running"


def test_ps_follows_in_place_and_ends_with_the_stack(one: Stack) -> None:
    one.up()
    with terminal(one, "ps", "-f") as shown:
        shown.wait_for("running")
        one.run("stop", "a")
        shown.wait_until_gone("running")
        one.run("start", "a")
        shown.wait_for("running")
        assert sum("NAME" in line for line in shown.lines) == 1
        one.run("down")
        assert shown.end() == 0


def test_piped_output_has_no_colour_and_a_terminal_has_unless_asked_not_to(one: Stack) -> None:
    one.up()
    one.wait_for_state("a", "running")
    assert "\x1b" not in one.run("ps").out
    with terminal(one, "ps") as shown:
        assert shown.end() == 0
        assert b"\x1b[32mrunning" in shown.seen
    one.environ["NO_COLOR"] = "1"
    with terminal(one, "ps") as shown:
        assert shown.end() == 0
        assert b"\x1b[" not in shown.seen
