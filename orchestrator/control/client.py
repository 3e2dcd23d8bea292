"""The only way in for every face: HTTP on the stack's unix socket, with the standard library."""

import contextlib
import http.client
import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.control.wire import PROTOCOL, from_wire
from orchestrator.errors import ControlError, NotRunning, ProtocolMismatch

Message = dict[str, Any]

_STREAM_SILENCE_S = 40.0
"""The supervisor ticks every 15 s: a stream that is silent for longer has nobody at its end."""


class ControlClient:
    """Asks one stack's supervisor; a connection for each call, so there is nothing to close."""

    def __init__(self, runtime_dir: Path, timeout_s: float = 5.0) -> None:
        self._runtime_dir = runtime_dir
        self._timeout_s = timeout_s

    def stack(self) -> Message:
        """Return the stack and its services as they are now.

        Raises:
            NotRunning: there is no supervisor, and nothing it could have left.
            ControlError: it does not answer, or services run without one.
        """
        return self._ask("GET", "/v1/stack", None, self._timeout_s)

    def post(self, path: str, body: Message, timeout_s: float | None = None) -> Message:
        """Ask for a change and return the answer; waits at most ``timeout_s``, None for ever.

        Raises:
            OrchestratorError: the very error that the supervisor raised.
        """
        return self._ask("POST", path, body, timeout_s)

    def answers(self) -> bool:
        """Return whether a supervisor answers."""
        try:
            self.stack()
        except ControlError:
            return False
        return True

    @contextlib.contextmanager
    def events(self) -> Iterator["Events"]:
        """Listen inside the block; the first message is a snapshot.

        Raises:
            NotRunning: there is no supervisor, and nothing it could have left.
            ControlError: it does not answer, or services run without one.
        """
        connection = self._connect(self._timeout_s)
        try:
            answer = self._request(connection, "GET", "/v1/events", None)
            if connection.sock is not None:
                connection.sock.settimeout(_STREAM_SILENCE_S)
            yield Events(answer)
        finally:
            _cut(connection)

    def _ask(
        self, method: str, path: str, body: Message | None, timeout_s: float | None
    ) -> Message:
        connection = self._connect(timeout_s)
        try:
            answer = self._request(connection, method, path, body)
            value: Message = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silence(error) from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise from_wire(value)
        theirs = value.get("protocol", PROTOCOL)
        if theirs != PROTOCOL:
            raise ProtocolMismatch(
                f"the running supervisor speaks protocol {theirs}, this program {PROTOCOL}; "
                "use the program that started it, or `down` and `up` with this one",
                PROTOCOL,
                theirs,
            )
        return value

    def _request(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Message | None
    ) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._silence(error) from error

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
        try:
            connection.sock = connect(self._runtime_dir, "control.sock", timeout_s)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise self._nobody() from error
        except OSError as error:
            raise self._silence(error) from error
        return connection

    def _nobody(self) -> ControlError:
        left = living_shims(self._runtime_dir)
        if not left:
            return NotRunning("no stack is running here; `orchestrator up` starts it")
        names = ", ".join(left)
        return ControlError(
            f"the supervisor is gone, but services run on: {names}; "
            "`orchestrator up` takes them over, `orchestrator down` ends them"
        )

    def _silence(self, error: Exception) -> ControlError:
        if isinstance(error, TimeoutError):
            return ControlError(
                f"the supervisor does not answer within {self._timeout_s:g} s; it may be stopped "
                "or hung. Its services run on; killed with -9, `orchestrator up` takes them over"
            )
        return ControlError(f"the supervisor broke off: {str(error) or type(error).__name__}")


class Events:
    """The messages of one stream, read in a thread so that the reader can do other things."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._answer = answer
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float | None = None) -> Message | None:
        """Return the next message; None when none came in time, or none will (``ended``)."""
        if self.ended:
            return None
        try:
            message = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is None:
            self.ended = True
        return message

    def __iter__(self) -> Iterator[Message]:
        """Yield messages until the stream ends."""
        while (message := self.next()) is not None:
            yield message

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            while line := self._answer.readline():
                self._queue.put(json.loads(line))
        self._queue.put(None)


def connect(folder: Path, name: str, timeout_s: float | None) -> socket.socket:
    """Connect to a unix socket, however long its path is; only to one of this user's or root's.

    Raises:
        OSError: nobody listens there, or somebody else does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        by_descriptor = f"/proc/self/fd/{folder_fd}"
        place = by_descriptor if os.path.isdir(by_descriptor) else str(folder)  # noqa: PTH112
        connection.connect(f"{place}/{name}")
        _check_peer(connection)
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder_fd)
    return connection


def living_shims(runtime_dir: Path) -> list[str]:
    """Return the services whose shims live, by connecting to each; taking a lock would disturb."""
    found = []
    try:
        folders = sorted(one for one in runtime_dir.iterdir() if one.is_dir())
    except OSError:
        return []
    for folder in folders:
        with contextlib.suppress(OSError):
            connect(folder, "shim.sock", 1.0).close()
            found.append(folder.name)
    return found


def _check_peer(connection: socket.socket) -> None:
    if not hasattr(socket, "SO_PEERCRED"):
        return
    size = struct.calcsize("3i")
    peer = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if peer[1] not in {os.geteuid(), 0}:
        raise PermissionError(f"the socket belongs to user {peer[1]}")


def _cut(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
