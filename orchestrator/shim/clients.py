"""The shim's connections: lines of JSON in, events to everyone out; nobody can hold it up."""

from __future__ import annotations

import os
import select
import struct
from _socket import SO_PEERCRED, SOL_SOCKET, socket

from orchestrator.shim import process, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

# A start order carries a whole environment, which the kernel limits to 2 MiB or so.
LINE_LIMIT_BYTES = 8 << 20
UNSENT_LIMIT_BYTES = 1 << 20
READ_BYTES = 1 << 16
CLIENT_LIMIT = 64


class Client:
    """One connection. Whoever does not read, or never ends a line, is dropped."""

    def __init__(self, connection: socket) -> None:
        connection.settimeout(0)
        self.connection = connection
        self.unsent = b""
        self.open = True
        self.wish = select.EPOLLIN
        self._pieces: list[bytes] = []
        self._unread_bytes = 0

    def send(self, event: Json) -> None:
        """Send an event, or keep it until there is room."""
        self.unsent += wire.encoded(event)
        self.flush()

    def flush(self) -> None:
        """Send what is kept as far as it goes."""
        try:
            while self.open and self.unsent:
                sent = self.connection.send(self.unsent)
                self.unsent = self.unsent[sent:]
        except BlockingIOError:
            self.open = len(self.unsent) <= UNSENT_LIMIT_BYTES
        except OSError:
            self.open = False

    def lines(self) -> list[bytes]:
        """Read what has come and return the complete lines in it."""
        try:
            read = self.connection.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            read = b""
        if not read:
            self.open = False
            return []
        self._pieces.append(read)
        self._unread_bytes += len(read)
        if b"\n" not in read:
            self.open = self._unread_bytes <= LINE_LIMIT_BYTES
            return []
        *lines, rest = b"".join(self._pieces).split(b"\n")
        self._pieces = [rest]
        self._unread_bytes = len(rest)
        return lines


class Clients:
    """All connections, and the socket where new ones come in."""

    def __init__(
        self,
        poller: select.epoll,
        handlers: dict[int, Callable[[int], None]],
        greet: Callable[[], Json],
        obey: Callable[[Json], None],
    ) -> None:
        self._poller = poller
        self._handlers = handlers
        self._greet = greet
        self._obey = obey
        self._clients: dict[int, Client] = {}
        self._listener: socket | None = None

    def add(self, connection: socket) -> None:
        """Greet a new client and listen to it."""
        client = Client(connection)
        fd = connection.fileno()
        self._clients[fd] = client
        self._handlers[fd] = lambda mask: self._serve(fd, mask)
        self._poller.register(fd, select.EPOLLIN)
        client.send(self._greet())
        self._settle(fd)

    def listen(self, listener: socket) -> None:
        """Take connections from here on, and from nowhere else."""
        self.stop_listening()
        self._listener = listener
        self._handlers[listener.fileno()] = self._accept
        self._poller.register(listener.fileno(), select.EPOLLIN)

    def stop_listening(self) -> None:
        """Close the listening socket."""
        if self._listener is not None:
            self._poller.unregister(self._listener.fileno())
            del self._handlers[self._listener.fileno()]
            self._listener.close()
            self._listener = None

    def broadcast(self, event: Json) -> None:
        """Send an event to every client."""
        for fd, client in list(self._clients.items()):
            client.send(event)
            self._settle(fd)

    def _accept(self, _mask: int) -> None:
        if self._listener is None:
            return
        try:
            # The plain socket of C: the socket module's class costs each shim memory.
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        except OSError:
            return
        process.close_on_exec(fd)
        connection = socket(fileno=fd)
        if _is_allowed(connection) and len(self._clients) < CLIENT_LIMIT:
            self.add(connection)
        else:
            connection.close()

    def _serve(self, fd: int, mask: int) -> None:
        client = self._clients[fd]
        if mask & select.EPOLLOUT:
            client.flush()
        if mask & ~select.EPOLLOUT:
            for line in client.lines():
                self._handle(client, line)
        self._settle(fd)

    def _handle(self, client: Client, line: bytes) -> None:
        """Obey one line; what can't be understood is answered to its sender alone."""
        try:
            self._obey(wire.decoded_object(line))
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
            client.send({"event": "error", "text": f"cannot understand this: {error!r:.200}"})

    def _settle(self, fd: int) -> None:
        """Drop a client that is gone; wait for room where something is unsent."""
        client = self._clients.get(fd)
        if client is None:
            return
        if not client.open:
            self._poller.unregister(fd)
            del self._handlers[fd], self._clients[fd]
            client.connection.close()
            return
        wish = select.EPOLLIN | (select.EPOLLOUT if client.unsent else 0)
        if wish != client.wish:
            client.wish = wish
            self._poller.modify(fd, wish)


def _is_allowed(connection: socket) -> bool:
    """Tell whether the peer is this user or root."""
    try:
        peer = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return False
    return struct.unpack("3i", peer)[1] in (os.geteuid(), 0)
