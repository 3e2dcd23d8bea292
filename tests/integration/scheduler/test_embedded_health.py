"""Health, starting and stopping of the embedded scheduler."""

import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from tests.integration.scheduler.stage import (
    Caller,
    Process,
    embedded,
    free_port,
    running,
    wait_until,
)

HEALTHY = {"status": "healthy"}


def health(process: Process) -> httpx2.Response:
    return httpx2.get(f"{process.url}/health", trust_env=False, timeout=10)


def test_a_locked_store_is_unhealthy_until_it_is_free(
    scheduler: Process, client: Caller, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "scheduler.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    answer = client.tool("cancelConversation", conversationId="0" * 32)
    assert answer.status_code == 503
    assert answer.json()["title"] == "Service Unavailable"
    answer = health(scheduler)
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["reason"] == "database is locked"
    answer = httpx2.post(f"{scheduler.url}/health", trust_env=False, timeout=10)
    assert answer.json()["status"] == "Unhealthy"
    assert answer.json()["checks"][0]["description"] == "database is locked"
    assert client.ask("GET", "/mcp/tools").status_code == 503
    other.execute("ROLLBACK")
    other.close()
    assert health(scheduler).json() == HEALTHY
    assert "Traceback" not in scheduler.log()


def test_a_store_that_is_gone_is_unhealthy_and_takes_nothing_more(
    scheduler: Process, client: Caller, tmp_path: Path
) -> None:
    assert health(scheduler).json() == HEALTHY
    (tmp_path / "scheduler.sqlite").unlink()
    answer = health(scheduler)
    assert answer.status_code == 503
    assert answer.json()["reason"] == "the database file is gone: No such file or directory"
    arguments = {
        "conversationText": "x",
        "scheduledTime": "2031-01-01",
        "endpoint": "http://127.0.0.1:9/",
    }
    assert client.tool("scheduleConversation", **arguments).status_code == 503
    (tmp_path / "scheduler.sqlite").touch()
    assert health(scheduler).json()["reason"] == "the database file was replaced"


def test_a_full_disk_is_unhealthy(scheduler: Process, client: Caller) -> None:
    limits = resource.prlimit(scheduler.child.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(scheduler.child.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    arguments = {
        "conversationText": "x",
        "scheduledTime": "2031-01-01",
        "endpoint": "http://127.0.0.1:9/",
    }
    assert client.tool("scheduleConversation", **arguments).status_code == 503
    answer = health(scheduler)
    assert answer.status_code == 503
    assert answer.json()["reason"]
    resource.prlimit(scheduler.child.pid, resource.RLIMIT_FSIZE, limits)
    assert health(scheduler).json() == HEALTHY
    assert client.tool("scheduleConversation", **arguments).status_code == 200
    assert "Traceback" not in scheduler.log()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_what_is_no_database_is_told_at_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scheduler.sqlite").write_bytes(content)
    process = embedded(tmp_path).start()
    try:
        if content:
            assert process.ends() == 1
            assert "file is not a database" in process.log()
            assert "Traceback" not in process.log()
        else:
            assert health(process.listens()).json() == HEALTHY
    finally:
        process.remove()


def test_a_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = embedded(tmp_path, "--data", str(tmp_path / "file" / "x.sqlite")).start()
    try:
        assert process.ends() == 1
        assert "cannot open" in process.log()
        assert "Traceback" not in process.log()
    finally:
        process.remove()


def test_it_is_healthy_within_a_second_of_its_start(tmp_path: Path) -> None:
    port = free_port()
    took = []
    for _ in range(3):
        process = embedded(tmp_path, port=port)
        started = time.monotonic()
        process.start()
        try:
            wait_until(lambda: answers(port))
            took.append(time.monotonic() - started)
        finally:
            process.remove()
    assert min(took) <= 1.0


def answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/health"
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def half_a_request(port: int) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), 5)
    line.sendall(
        b"POST /api/auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        b'Content-Type: application/json\r\n\r\n{"cli'
    )
    return line


def test_a_stop_with_nothing_under_way_takes_0_3_s_though_streams_are_open(
    tmp_path: Path,
) -> None:
    took = []
    for _ in range(3):
        with running(embedded(tmp_path)) as process:
            wait_until(lambda port=process.port: answers(port))  # type: ignore[misc]
            idle = socket.create_connection(("127.0.0.1", process.port), 5)
            kept = httpx2.Client(trust_env=False)
            kept.get(f"{process.url}/health")
            half = half_a_request(process.port)
            wait_until(lambda port=process.port: answers(port))  # type: ignore[misc]
            started = time.monotonic()
            assert process.stop(signal.SIGTERM) == 0
            took.append(time.monotonic() - started)
            assert "Traceback" not in process.log()
            assert "ERROR" not in process.log()
            for line in (idle, half, kept):
                line.close()
    assert min(took) <= 0.3


def test_a_stop_in_the_first_moments_is_a_good_end(tmp_path: Path) -> None:
    with running(embedded(tmp_path)) as process:  # the SDK is still being imported
        started = time.monotonic()
        assert process.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < 1
        assert "Traceback" not in process.log()


def test_its_output_may_be_closed(tmp_path: Path) -> None:
    process = embedded(tmp_path, port=free_port())
    reading, writing = os.pipe()
    child = subprocess.Popen(
        process.command,
        env={**os.environ, **process.environment},
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    os.close(reading)
    try:
        port = int(process.command[process.command.index("--port") + 1])
        wait_until(lambda: answers(port))
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--port", "70000"), "--port"),
        (("--attempts", "0"), "--attempts"),
        (("--delivery-timeout", "-1"), "--delivery-timeout"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    process = embedded(tmp_path, *options).start()
    try:
        assert process.ends() == 2
        assert says in process.log()
    finally:
        process.remove()


@pytest.mark.parametrize("minutes", ["0", "-1", "x", "1.5", "99999999999"])
def test_a_wrong_life_of_tokens_is_told(tmp_path: Path, minutes: str) -> None:
    environment = {**embedded(tmp_path).environment, "Jwt__ExpiryMinutes": minutes}
    process = embedded(tmp_path, environment=environment).start()
    try:
        assert process.ends() == 78
        assert "Jwt__ExpiryMinutes" in process.log()
    finally:
        process.remove()
