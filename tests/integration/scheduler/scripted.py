"""A server that answers as it is told: a scheduler with every fault that one can have."""

import contextlib
import http.server
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass(frozen=True)
class Answer:
    """What to answer; ``drop`` closes the connection with a reset instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


Script = Callable[[Asked], Answer | None]
TOKEN = Answer(200, {"token": "t1", "expiresIn": 7200})
NOTHING = Answer(404, b"")
OK = Answer(200, {"result": "00000000-0000-0000-0000-000000000001"})


class Scripted:
    """Runs a script: None for an answer means what a healthy dialect would say."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.hold = threading.Event()
        self.hold.set()
        scripted = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                scripted.asked.append(asked)
                scripted.hold.wait(30)
                answer = scripted.script(asked) or usual(asked)
                if answer.drop:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    return
                body = (
                    answer.body
                    if isinstance(answer.body, bytes)
                    else json.dumps(answer.body).encode()
                )
                with contextlib.suppress(OSError):
                    self.send_response(answer.status)
                    for name, value in {
                        "Content-Type": "application/json",
                        **answer.headers,
                    }.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def count(self, path: str) -> int:
        return sum(1 for asked in self.asked if asked.path == path)

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def usual(asked: Asked) -> Answer:
    """Answer as a dialect that knows nothing yet."""
    if asked.path == "/api/auth/token":
        return TOKEN
    if asked.path == "/api/mcptools/execute":
        return OK
    return NOTHING


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """Run a scripted server."""
    server = Scripted(script)
    try:
        yield server
    finally:
        server.close()
