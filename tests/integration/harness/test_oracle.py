"""The oracle sees what it is there to see: each fault is made by hand, and each is found."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import oracle
from tests.processes import is_alive, wait_until
from tests.stack import Ran, Stack, evil, free_port, stack

HANG = {"command": evil("print", "up", "hang")}
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Stack]:
    """A stack that was never started, with the folders that one has."""
    with stack(tmp_path / "project", {"a": HANG}, judged=False) as made:
        for folder in (made.state_dir, made.runtime_dir / "a", made.folder / "logs" / ".index"):
            folder.mkdir(parents=True)
        for folder in (made.state_dir, made.runtime_dir, made.runtime_dir / "a"):
            folder.chmod(0o700)
        os.mkfifo(made.runtime_dir / "a" / "out")
        (made.runtime_dir / "a" / "out").chmod(0o622)
        yield made


@contextmanager
def process(**keys: object) -> Iterator[int]:
    """A process that sleeps, and is gone afterwards."""
    started = subprocess.Popen(SLEEP, **keys)  # type: ignore[call-overload]
    try:
        yield started.pid
    finally:
        started.kill()
        started.wait()


def log(stack: Stack, content: bytes, name: str = "a.log") -> Path:
    path = stack.folder / "logs" / name
    path.write_bytes(content)
    path.chmod(0o600)
    return path


# Who lives.


def test_a_stack_at_rest_is_in_order(still: Stack) -> None:
    oracle.after_down(still, ports=[free_port()])


def test_a_process_with_the_cookie_is_seen(still: Stack) -> None:
    with process(env={"ORCH_COOKIE": f"{still.id}/a/1"}) as pid:
        wait_until(lambda: pid in still.cookie_pids())
        assert still.survivors() == {pid}
        with pytest.raises(AssertionError, match=f"pid {pid} lives"):
            oracle.after_down(still)


def test_a_process_with_another_stacks_cookie_is_none_of_ours(still: Stack) -> None:
    with process(env={"ORCH_COOKIE": "0123456789ab/a/1"}):
        assert still.survivors() == set()


def test_a_process_that_holds_the_output_is_seen_without_any_environment(still: Stack) -> None:
    fifo = os.open(still.runtime_dir / "a" / "out", os.O_RDWR)
    try:
        with process(env={}, stdout=fifo) as pid:
            os.close(fifo)
            fifo = -1
            assert still.survivors() == {pid}
    finally:
        if fifo >= 0:
            os.close(fifo)


def test_a_listener_that_is_left_is_seen(still: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as left:
        port = left.getsockname()[1]
        with pytest.raises(AssertionError, match=f"listens on port {port}"):
            oracle.after_down(still, ports=[port])


def test_a_socket_that_is_left_is_seen(still: Stack) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        folder = os.open(still.runtime_dir, os.O_RDONLY)
        left.bind(f"/proc/self/fd/{folder}/control.sock")
        os.close(folder)
        (still.runtime_dir / "control.sock").chmod(0o600)
    with pytest.raises(AssertionError, match=r"control\.sock is left"):
        oracle.after_down(still)


def test_destroying_ends_what_hides_in_the_folder_and_nothing_else(still: Stack) -> None:
    with process(cwd=still.folder, env={}) as hidden, process(env={}) as other:
        assert still.survivors() == set()
        still.destroy()
        assert not is_alive(hidden)
        assert is_alive(other)


# Files.


@pytest.mark.parametrize(
    ("name", "mode", "found"),
    [
        ("state/plan.json", 0o666, "others may write it"),
        ("state/secrets.json", 0o640, "mode 640, not 600"),
        ("run/redact.json", 0o644, "mode 644, not 600"),
        ("run/a", 0o755, "mode 755, not 700"),
        ("run/a/out", 0o666, "mode 666, not 622"),
        ("logs/a.log", 0o644, "mode 644, not 600"),
        ("logs/.index/a", 0o644, "mode 644, not 600"),
        ("home/.cache", 0o700, "in the home folder"),
    ],
)
def test_a_wrong_mode_or_place_is_seen(still: Stack, name: str, mode: int, found: str) -> None:
    first, _, rest = name.partition("/")
    folders = {"state": still.state_dir, "run": still.runtime_dir}
    path = folders.get(first, still.folder / first) / rest
    if not path.exists():
        path.touch()
    path.chmod(mode)
    with pytest.raises(AssertionError, match=found):
        oracle.after_down(still)


def test_a_config_whose_foreign_keys_stay_is_kept(still: Stack) -> None:
    config = still.folder / "config.json"
    servers: list[dict[str, object]] = [{"name": "Other", "x": 1}]
    config.write_text(json.dumps({"z": 1, "a": [1.5], "mcp": {"mcp_servers": servers}}))
    kept = oracle.Kept.of(config, ours=["Scheduler"])
    servers.append({"name": "Scheduler"})
    config.write_text(json.dumps({"z": 1, "a": [1.5], "mcp": {"mcp_servers": servers}}))
    kept.check(ours=["Scheduler"])


@pytest.mark.parametrize(
    "content",
    ['{"a": [1], "z": 1}', '{"z": 1}', '{"z": 1, "a": [2]}', '{"z": 1, "a": [1], "b": 0}', "{"],
)
def test_a_config_whose_foreign_keys_change_is_seen(still: Stack, content: str) -> None:
    config = still.folder / "config.json"
    config.write_text('{"z": 1, "a": [1]}')
    kept = oracle.Kept.of(config)
    config.write_text(content)
    with pytest.raises((AssertionError, ValueError)):
        kept.check()


@pytest.mark.parametrize("change", ["mode", "link"])
def test_a_config_that_lost_its_mode_or_its_link_is_seen(still: Stack, change: str) -> None:
    real, config = still.folder / "real.json", still.folder / "config.json"
    real.write_text("{}")
    config.symlink_to(real)
    kept = oracle.Kept.of(config)
    if change == "mode":
        real.chmod(0o640)
    else:
        config.unlink()
        config.write_text("{}")
    with pytest.raises(AssertionError, match="was changed"):
        kept.check()


# Logs.


@pytest.mark.parametrize(
    ("content", "count"), [(b"", 0), (b"0\n1\n2\n", 3), (b"0\n1\n", 2), (b"0\n1\n2", 2)]
)
def test_numbered_lines_are_counted(still: Stack, content: bytes, count: int) -> None:
    log(still, content)
    assert oracle.numbered_lines(still, "a") == count


@pytest.mark.parametrize(
    "content", [b"0\n2\n", b"0\n1\n1\n2\n", b"1\n2\n", b"0\n1\n23\n", b"0\n1\n\0\0\n", b"0\n1\n9"]
)
def test_a_line_that_is_lost_doubled_or_torn_is_seen(still: Stack, content: bytes) -> None:
    log(still, content)
    with pytest.raises(AssertionError):
        oracle.numbered_lines(still, "a")


def test_lines_that_are_missing_at_the_end_are_seen_where_their_count_is_known(
    still: Stack,
) -> None:
    log(still, b"0\n1\n2")
    with pytest.raises(AssertionError, match="2 lines of 3"):
        oracle.numbered_lines(still, "a", count=3)


def test_numbered_lines_go_on_over_rotated_segments(still: Stack) -> None:
    log(still, b"0\n1\n", "a.0.log")
    log(still, b"2\n", "a.4.log")
    log(still, b"3\n")
    assert oracle.numbered_lines(still, "a", count=4) == 4


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([(8, 1, oracle.START), (4, 1, oracle.DATA)], "offsets of its index go back"),
        ([(0, 2, oracle.START), (4, 1, oracle.DATA)], "runs of its index go back"),
        ([(0, 1, oracle.EXIT), (4, 1, oracle.EXIT)], "a run ended twice"),
        ([(0, 1, 9)], "no known kind"),
    ],
)
def test_an_index_that_is_wrong_is_seen(
    still: Stack, records: list[tuple[int, int, int]], found: str
) -> None:
    path = still.folder / "logs" / ".index" / "a"
    path.write_bytes(
        b"".join(oracle.RECORD.pack(at, 0, 0, run, kind, 0, 0) for at, run, kind in records)
    )
    path.chmod(0o600)
    with pytest.raises(AssertionError, match=found):
        oracle.after_down(still)


@pytest.mark.parametrize("second", [3, 5])
def test_segments_that_overlap_or_leave_a_hole_are_seen(still: Stack, second: int) -> None:
    log(still, b"0\n1\n", "a.0.log")
    log(still, b"2\n", f"a.{second}.log")
    log(still, b"")
    log(still, b"", ".index/a")
    with pytest.raises(AssertionError, match=f"ends at 4 and the next begins at {second}"):
        oracle.after_down(still)


# Secrets.


@pytest.mark.parametrize(
    "form",
    [
        "s3cr3t/+va lue",
        base64.b64encode(b"s3cr3t/+va lue").decode(),
        b"s3cr3t/+va lue".hex(),
        "s3cr3t%2F%2Bva%20lue",
    ],
)
def test_a_secret_is_seen_in_every_form(still: Stack, form: str) -> None:
    secret = "s3cr3t/+va lue"
    oracle.no_secret(still, [secret], "nothing", Ran(0, "of it", "here"))
    for shown in (f"key={form}!", f"key={form}!".encode(), Ran(1, "", form)):
        with pytest.raises(AssertionError, match="output 0 shows"):
            oracle.no_secret(still, [secret], shown)
    (still.folder / "logs" / "orchestrator.log").write_text(f"the key is {form}\n")
    with pytest.raises(AssertionError, match=r"orchestrator\.log shows"):
        oracle.no_secret(still, [secret])


def test_a_secret_in_the_arguments_is_seen(still: Stack) -> None:
    command = [*SLEEP, "--key", "s3cr3t-value"]
    running = subprocess.Popen(command, env={"ORCH_COOKIE": f"{still.id}/a/1"})
    try:
        wait_until(lambda: running.pid in still.cookie_pids())
        with pytest.raises(AssertionError, match=f"arguments of pid {running.pid}"):
            oracle.no_secret(still, ["s3cr3t-value"])
    finally:
        running.kill()
        running.wait()


def test_a_secret_may_stand_where_it_belongs(still: Stack) -> None:
    for path in (still.file, still.state_dir / "secrets.json", still.folder / "config.json"):
        path.write_text("s3cr3t-value")
    log(still, b"s3cr3t-value")
    log(still, b"", ".index/a")
    oracle.no_secret(still, ["s3cr3t-value"])


# With a real supervisor.


def test_a_stack_that_is_up_is_in_order(tmp_path: Path) -> None:
    with stack(tmp_path / "project", {"a": HANG, "b": HANG | {"depends_on": ["a"]}}) as one:
        one.up("--wait")
        mark = oracle.Watermark.of(one)
        oracle.while_up(one)
        assert {name: item["state"] for name, item in one.ps().items()} == {
            "a": "running",
            "b": "running",
        }
        mark.check()


def test_a_second_instance_is_seen(tmp_path: Path) -> None:
    with stack(tmp_path / "project", {"a": HANG}, judged=False) as one:
        one.up("--wait")
        with process(env={"ORCH_COOKIE": f"{one.id}/a/7"}) as pid:
            wait_until(lambda: pid in one.cookie_pids())
            with pytest.raises(AssertionError, match=r"a: runs \[1, 7\] live"):
                oracle.while_up(one)


def test_a_supervisor_that_was_killed_leaves_nothing_after_the_end(tmp_path: Path) -> None:
    with stack(
        tmp_path / "project", {"a": {"command": evil("ignterm", "print", "up", "hang")}}
    ) as one:
        one.up("--wait")
        one.wait_for_log("a", b"up")
        one.kill_supervisor()
        assert not one.answers()
        pids = one.survivors()
        assert len(pids) >= 2
        one.destroy()
        wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_killed_shim_and_a_stopped_one_are_ended_too(tmp_path: Path) -> None:
    with stack(tmp_path / "project", {"a": HANG, "b": HANG}, judged=False) as one:
        one.up("--wait")
        one.kill_supervisor()
        for pid, name in one.shim_pids().items():
            os.kill(pid, signal.SIGKILL if name == "a" else signal.SIGSTOP)
        started = time.monotonic()
        one.destroy()
        assert one.survivors() == set()
        assert time.monotonic() - started < 30
