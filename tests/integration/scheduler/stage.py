"""Real schedulers, real receivers, and nothing left behind."""

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx2

API_KEY = "the-api-key-of-these-tests"
SIGNING_KEY = "a-signing-key-of-these-tests-with-more-than-sixty-four-characters!"
ENVIRONMENT = {"Auth__ApiKey": API_KEY, "Jwt__Key": SIGNING_KEY, "TZ": "UTC"}
LISTENING = re.compile(r"Now listening on: (http://\S+)")
T = TypeVar("T")


def wait_until(look: Callable[[], T], within_s: float = 5.0) -> T:
    """Return the first true answer of ``look``; fail when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {look}")
        time.sleep(0.005)
    return seen


@dataclass
class Process:
    """A program that tells its address in its log."""

    command: Sequence[str]
    log_path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    telling: re.Pattern[str] = LISTENING

    def start(self) -> "Process":
        with self.log_path.open("wb") as output:
            self.child = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self

    def listens(self, within_s: float = 20.0) -> "Process":
        def told() -> str:
            assert self.child.poll() is None, self.log()
            found = self.telling.search(self.log())
            return found[1] if found else ""

        self.url = wait_until(told, within_s)
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def ends(self, within_s: float = 5.0) -> int:
        return self.child.wait(within_s)

    def stop(self, number: int = signal.SIGTERM, within_s: float = 5.0) -> int:
        self.child.send_signal(number)
        return self.ends(within_s)

    def remove(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """Start a process, wait for its address, and leave nothing of it."""
    process.start()
    try:
        yield process.listens()
    finally:
        process.remove()


def embedded(
    folder: Path,
    *options: str,
    port: int = 0,
    environment: Mapping[str, str] = ENVIRONMENT,
    name: str = "scheduler",
) -> Process:
    """Return an embedded scheduler that keeps its data in ``folder``."""
    data = str(folder / f"{name}.sqlite")
    module = "orchestrator.scheduler.server"
    command = [sys.executable, "-m", module, "--port", str(port), "--data", data, *options]
    return Process(command, folder / f"{name}.log", environment)


def api_server(folder: Path, config_path: Path, port: int = 0) -> Process:
    """Return the demo's API server."""
    module = "orchestrator.demo.api_server"
    command = [sys.executable, "-m", module, "--port", str(port), "--config", str(config_path)]
    telling = re.compile(r"Uvicorn running on (http://\S+)")
    return Process(command, folder / "api_server.log", telling=telling)


def write_config(path: Path, url: str, api_key: str = API_KEY) -> None:
    """Publish a scheduler as the supervisor does: whole, by rename."""
    auth = {"client_id": "tests", "api_key": api_key}
    transport = {"type": "http", "url": f"{url}/mcp", "auth": auth}
    content = {"mcp": {"mcp_servers": [{"name": "Scheduler", "transport": transport}]}}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def free_port() -> int:
    """Return a port that nobody listens on now, on either loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def soon(seconds: float = 0.3) -> str:
    """Return a time shortly ahead, as it is written on the wire."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.isoformat().replace("+00:00", "Z")


class Caller:
    """A client of the dialect that hides nothing."""

    def __init__(self, url: str, api_key: str = API_KEY) -> None:
        self.url = url
        # verify=False: setting up TLS that nobody uses costs 40 ms a client
        self.http = httpx2.Client(base_url=url, timeout=10, trust_env=False, verify=False)
        self.api_key = api_key
        self.headers: dict[str, str] = {}

    def login(self) -> "Caller":
        answer = self.http.post(
            "/api/auth/token", json={"clientId": "tests", "apiKey": self.api_key}
        )
        assert answer.status_code == 200, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        return self

    def ask(self, method: str, path: str, **how: Any) -> httpx2.Response:
        headers = {**self.headers, **how.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **how)

    def tool(self, name: str, **arguments: object) -> httpx2.Response:
        body = {"name": name, "arguments": arguments}
        return self.ask("POST", "/api/mcptools/execute", json=body)

    def schedule(self, text: str, at: str, endpoint: str, **more: object) -> str:
        """Schedule, later than asked for if the machine stood still until the time had come."""
        while True:
            answer = self.tool(
                "scheduleConversation",
                conversationText=text,
                scheduledTime=at,
                endpoint=endpoint,
                **more,
            )
            if answer.status_code != 400 or at > soon(0) or "in the future" not in answer.text:
                break
            at = soon(1)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["result"])

    def status(self, conversation_id: str) -> str:
        answer = self.tool("getConversationStatus", conversationId=conversation_id)
        return str(answer.json()["result"])

    def becomes(self, conversation_id: str, word: str, within_s: float = 5.0) -> None:
        wait_until(lambda: self.status(conversation_id) == word, within_s)

    def close(self) -> None:
        self.http.close()


@contextlib.contextmanager
def caller(url: str, api_key: str = API_KEY) -> Iterator[Caller]:
    """Return a logged-in caller."""
    made = Caller(url, api_key)
    try:
        yield made.login()
    finally:
        made.close()


@dataclass(frozen=True)
class Delivery:
    """What a receiver got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    at: float

    @property
    def id(self) -> str | None:
        return self.headers.get("x-conversation-id")


class Receiver:
    """An HTTP server that keeps what it gets and answers as it is told."""

    def __init__(self, protocol: str = "HTTP/1.1") -> None:
        self.deliveries: list[Delivery] = []
        self.status = 200
        self.answers: list[int] = []
        self.location: str | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler(protocol))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/callback"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def texts(self) -> list[str]:
        return [delivery.body for delivery in self.deliveries]

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, delivery: Delivery) -> int:
        with self._lock:
            self.deliveries.append(delivery)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            status = self.answers.pop(0) if self.answers else self.status
        self.may_answer.wait(60)
        with self._lock:
            self.at_once -= 1
        return status

    def _handler(self, protocol: str) -> type[http.server.BaseHTTPRequestHandler]:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = protocol

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(length).decode()
                delivery = Delivery(self.command, self.path, headers, body, time.time())
                status = receiver.take(delivery)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    if receiver.location and 300 <= status < 400:
                        self.send_header("Location", receiver.location)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_FLY = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Keep quiet about clients that were killed."""


@contextlib.contextmanager
def receiving(protocol: str = "HTTP/1.1") -> Iterator[Receiver]:
    """Return a receiver."""
    receiver = Receiver(protocol)
    try:
        yield receiver
    finally:
        receiver.close()
