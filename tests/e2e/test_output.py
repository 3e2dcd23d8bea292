"""What services write: all of it in the files, whatever dies, and shown harmless."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Make
from tests.stack import Stack, evil, free_port, is_alive, wait_until


def rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def the_shim(one: Stack) -> int:
    """Return the pid of the only shim; the list of locks may skip one while it changes."""
    return next(iter(wait_until(one.shim_pids)))


def wait_for_another_shim(one: Stack, than: int) -> None:
    wait_until(lambda: one.shim_pids() and than not in one.shim_pids())


def wait_for_end(pid: int) -> None:
    wait_until(lambda: not is_alive(pid))


def test_no_line_is_missing_or_twice_when_the_supervisor_is_killed_again_and_again(
    make: Make,
) -> None:
    one = make(
        {"a": {"command": evil("numbered", 10**12), "logs": {"max_size": "32MiB", "keep": 4}}}
    )
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    for _ in range(12):
        one.kill_supervisor()
        one.up()
        assert one.service("a")["pid"] == pid
        assert one.service("a")["run"] == 1
    one.down()
    # The last line is cut where the service was killed.
    whole = one.log("a").split(b"\n")[:-1]
    first = int(whole[0])
    assert whole == [b"%d" % number for number in range(first, first + len(whole))]
    assert len(whole) > 100_000


def test_a_killed_shim_is_replaced_and_loses_nothing(make: Make) -> None:
    one = make({"a": {"command": evil("numbered_slowly", 3000, 0.0005, "hang")}})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    for _ in range(5):
        shim = the_shim(one)
        os.kill(shim, signal.SIGKILL)
        wait_for_another_shim(one, shim)
    one.wait_for_log("a", b"\n2999\n", within_s=15)
    assert one.log("a") == b"".join(b"%d\n" % number for number in range(3000))
    item = one.service("a")
    assert (item["pid"], item["run"], item["state"]) == (pid, 1, "running")
    os.kill(pid, signal.SIGKILL)
    again = one.wait_for("a", lambda now: now["run"] == 2 and now["pid"])
    assert again["signal"] == "KILL"


def test_a_shim_and_the_supervisor_killed_together_lose_nothing(make: Make) -> None:
    one = make({"a": {"command": evil("numbered_slowly", 3000, 0.0005, "hang")}})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    for _ in range(3):
        supervisor, shims = one.supervisor_pid, list(one.shim_pids())
        for victim in (*shims, supervisor):
            os.kill(victim, signal.SIGKILL)
        wait_for_end(supervisor)
        one.up()
        assert one.service("a")["pid"] == pid
    one.wait_for_log("a", b"\n2999\n", within_s=15)
    assert one.log("a") == b"".join(b"%d\n" % number for number in range(3000))


def test_bytes_of_every_kind_are_in_the_file_unchanged(make: Make) -> None:
    script = (
        "import sys; out = sys.stdout.buffer; out.write(bytes(range(256)) * 100 + b'\\n'); "
        "[out.write(b'line %d\\n' % n) for n in range(5000)]; out.write(b'partial')"
    )
    one = make({"a": {"command": [sys.executable, "-c", script]}})
    assert one.run("up", "-d", "--wait").code == 0
    expected = bytes(range(256)) * 100 + b"\n"
    expected += b"".join(b"line %d\n" % number for number in range(5000)) + b"partial"
    assert one.log("a") == expected
    newest = one.run("logs", "a", "-n", 300, "--no-log-prefix").out.splitlines()
    shown = [line for line in newest if not line.startswith("──")]
    assert shown == [f"line {number}" for number in range(4701, 5000)] + ["partial"]


def test_lines_of_100_mb_leave_the_memory_flat(make: Make) -> None:
    one = make(
        {
            "a": {
                "command": evil(
                    "print", "first", "wait_file", "go", *["longline", 100_000_000] * 3, "hang"
                ),
                "logs": {"max_size": "1GiB"},
            }
        }
    )
    one.up()
    one.wait_for_log("a", b"first")
    shim, supervisor = the_shim(one), one.supervisor_pid
    before = rss_kb(shim), rss_kb(supervisor)
    (one.folder / "go").touch()
    path = one.folder / "logs/a.log"
    wait_until(lambda: path.stat().st_size >= 300_000_000, within_s=30)
    after = rss_kb(shim), rss_kb(supervisor)
    assert after[0] - before[0] < 5_000
    assert after[1] - before[1] < 5_000
    one.down()


def test_the_last_words_of_a_run_are_not_glued_to_the_next(make: Make) -> None:
    one = make({"a": {"command": evil("partial", "no end", "exit", 1), "restart": "no"}})
    one.run("up", "-d", "--wait")
    one.run("start", "a")
    one.wait_for("a", lambda now: now["run"] == 2 and now["state"] == "failed")
    assert one.log("a") == b"no endno end"
    shown = [json.loads(line) for line in one.run("logs", "--format", "json").out.splitlines()]
    assert [item["text"] for item in shown if "text" in item] == ["no end", "no end"]
    assert [(item["run"], item.get("event")) for item in shown] == [
        (1, "start"), (1, None), (1, "exit"), (2, "start"), (2, None), (2, "exit"),
    ]  # fmt: skip


def test_stdout_and_stderr_keep_their_order(make: Make) -> None:
    one = make({"a": {"command": evil("alternate", 1000)}})
    one.run("up", "-d", "--wait")
    numbers = [int(word) for word in re.findall(rb"\d+", one.log("a"))]
    assert numbers == sorted(numbers)
    assert len(numbers) >= 1000


def test_the_supervisor_does_not_take_closed_output_for_an_exit(make: Make) -> None:
    one = make({"a": {"command": ["sh", "-c", "exec 1>&- 2>&-; sleep 1000"]}})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    assert one.run("wait", "a", "--for", "started").code == 0
    assert one.service("a")["pid"] == pid
    assert one.service("a")["run"] == 1


def test_a_run_after_a_non_blocking_one_writes_all(make: Make) -> None:
    """The flag belongs to the open file: each run has its own."""
    script = "test -e second && exec seq 1 200000; touch second; exec " + " ".join(
        evil("nonblock", "hang")
    )
    one = make({"a": {"command": ["sh", "-c", script], "logs": {"max_size": "100MiB"}}})
    one.up()
    wait_until(lambda: (one.folder / "second").exists())
    os.kill(one.service("a")["pid"], signal.SIGKILL)
    one.wait_for("a", lambda now: now["run"] == 2 and now["state"] == "exited")
    assert one.log("a").endswith(b"\n200000\n")
    assert len(re.findall(rb"^\d+$", one.log("a"), re.MULTILINE)) == 200_000


def test_what_reaches_the_terminal_is_clean_and_holds_no_secret(make: Make) -> None:
    one = make(
        {
            "a": {
                "command": ["sh", "-c", r'printf "\033]0;title\007\033[31mred\033[2J %s\n" "$KEY"'],
                "env": {"KEY": "${secrets.key}"},
            }
        },
        secrets={"key": {"generate": True}},
    )
    one.run("up", "-d", "--wait")
    key = json.loads((one.state_dir / "secrets.json").read_text())["key"]
    assert key.encode() in one.log("a")
    shown = one.run("logs", "a", "--no-log-prefix").out
    assert shown.splitlines()[0] == "red ••••"
    assert key not in one.run("logs", "--format", "json").out
    assert key in one.run("logs", "--format", "raw").out
    assert key not in one.run("config").out
    assert key not in json.dumps(one.snapshot())
    assert key not in (one.folder / "logs/orchestrator.log").read_text()


def test_logs_follow_across_restarts_and_rotation(make: Make) -> None:
    one = make(
        {
            "a": {
                "command": ["sh", "-c", 'echo "run $ORCH_COOKIE"; seq 1 2000; sleep 1000'],
                "logs": {"max_size": "4KiB"},
            }
        }
    )
    one.up()
    one.wait_for_log("a", b"\n2000\n")
    follower = one.start("logs", "-f", "-n", "1", "--format", "json", stdout=subprocess.PIPE)
    try:
        assert follower.stdout is not None
        # It follows from here on.
        assert json.loads(follower.stdout.readline())["text"] == "2000"
        assert one.run("restart", "a").code == 0
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1].get("text") != "2000":
            seen.append(json.loads(follower.stdout.readline()))
    finally:
        follower.kill()
        follower.wait()
        if follower.stdout is not None:
            follower.stdout.close()
    texts = [item["text"] for item in seen if "text" in item and item["run"] == 2]
    assert texts[0].endswith("/a/2")
    assert texts[1:] == [str(number) for number in range(1, 2001)]


def test_logs_work_with_nothing_running_and_no_readable_file(make: Make) -> None:
    one = make({"a": {"command": ["echo", "hello"]}})
    one.run("up", "-d", "--wait")
    one.down()
    one.file.write_text("{")
    assert "hello" in one.run("logs").out
    assert one.run("logs", "b").code == 4
    assert one.run("logs", "--path").out.strip() == str(one.folder / "logs/a.log")


def test_several_services_are_merged_by_time_and_chosen_by_pattern(make: Make) -> None:
    one = make(
        {
            "a": {"command": ["echo", "from a"], "oneshot": True},
            "bb": {"command": ["echo", "from b"], "depends_on": ["a"]},
        }
    )
    one.run("up", "-d", "--wait")
    lines = [line for line in one.run("logs").out.splitlines() if "from" in line]
    assert lines == ["a  | from a", "bb | from b"]
    assert one.run("logs", "-g", "b$").out == "bb | from b\n"
    assert one.run("logs", "--since", "1h", "--until", "30m").out == ""


@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_a_reader_that_goes_away_is_no_failure(make: Make, reader: str) -> None:
    one = make({"a": {"command": ["seq", "1", "20000"]}})
    one.run("up", "-d", "--wait")
    words = " ".join(one.command("logs", "-n", "all"))
    done = subprocess.run(
        ["bash", "-c", f"{words} | {reader}; echo ${{PIPESTATUS[0]}} >&2"],
        cwd=one.folder, env=one.environ, capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.stderr.split() == [b"0"], done.stderr


def test_a_flood_of_one_service_costs_no_other_a_probe(make: Make) -> None:
    port = free_port()
    one = make(
        {
            "loud": {
                "command": evil("flood", 0),
                "logs": {"max_size": "1MiB", "keep": 2},
                "stop": {"grace": 0},
            },
            "web": {
                "command": evil("http_ok", port, "hang"),
                "port": port,
                "health": {"http": "/", "interval": "20ms", "timeout": "2s", "failures": 1},
            },
        }
    )
    assert one.run("up", "-d", "--wait").code == 0
    answered, flooded = set[str](), set[str]()

    def enough() -> bool:
        item = one.service("web")
        assert item["last_probe"]["ok"], item
        answered.add(item["last_probe"]["at"])
        flooded.update(path.name for path in one.segments("loud"))
        return len(answered) >= 20 and len(flooded) >= 20

    wait_until(enough, within_s=20, what="20 answers beside 20 MiB of output")
    assert (one.service("web")["run"], one.service("web")["restarts"]) == (1, 0)
    assert one.run("stop", "loud").code == 0
    kept = sum(path.stat().st_size for path in one.segments("loud"))
    assert kept <= 5 << 20, "more is kept than was asked for"
