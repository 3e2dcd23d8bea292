"""Services that crash, hang, escape or can't be started."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Make
from tests.stack import evil, free_port, is_alive, wait_until

HANG = {"command": evil("print", "up", "hang")}
QUICK = {"backoff": {"initial": "10ms", "max": "50ms"}}


def test_a_killed_service_runs_again_at_once_with_the_cause_in_ps(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    os.kill(one.wait_for_state("a", "running")["pid"], signal.SIGKILL)
    again = one.wait_for("a", lambda item: item["run"] == 2 and item["pid"], within_s=1.0)
    assert again["restarts"] == 1
    assert again["signal"] == "KILL"
    assert again["cause"]["text"].startswith("killed by SIGKILL (not by us) after")
    assert "killed by SIGKILL" in one.run("ps").out


def test_ten_quick_crashes_are_failed_with_the_last_lines_shown(make: Make) -> None:
    one = make({"a": {"command": evil("print", "about to crash", "exit", 3), "restart": QUICK}})
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 18
    assert "a: gave up: 6 failures within 2" in ran.err
    assert "a | about to crash" in ran.err
    item = one.service("a")
    assert (item["state"], item["run"], item["exit_code"]) == ("failed", 6, 3)
    assert one.run("status").code == 3
    assert one.run("start", "a").code == 0
    assert one.wait_for("a", lambda now: now["run"] > 6)["restarts"] >= 0


def test_a_service_that_exits_well_is_exited_and_not_restarted(make: Make) -> None:
    one = make({"a": {"command": ["true"]}})
    assert one.run("up", "-d", "--wait").code == 0
    assert (one.service("a")["state"], one.service("a")["run"]) == ("exited", 1)


def test_under_always_even_exits_that_are_well_give_up_in_the_end(make: Make) -> None:
    one = make({"a": {"command": ["true"], "restart": QUICK | {"policy": "always"}}})
    assert one.run("up", "-d", "--wait").code == 18
    assert one.service("a")["cause"]["kind"] == "limit"


@pytest.mark.parametrize(
    ("service", "word"),
    [
        ({"command": ["no-such-program-here"]}, "no-such-program-here"),
        ({"command": ["/etc/passwd"]}, "/etc/passwd"),
        ({"command": ["true"], "cwd": "no/such/folder"}, "no/such/folder"),
        ({"command": ["./script"]}, "script"),
        ({"command": ["./wrong"]}, "/no/such/interpreter"),
    ],
)
def test_what_cannot_be_started_fails_at_once_and_the_others_start(
    make: Make, service: dict[str, object], word: str
) -> None:
    one = make({"a": service, "b": HANG})
    (one.folder / "script").write_text("#!/bin/sh\n")
    (one.folder / "wrong").write_text("#!/no/such/interpreter\n")
    (one.folder / "wrong").chmod(0o755)
    assert one.run("up", "-d", "--wait").code == 18
    item = one.service("a")
    assert (item["state"], item["run"], item["cause"]["kind"]) == ("failed", 1, "spawn")
    assert word in item["cause"]["text"]
    assert one.service("b")["state"] == "running"


def test_exit_code_78_is_not_tried_again(make: Make) -> None:
    one = make({"a": {"command": evil("exit", 78)}})
    assert one.run("up", "-d", "--wait").code == 18
    assert (one.service("a")["run"], one.service("a")["exit_code"]) == (1, 78)


@pytest.mark.parametrize("escape", ["setsid", "dfork", "dforkenv", "member", "holdpipe"])
def test_down_ends_what_escaped_from_the_group(make: Make, escape: str) -> None:
    one = make(
        {
            "a": {
                "command": evil(escape, "ignterm", "print", "ready", "hang"),
                "stop": {"grace": "200ms"},
            }
        }
    )
    one.up()
    one.wait_for_log("a", b"ready")
    assert one.fifo_pids()
    one.down()
    assert one.survivors() == set()


def test_services_that_ignore_term_are_killed_together_when_their_grace_is_over(make: Make) -> None:
    stubborn = {"command": evil("ignterm", "print", "ready", "hang"), "stop": {"grace": "1s"}}
    one = make({f"s{number}": stubborn for number in range(4)})
    one.up()
    for number in range(4):
        one.wait_for_log(f"s{number}", b"ready")
    one.down()
    assert one.survivors() == set()


def test_a_stopped_process_is_ended_too(make: Make) -> None:
    one = make({"a": HANG | {"stop": {"grace": "5s"}}})
    one.up()
    one.wait_for_log("a", b"up")
    os.kill(one.service("a")["pid"], signal.SIGSTOP)
    assert one.run("stop", "a").code == 0
    assert one.service("a")["cause"]["text"] == "stopped (SIGTERM)"


def test_what_a_service_leaves_behind_is_killed_and_named(make: Make) -> None:
    one = make({"a": {"command": evil("daemonize")}})
    one.up()
    item = one.wait_for_state("a", "exited")
    assert "behind" in item["cause"]["text"]
    assert {pid for pid in one.cookie_pids() if is_alive(pid)} == set()


def test_the_next_run_begins_when_the_old_tree_is_empty(make: Make) -> None:
    """A server that holds its port for a while after TERM is restarted cleanly."""
    port = free_port()
    one = make(
        {"a": {"command": evil("listen", port, "linger", 1.5, "print", "up", "hang"), "port": port}}
    )
    assert one.run("up", "-d", "--wait").code == 0
    first = one.service("a")
    assert one.run("restart", "a", "--wait").code == 0
    again = one.service("a")
    assert again["pid"] != first["pid"]
    assert (again["run"], again["restarts"], again["health"]) == (2, 0, "healthy")


def test_a_port_taken_between_runs_is_waited_for_without_counting(make: Make) -> None:
    port = free_port()
    one = make({"a": {"command": evil("wait_file", "go", "listen", port, "hang"), "port": port}})
    one.up()
    pid = one.wait_for_state("a", "starting")["pid"]
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
        held.listen()
        os.kill(pid, signal.SIGKILL)
        item = one.wait_for_state("a", "backoff")
        assert item["cause"]["kind"] == "port"
        assert str(os.getpid()) in item["cause"]["text"]
    (one.folder / "go").touch()
    one.wait_for("a", lambda now: now["health"] == "healthy", within_s=10)


def test_a_listener_that_is_somebody_elses_is_no_health(make: Make) -> None:
    port = free_port()
    one = make({"a": {"command": evil("hang"), "port": port, "health": {"http": "/"}}})
    one.up()
    one.wait_for_state("a", "starting")
    with foreign_server(port):
        item = one.wait_for("a", lambda now: "not of this service" in probe_text(now))
        assert f"pid {os.getpid()}" in probe_text(item)
        assert item["state"] == "starting"


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("http_hang", "timed out after 300ms"),
        ("http_drip", "timed out after 300ms"),
        ("http_status", "503"),
        ("http_redirect", "is not followed"),
    ],
)
def test_an_answer_that_is_none_keeps_a_service_from_being_healthy(
    make: Make, behaviour: str, text: str
) -> None:
    port = free_port()
    words: dict[str, list[object]] = {
        "http_status": [503],
        "http_redirect": ["http://127.0.0.1:1/"],
    }
    more = words.get(behaviour, [])
    health = {"http": "/", "timeout": "300ms", "start_timeout": "1s"}
    one = make(
        {
            "a": {
                "command": evil(behaviour, port, *more, "hang"),
                "port": port,
                "health": health,
                "restart": "no",
            }
        }
    )
    assert one.run("up", "-d", "--wait").code == 18
    item = one.service("a")
    assert (item["state"], item["cause"]["kind"]) == ("failed", "timeout")
    assert text in probe_text(item)


def test_a_body_without_end_is_read_so_far_and_no_further(make: Make) -> None:
    port = free_port()
    one = make(
        {"a": {"command": evil("http_huge", port, "hang"), "port": port, "health": {"http": "/"}}}
    )
    assert one.run("up", "-d", "--wait").code == 0


def test_proxies_of_the_environment_do_not_reach_the_probes(make: Make) -> None:
    port = free_port()
    one = make(
        {"a": {"command": evil("http_ok", port, "hang"), "port": port, "health": {"http": "/"}}}
    )
    nowhere = "http://127.0.0.1:9"
    assert one.run("up", "-d", "--wait", HTTP_PROXY=nowhere, http_proxy=nowhere).code == 0


def test_a_service_that_turns_unhealthy_is_restarted_under_the_same_limit(make: Make) -> None:
    one = make(
        {
            "a": {
                "command": evil("touch", "well", "hang"),
                "health": {"exec": ["test", "-e", "well"], "interval": "50ms", "failures": 2},
            }
        }
    )
    assert one.run("up", "-d", "--wait").code == 0
    (one.folder / "well").unlink()
    item = one.wait_for("a", lambda now: now["run"] == 2 and now["health"] == "healthy")
    assert item["cause"]["kind"] == "health"
    assert item["restarts"] == 1


def test_a_stopped_service_that_fails_its_probes_is_not_restarted(make: Make) -> None:
    port = free_port()
    health = {"http": "/", "interval": "50ms", "timeout": "200ms", "failures": 1}
    one = make({"a": {"command": evil("http_ok", port, "hang"), "port": port, "health": health}})
    assert one.run("up", "-d", "--wait").code == 0
    pid = one.service("a")["pid"]
    os.kill(pid, signal.SIGSTOP)
    item = one.wait_for("a", lambda now: now["health"] == "unhealthy")
    assert (item["state"], item["pid"]) == ("running", pid)
    assert "SIGSTOP" in item["note"]
    os.kill(pid, signal.SIGCONT)
    one.wait_for("a", lambda now: now["health"] == "healthy")


def test_the_start_timeout_waits_for_one_that_is_held(make: Make) -> None:
    """Stopped by a signal as by a debugger: a restart would destroy what somebody looks at."""
    one = make(
        {
            "a": HANG
            | {"health": {"exec": ["false"], "start_timeout": "500ms"}, "restart": {"policy": "no"}}
        }
    )
    one.up()
    pid = one.wait_for("a", lambda now: now["pid"])["pid"]
    os.kill(pid, signal.SIGSTOP)
    item = one.wait_for("a", lambda now: now["note"])
    assert "SIGSTOP" in item["note"]
    assert (item["state"], item["pid"]) == ("starting", pid)
    os.kill(pid, signal.SIGCONT)
    item = one.wait_for_state("a", "failed")
    assert (item["cause"]["kind"], item["run"]) == ("timeout", 1)


def test_the_tree_of_an_exec_probe_ends_with_it(make: Make) -> None:
    probe = [
        "sh",
        "-c",
        "sleep 1000 & echo $! >> pids; setsid sleep 1000 & echo $! >> pids; sleep 1000",
    ]
    one = make(
        {"a": HANG | {"health": {"exec": probe, "timeout": "200ms", "start_timeout": "30s"}}}
    )
    one.up()
    pids_file = one.folder / "pids"
    wait_until(lambda: pids_file.exists() and len(pids_file.read_text().split()) >= 2)
    one.wait_for("a", lambda now: "timed out" in probe_text(now))
    first = [int(word) for word in pids_file.read_text().split()[:2]]
    wait_until(lambda: not any(is_alive(pid) for pid in first))


def test_a_log_probe_reads_this_runs_part_only(make: Make) -> None:
    one = make(
        {
            "a": {
                "command": ["sh", "-c", "test -e second || echo listening on 4711; sleep 1000"],
                "health": {"log": "listening on (?P<port>[0-9]+)"},
            },
            "b": {
                "command": ["sh", "-c", "echo $FOUND; sleep 1000"],
                "env": {"FOUND": "${services.a.log.port}"},
                "depends_on": ["a"],
            },
        }
    )
    assert one.run("up", "-d", "--wait").code == 0
    one.wait_for_log("b", b"4711\n")
    (one.folder / "second").touch()
    assert one.run("restart", "a").code == 0
    item = one.wait_for("a", lambda now: now["last_probe"] and not now["last_probe"]["ok"])
    assert item["state"] == "starting"


def test_a_stop_while_starting_waiting_or_backing_off_is_final(make: Make) -> None:
    one = make(
        {
            "starting": {"command": evil("hang"), "port": free_port()},
            "waiting": HANG | {"depends_on": ["starting"]},
            "crashing": {"command": ["false"], "restart": {"backoff": {"initial": "30s"}}},
        }
    )
    one.up()
    one.wait_for_state("crashing", "backoff")
    assert one.service("waiting")["state"] == "pending"
    assert one.run("stop", "*").code == 0
    assert {item["state"] for item in one.snapshot()["services"]} == {"stopped"}
    one.down()
    assert one.survivors() == set()


def probe_text(item: dict[str, object]) -> str:
    probe = item["last_probe"]
    return str(probe["text"]) if isinstance(probe, dict) else ""


@contextmanager
def foreign_server(port: int) -> Iterator[None]:
    """Answer 200 on the port, from this process."""
    server = socket.create_server(("127.0.0.1", port))

    def answer() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
