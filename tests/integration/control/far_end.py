"""The far end of the control socket: HTTP on a unix socket, with answers that a test writes."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Answer = Callable[[socket.socket], None]


@dataclass
class Asked:
    """A request as it came."""

    line: str
    body: Any


@dataclass
class FarEnd:
    """Answers each request line by what ``answers`` has for it."""

    folder: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def far_end(
    folder: Path, answers: dict[str, Answer], name: str = "control.sock"
) -> Iterator[FarEnd]:
    """Listen inside the block; every connection is closed at its end."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    end = FarEnd(folder, answers)
    open_ones: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as server:
        _bind(server, folder, name)
        server.listen()
        thread = threading.Thread(target=_accept, args=(server, end, open_ones))
        thread.start()
        try:
            yield end
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            for one in open_ones:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            (folder / name).unlink()


def value(content: Any, status: int = 200) -> Answer:
    """Answer with a JSON value."""
    return text(json.dumps(content).encode(), status)


def text(body: bytes, status: int = 200) -> Answer:
    """Answer with any bytes as the body."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda connection: connection.sendall(head + body)


_UNKNOWN = value({"kind": "error", "message": "the far end has no answer to this"}, 404)


def stream(*messages: Any, hold: threading.Event | None = None) -> Answer:
    """Answer with a stream of JSON lines; ``hold``: it ends once the event is set."""

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for message in messages:
            connection.sendall(json.dumps(message).encode() + b"\n")
        if hold is not None:
            hold.wait(10)

    return send


def silence(connection: socket.socket) -> None:
    """Answer nothing until the other side leaves."""
    connection.recv(1)


def _bind(server: socket.socket, folder: Path, name: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        server.bind(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)
    (folder / name).chmod(0o600)


def _accept(server: socket.socket, end: FarEnd, open_ones: list[socket.socket]) -> None:
    threads = []
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            break
        open_ones.append(connection)
        threads.append(threading.Thread(target=_serve, args=(connection, end)))
        threads[-1].start()
    for thread in threads:
        thread.join(5)


def _serve(connection: socket.socket, end: FarEnd) -> None:
    with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
        line = reader.readline().decode().rpartition(" ")[0]
        if not line:
            return
        length = 0
        while header := reader.readline().strip():
            name, _, content = header.partition(b":")
            length = int(content) if name.lower() == b"content-length" else length
        body = json.loads(reader.read(length)) if length else None
        end.asked.append(Asked(line, body))
        end.answers.get(line, _UNKNOWN)(connection)
