"""The control socket under bad company, and `up` on a terminal."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.stack import Stack, evil, free_port, is_alive, wait_until

HANG = {"command": evil("print", "up", "hang")}


def control(one: Stack) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    folder = os.open(one.runtime_dir, os.O_RDONLY)
    try:
        connection.connect(f"/proc/self/fd/{folder}/control.sock")
    finally:
        os.close(folder)
    return connection


@pytest.mark.parametrize(
    "words",
    [
        b"\x00\xff" * 5000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{{{",
        b'POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n{"services": [3]}',
        b'POST /v1/down HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{"grace_s":-1}',
        b"GET /v1/stack HTTP/1.1\r\n" + b"X: " + b"y" * 200_000,
        b"POST /v1/up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 2_000_000,
    ],
)
def test_nonsense_on_the_control_socket_harms_nobody(make: Make, words: bytes) -> None:
    one = make({"a": HANG})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    with control(one) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), answer
    assert one.service("a")["pid"] == pid


def test_hundreds_of_silent_clients_keep_nobody_from_being_answered(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    with contextlib.ExitStack() as block:
        falls_silent = block.enter_context(control(one))
        falls_silent.sendall(b"GET /v1/stack HTTP/1.1\r\nHost: x\r\n\r\n")
        assert falls_silent.recv(65536)
        falls_silent.sendall(b"GET /v1/st")
        for _ in range(400):
            with contextlib.suppress(OSError):
                block.enter_context(control(one))
        # Those on top are cut off; the places become free when the silent ones are given up.
        wait_until(lambda: one.run("ps").code == 0, within_s=25)
        falls_silent.settimeout(20)
        while falls_silent.recv(65536):
            pass


def test_the_runtime_folder_and_its_sockets_are_private(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    assert one.runtime_dir.stat().st_mode & 0o777 == 0o700
    assert (one.runtime_dir / "control.sock").stat().st_mode & 0o777 == 0o600
    assert one.state_dir.stat().st_mode & 0o777 == 0o700


def test_a_project_in_a_folder_with_a_very_long_path_works(make: Make) -> None:
    one = make({"a": HANG}, folder="x" * 100 + "/" + "y" * 100)
    one.up()
    one.wait_for_state("a", "running")
    assert one.run("ps").code == 0
    one.down()


def test_a_hung_supervisor_is_told_and_not_waited_for(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    pid = one.supervisor_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        ran = one.run("ps", within_s=20)
        assert ran.code == 4
        assert "does not answer" in ran.err
    finally:
        os.kill(pid, signal.SIGCONT)
    assert one.run("ps").code == 0


def test_a_swept_socket_and_a_damaged_journal_cost_no_process(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    one.kill_supervisor()
    (one.runtime_dir / "control.sock").unlink()
    (one.runtime_dir / "state.json").write_bytes(b'{"version": 99}\n\xff\xff{')
    one.up()
    item = one.service("a")
    assert (item["pid"], item["state"], item["run"]) == (pid, "running", 1)


def test_many_commands_at_once_end_in_one_process_and_the_last_word(make: Make) -> None:
    one = make({"a": HANG | {"stop": {"grace": "1s"}}})
    one.up()
    words = ["restart", "stop", "start", "restart", "start"] * 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda word: one.run(word, "a", within_s=55), words))
    assert one.run("start", "a").code == 0
    one.wait_for_state("a", "running")
    mains = {pid for pid, cookie in one.cookie_pids().items() if is_alive(pid)}
    assert mains == {one.service("a")["pid"]}


def test_ps_is_a_contract(make: Make) -> None:
    one = make({"a": HANG | {"env": {"CANARY": "do-not-show-me"}}})
    one.up()
    one.wait_for_state("a", "running")
    out = one.run("ps", "--format", "json").out
    content = json.loads(out)
    assert content["schema"] == 1
    assert content["stack"] == "tested"
    (item,) = content["services"]
    wanted = (
        "name state health pid run restarts started_at uptime_s waiting_for next_restart_at "
        "exit_code signal cause url ports cpu_percent rss_bytes last_probe log_file command "
        "alternative"
    )
    assert set(wanted.split()) <= item.keys()
    assert item["started_at"].endswith("Z")
    assert "do-not-show-me" not in out


def test_status_and_wait_tell_by_their_exit_codes(make: Make) -> None:
    one = make({"a": HANG, "never": {"command": evil("hang"), "port": free_port()}})
    assert one.run("status").code == 3
    assert one.run("wait").code == 7
    one.up()
    assert one.run("status").code == 3
    assert one.run("status", "a").code == 0
    assert one.run("status", "nobody").code == 4
    assert one.run("wait", "a").code == 0
    assert one.run("wait", "never", "--timeout", "300ms").code == 17
    assert one.run("stop", "a").code == 0
    assert one.run("wait", "a").code == 18
    assert one.run("wait", "a", "--for", "stopped").code == 0
    assert one.run("stop", "nobody").code == 4
    assert one.run("nonsense").code == 2


@contextlib.contextmanager
def terminal(one: Stack, *words: object) -> Iterator[tuple[int, int]]:
    """Run the program on a terminal of its own; yield its pid and the terminal."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(one.folder)
        program = one.command(*words)
        os.execvpe(program[0], program, one.environ | {"TERM": "xterm", "NO_COLOR": "1"})
    try:
        yield pid, master
    finally:
        with contextlib.suppress(OSError):
            os.close(master)
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def read_until(master: int, text: bytes, within_s: float = 10.0) -> bytes:
    os.set_blocking(master, False)
    seen = bytearray()

    def look() -> bool:
        with contextlib.suppress(BlockingIOError, OSError):
            seen.extend(os.read(master, 65536))
        return text in seen

    try:
        wait_until(look, within_s, repr(text))
    except AssertionError:
        raise AssertionError(f"{text!r} is not in {bytes(seen)!r}") from None
    return bytes(seen)


def exit_code(pid: int, master: int, within_s: float = 15.0) -> int:
    """Return the exit code; what is printed meanwhile is read, or the writer would wait."""
    ended: list[int] = []

    def look() -> bool:
        with contextlib.suppress(BlockingIOError, OSError):
            os.read(master, 65536)
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(ended)

    wait_until(look, within_s, "the end of up")
    return ended[0]


def test_up_on_a_terminal_shows_the_services_and_ctrl_c_stops_them(make: Make) -> None:
    one = make({"a": HANG, "b": HANG | {"depends_on": ["a"]}})
    with terminal(one, "up") as (pid, master):
        read_until(master, b"a | up")
        os.write(master, b"\x03")
        read_until(master, b"stopping")
        assert exit_code(pid, master) == 130
    assert one.survivors() == set()


def test_a_second_ctrl_c_kills_at_once(make: Make) -> None:
    one = make({"a": {"command": evil("ignterm", "print", "up", "hang"), "stop": {"grace": "60s"}}})
    with terminal(one, "up") as (pid, master):
        read_until(master, b"up")
        one.wait_for_log("a", b"up")
        os.write(master, b"\x03")
        read_until(master, b"still waiting for a")
        os.write(master, b"\x03")
        assert exit_code(pid, master) == 130
    assert one.survivors() == set()


def test_d_detaches_and_leaves_everything_running(make: Make) -> None:
    one = make({"a": HANG})
    with terminal(one, "up") as (pid, master):
        read_until(master, b"d detaches")
        os.write(master, b"d")
        assert exit_code(pid, master) == 0
    assert one.service("a")["state"] == "running"


def test_a_hang_up_stops_the_stack(make: Make) -> None:
    one = make({"a": HANG})
    with terminal(one, "up") as (_, master):
        read_until(master, b"d detaches")
        os.close(master)
        wait_until(lambda: one.survivors() == set(), within_s=15)


def test_ctrl_c_of_an_up_that_found_the_stack_running_only_detaches(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    with terminal(one, "up") as (pid, master):
        read_until(master, b"d detaches")
        os.write(master, b"\x03")
        assert exit_code(pid, master) == 130
    assert one.service("a")["state"] == "running"


def test_sigterm_while_services_are_starting_stops_them_all(make: Make) -> None:
    one = make(
        {
            "a": {"command": evil("hang"), "port": free_port()},
            "b": HANG | {"depends_on": ["a"]},
            "c": {"command": ["false"], "restart": {"backoff": {"initial": "30s"}}},
        }
    )
    started = one.start("up", "--attach", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: (one.runtime_dir / "control.sock").exists())
        one.wait_for_state("c", "backoff")
        started.terminate()
        assert started.wait(20) == 143
    finally:
        if started.stdout:
            started.stdout.close()
    assert one.survivors() == set()


def test_attached_up_ends_by_itself_when_nothing_is_due_any_more(make: Make) -> None:
    one = make({"a": {"command": ["echo", "done"], "oneshot": True}})
    ran = one.run("up", "--attach")
    assert ran.code == 0, ran
    assert "done" in ran.out
    assert one.survivors() == set()


def test_abort_on_failure_stops_all_and_exit_code_from_passes_one_on(make: Make) -> None:
    one = make({"a": {"command": evil("exit", 7), "restart": "no"}, "b": HANG})
    assert one.run("up", "--attach", "--abort-on-failure").code == 18
    assert one.survivors() == set()
    assert one.run("up", "--attach", "--exit-code-from", "a").code == 7
    assert one.survivors() == set()


def test_services_read_no_keys_and_have_no_terminal(make: Make) -> None:
    one = make({"a": {"command": ["sh", "-c", "cat; echo read it; tty; sleep 1000"]}})
    with terminal(one, "up") as (_, master):
        read_until(master, b"not a tty")
        pid = one.service("a")["pid"]
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"
        os.write(master, b"\x03")
        wait_until(lambda: one.survivors() == set(), within_s=15)
