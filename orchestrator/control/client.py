"""The only way in for every face: HTTP on the stack's unix socket."""

import contextlib
import errno
import json
import os
import queue
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestrator.control.exchange import Answer, receive, send
from orchestrator.control.wire import PROTOCOL, from_wire
from orchestrator.errors import ControlError, NotRunning, OrchestratorError, ProtocolMismatch

Message = dict[str, Any]

_REFUSED = 400
_STREAM_SILENCE_S = 40.0
"""The supervisor ticks every 15 s: a stream that is silent for longer has nobody at its end."""


class Leaderless(ControlError):
    """The supervisor is gone, and services run on without it."""


class Unresponsive(ControlError):
    """A supervisor is there and does not answer in time: it is stopped, hung or overloaded."""


class BrokenOff(ControlError):
    """The supervisor ended while it was asked, or what it said made no sense."""


class ControlClient:
    """Asks one stack's supervisor; a connection for each call, so there is nothing to close."""

    def __init__(self, runtime_dir: Path, timeout_s: float = 5.0) -> None:
        self._runtime_dir = runtime_dir
        self._timeout_s = timeout_s
        self._pid: int | None = None

    def stack(self) -> Message:
        """Return the stack and its services as they are now.

        Raises:
            NotRunning: there is no supervisor, and nothing it could have left.
            Leaderless: services run without one.
            Unresponsive: it does not answer.
            BrokenOff: it ended meanwhile, or its answer makes no sense.
        """
        try:
            return self._ask("GET", "/v1/stack", None, self._timeout_s)
        except BrokenOff:
            # It was just ending: who asks again learns that nothing runs.
            return self._ask("GET", "/v1/stack", None, self._timeout_s)

    def post(self, path: str, body: Message, timeout_s: float | None = None) -> Message:
        """Ask for a change and return the answer; waits at most ``timeout_s``.

        None waits for as long as it takes, and as long as the supervisor answers other questions.

        Raises:
            OrchestratorError: the very error that the supervisor raised.
        """
        return self._ask("POST", path, body, timeout_s)

    @contextlib.contextmanager
    def events(self) -> Iterator["Events"]:
        """Listen inside the block; the first message is a snapshot.

        Raises:
            NotRunning: there is no supervisor, and nothing it could have left.
            Leaderless: services run without one.
            Unresponsive: it does not answer.
            BrokenOff: it ended meanwhile, or its answer makes no sense.
        """
        with self._connect() as connection:
            answer = self._exchange(connection, "GET", "/v1/events", None, self._timeout_s)
            connection.settimeout(_STREAM_SILENCE_S)
            events = Events(answer, self.stack)
            try:
                yield events
            finally:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # wakes who reads from it
                events.close()

    def _ask(
        self, method: str, path: str, body: Message | None, timeout_s: float | None
    ) -> Message:
        with self._connect() as connection:
            answer = self._exchange(connection, method, path, body, timeout_s)
            try:
                value = json.loads(answer.read())
            except (OSError, ValueError) as error:
                raise self._silence(error) from error
            finally:
                answer.close()
        if not isinstance(value, dict):
            raise ControlError(f"the supervisor answered {path} with something else than an object")
        if answer.status >= _REFUSED:
            raise from_wire(value)
        _check_protocol(value)
        return value

    def _exchange(
        self,
        connection: socket.socket,
        method: str,
        path: str,
        body: Message | None,
        timeout_s: float | None,
    ) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        try:
            send(connection, method, path, content)
            self._await_answer(connection, timeout_s)
            return receive(connection)
        except OSError as error:
            raise self._silence(error) from error

    def _await_answer(self, connection: socket.socket, timeout_s: float | None) -> None:
        """Wait for the first byte. What takes long (a stop) is no silence while others are heard.

        Raises:
            TimeoutError: it did not come in time.
            Unresponsive: nobody is answered any more.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline is None else deadline - time.monotonic()
            look_s = self._timeout_s if left_s is None else min(left_s, self._timeout_s)
            if select.select([connection], [], [], max(0.0, look_s))[0]:
                return
            if left_s is not None and left_s <= look_s:
                raise TimeoutError
            self.stack()

    def _connect(self) -> socket.socket:
        try:
            connection = connect(self._runtime_dir, "control.sock", self._timeout_s)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise self._nobody() from error
        except OSError as error:
            raise self._silence(error) from error
        self._pid = peer_pid(connection)
        return connection

    def _nobody(self) -> ControlError:
        left = living_shims(self._runtime_dir)
        if not left:
            return NotRunning("no stack is running here; `orchestrator up` starts it")
        names = ", ".join(left)
        return Leaderless(
            f"the supervisor is gone, but services run on: {names}; "
            "`orchestrator up` takes them over, `orchestrator down` ends them"
        )

    def _silence(self, error: Exception) -> OrchestratorError:
        if isinstance(error, TimeoutError | BlockingIOError):
            who = f"the supervisor (pid {self._pid})" if self._pid else "the supervisor"
            kill = f"kill -9 {self._pid}" if self._pid else "killed with -9"
            return Unresponsive(
                f"{who} does not answer; it may be stopped or hung, its services run on\n"
                f"  `{kill}` ends it and nothing else; `orchestrator up` then takes them over, "
                "`orchestrator down` ends them"
            )
        if isinstance(error, PermissionError):
            return ControlError(f"cannot ask the supervisor: {error.strerror or error}")
        return BrokenOff(f"the supervisor broke off: {str(error) or type(error).__name__}")


class Events:
    """The messages of one stream, read in a thread so that the reader can do other things."""

    def __init__(self, answer: Answer, again: Callable[[], Message]) -> None:
        """``again`` returns a snapshot, for who was told that messages were dropped."""
        self.again = again
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._answer = answer
        self.ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Let go of the stream, once nothing more can come from it."""
        self._reader.join(1.0)
        self._answer.close()

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
        with contextlib.suppress(OSError, ValueError):
            while line := self._answer.readline():
                self._queue.put(json.loads(line))
        self._queue.put(None)


def connect(folder: Path, name: str, timeout_s: float | None) -> socket.socket:
    """Connect to a unix socket, however long its path is; only to one of this user's or root's.

    Raises:
        OSError: nobody listens there, or somebody else does.
    """
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _check_folder(folder, folder_fd)
        connection.settimeout(timeout_s)
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


def peer_pid(connection: socket.socket) -> int | None:
    """Return the process that listens at the other end; None where the system does not tell."""
    return _credentials(connection)[0] or None


def _check_protocol(value: Message) -> None:
    theirs = value.get("protocol", PROTOCOL)
    if theirs != PROTOCOL:
        raise ProtocolMismatch(
            f"the running supervisor speaks protocol {theirs}, this program {PROTOCOL}; "
            "use the program that started it, or `down` and `up` with this one",
            PROTOCOL,
            theirs,
        )


def _check_folder(folder: Path, fd: int) -> None:
    """Refuse a folder in which others than this user and root could put a socket of theirs."""
    found = os.fstat(fd)
    if found.st_uid not in {os.geteuid(), 0}:
        raise PermissionError(errno.EPERM, f"{folder} belongs to user {found.st_uid}")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(errno.EPERM, f"others may write to {folder}")


def _check_peer(connection: socket.socket) -> None:
    uid = _credentials(connection)[1]
    if uid not in {os.geteuid(), 0}:
        raise PermissionError(errno.EPERM, f"the socket belongs to user {uid}")


def _credentials(connection: socket.socket) -> tuple[int, int]:
    """Return pid and user of the other end; 0 and this user where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0, os.geteuid()
    size = struct.calcsize("3i")
    found = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return found[0], found[1]
