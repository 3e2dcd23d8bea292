"""What the scheduler's benchmarks share: a scheduler, a receiver, and a store filled at rest."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

KEYS = {
    "Auth__ApiKey": "benchmark",
    "Jwt__Key": "a-signing-key-of-the-benchmarks-with-more-than-sixty-four-characters",
}
RECEIVER = Path(__file__).with_name("scheduler_receiver.py")


@dataclass
class Receiver:
    """A receiver in a process of its own."""

    child: subprocess.Popen[str]
    url: str

    def report(self) -> dict[str, Any]:
        """End it and return what it counted."""
        out, _ = self.child.communicate("\n", timeout=60)
        report: dict[str, Any] = json.loads(out)
        return report


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    child = subprocess.Popen(
        [sys.executable, RECEIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        yield Receiver(child, f"http://127.0.0.1:{port}/callback")
    finally:
        child.kill()
        child.wait()


@contextmanager
def scheduling(data: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run an embedded scheduler and wait until it is healthy."""
    command = [sys.executable, "-m", "orchestrator.scheduler.server", "--data", str(data)]
    child = subprocess.Popen(
        [*command, "--port", str(port), *options],
        env={**os.environ, **KEYS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        healthy(port)
        yield child
    finally:
        child.kill()
        child.wait()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def healthy(port: int, within_s: float = 10.0) -> None:
    """Return once the scheduler answers."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False)
        except httpx2.TransportError:
            time.sleep(0.005)
        else:
            return
    raise TimeoutError("the scheduler did not get healthy")


def login(port: int) -> httpx2.Client:
    """Return a client with a token."""
    base = f"http://127.0.0.1:{port}"
    body = {"clientId": "benchmark", "apiKey": KEYS["Auth__ApiKey"]}
    answer = httpx2.post(f"{base}/api/auth/token", json=body, trust_env=False)
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    return httpx2.Client(base_url=base, headers=headers, trust_env=False, timeout=30)


def fill(data: Path, endpoint: str, count: int, due_s: float, body_bytes: int = 100) -> None:
    """Put ``count`` conversations into a store at rest, all due ``due_s`` seconds from now."""
    due = int((time.time() + due_s) * 1e7)
    text = "x" * body_bytes
    rows = [
        (f"00000000-0000-0000-0000-{n:012}", text, due, due, due, due, "t", endpoint)
        for n in range(count)
    ]
    with sqlite3.connect(data) as connection:
        connection.executemany(
            "INSERT INTO conversation (id, text, status, scheduled, created, updated, due,"
            " target_id, endpoint, method) VALUES (?,?,0,?,?,?,?,?,?,'POST')",
            rows,
        )
    connection.close()


def completed(http: httpx2.Client) -> int:
    """Return how many conversations are completed."""
    answer = http.get("/api/conversations", params={"status": "Completed", "pageSize": 1})
    return int(answer.json()["totalCount"])
