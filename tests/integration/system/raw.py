"""A server that says just the bytes that it is told to say, or does what no server should."""

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Raw:
    """The server: where it is and what it was asked. ``over`` ends all that it still does."""

    port: int
    asked: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextlib.contextmanager
def raw(
    answer: bytes | Callable[["Raw", socket.socket], None],
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Raw]:
    """Answer every connection with the bytes, or as the function does, from this process."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as listener:
        server = Raw(int(listener.getsockname()[1]))
        threads: list[threading.Thread] = []

        def serve(accepted: socket.socket) -> None:
            with contextlib.suppress(OSError), _secured(accepted, tls) as connection:
                server.asked.append(connection.recv(1 << 16))
                if callable(answer):
                    answer(server, connection)
                else:
                    connection.sendall(answer)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=serve, args=(connection,)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            server.over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(5)


def _secured(connection: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    if tls is None:
        return connection
    inner = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    try:
        inner.do_handshake()
    except OSError:
        # Closed with something unread, it would be reset before the client has the alert.
        with inner, contextlib.suppress(OSError):
            socket.socket.shutdown(inner, socket.SHUT_WR)
            while os.read(inner.fileno(), 1 << 16):
                pass
        raise
    return inner


def hang(server: Raw, _: socket.socket) -> None:
    """Never answer."""
    server.over.wait(30)


def drip(server: Raw, connection: socket.socket) -> None:
    """Answer byte by byte, without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while not server.over.wait(0.01):
        connection.sendall(b"x")


def drip_head(server: Raw, connection: socket.socket) -> None:
    """Begin one header after the other and come to no answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not server.over.wait(0.01):
        connection.sendall(b"X: y\r\n")


def go_on(server: Raw, connection: socket.socket) -> None:
    """Ask for patience without end."""
    while not server.over.wait(0.01):
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def flood(server: Raw, connection: socket.socket) -> None:
    """Answer with a body without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not server.over.is_set():
        connection.sendall(b"x" * (1 << 16))


def reset(_: Raw, connection: socket.socket) -> None:
    """Take the request and reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def certificate(folder: Path) -> Path:
    """Make a certificate for localhost, with its key in the same file; raises OSError."""
    path = folder / "both.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", path, "-out", folder / "certificate.pem"],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + (folder / "certificate.pem").read_bytes())
    return path
