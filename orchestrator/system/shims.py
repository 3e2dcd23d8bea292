"""Talks to a shim: orders out, events in, with as little between as can be."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from orchestrator.errors import OrchestratorError
from orchestrator.shim.identity import read_stat, send_signal

READ_BYTES = 1 << 18
CONNECT_TIMEOUT_S = 2.0
SOCKET_NAME = "shim.sock"
# Source: sun_path in unix(7), less the final NUL
SOCKET_PATH_LIMIT_BYTES = 107


class ShimUnreachable(OrchestratorError):
    """A shim could not be started, reached, or ended before it said hello."""

    never_said_hello = False


class ShimLocked(OrchestratorError):
    """Another shim of this service lives; ``holder`` says who, as far as it told."""

    holder = ""


class Shim:
    """A connection to one shim. Closing it leaves the shim and its service as they are."""

    def __init__(
        self, connection: socket.socket, on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        connection.settimeout(0)
        self.hello: dict[str, Any] = {}
        self.closed = anyio.Event()
        self._on_event = on_event
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._read_rest = b""
        self._unsent = b""
        self._early: list[dict[str, Any]] | None = []
        self._greeting: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        # Straight from the loop's poll to the callback: no task, no stream in between.
        self._loop.add_reader(connection.fileno(), self._read)

    @property
    def pid(self) -> int:
        """The shim's pid."""
        return int(self.hello["pid"])

    async def greeted(self, timeout_s: float) -> "Shim":
        """Wait for the hello and return the shim itself; closes it when none comes.

        Events that came with the hello are delivered after the caller has the shim in hand.
        """
        try:
            async with asyncio.timeout(timeout_s):
                hello = await self._greeting
        except TimeoutError:
            await self.aclose()
            raise ShimUnreachable("cannot reach the shim: it does not answer") from None
        except BaseException:
            await self.aclose()
            raise
        if hello.get("event") == "locked":
            await self.aclose()
            locked = ShimLocked(f"another shim of this service lives: {hello.get('holder')}")
            locked.holder = str(hello.get("holder"))
            raise locked
        try:
            self.hello = _checked(hello)
        except (KeyError, TypeError, ValueError) as error:
            await self.aclose()
            raise ShimUnreachable(f"cannot understand the shim's greeting: {error!r}") from error
        self._loop.call_soon(self._deliver_early)
        return self

    def send(self, order: dict[str, Any]) -> None:
        """Send an order; never waits. What does not fit into the socket follows later.

        To a shim that is gone it does nothing: ``closed`` tells.
        """
        self._unsent += json.dumps(order).encode() + b"\n"
        self._flush()

    async def aclose(self) -> None:
        """Close the connection. May be called again."""
        self._close()

    def _flush(self) -> None:
        if self.closed.is_set():
            return
        try:
            while self._unsent:
                sent = self._connection.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            self._loop.add_writer(self._connection.fileno(), self._flush)
            return
        except OSError:
            # What it said last is still to be read: the end of file closes.
            self._unsent = b""
        self._loop.remove_writer(self._connection.fileno())

    def _read(self) -> None:
        try:
            read = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            read = b""
        if not read:
            self._close()
            return
        *lines, self._read_rest = (self._read_rest + read).split(b"\n")
        for line in lines:
            try:
                self._receive(json.loads(line))
            except Exception as error:  # noqa: BLE001 one bad answer to an event costs no other
                context = {"message": "an event of a shim was not handled", "exception": error}
                self._loop.call_exception_handler(context)

    def _receive(self, event: dict[str, Any]) -> None:
        if not self._greeting.done():
            self._greeting.set_result(event)
        elif self._early is not None:
            self._early.append(event)
        else:
            self._on_event(event)

    def _deliver_early(self) -> None:
        early, self._early = self._early or [], None
        for event in early:
            self._on_event(event)

    def _close(self) -> None:
        if self.closed.is_set():
            return
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        self.closed.set()
        if not self._greeting.done():
            error = ShimUnreachable("cannot reach the shim: it ended without a word")
            error.never_said_hello = True
            self._greeting.set_exception(error)
            # Nobody may be waiting for it yet.
            self._greeting.exception()


def _checked(hello: dict[str, Any]) -> dict[str, Any]:
    """Return a hello with the facts that everybody reads: its pid, the last run, the live one.

    Raises KeyError, TypeError or ValueError where one is missing or is none.
    """
    run = hello.get("run")
    if run is not None:
        run = {**run, **{name: int(run[name]) for name in ("run", "pid", "log_offset")}}
    facts = {"pid": int(hello["pid"]), "last_run": int(hello["last_run"]), "run": run}
    return {**hello, **facts}


def wake_holder(lock_path: Path) -> int | None:
    """Have the shim that holds a service's lock go on, if somebody stopped it; return its pid.

    None: nobody holds it. Source of who does: what the holder wrote into it, and its descriptors.
    """
    try:
        said = str(json.loads(lock_path.read_bytes())["holder"])
        pid = int(said.removeprefix("pid "))
        stat = read_stat(pid)
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if stat is None or os.path.realpath(lock_path) not in links:
        return None
    send_signal(pid, stat.starttime, signal.SIGCONT, by_pidfd=hasattr(os, "pidfd_open"))
    return pid


async def connect_shim(
    service_dir: str,
    on_event: Callable[[dict[str, Any]], None],
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Shim:
    """Connect to a living shim through its socket, however long the path of its folder is.

    Raises:
        ShimUnreachable: Nobody listens there, or no hello came within ``timeout_s``.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(0)
    try:
        _connect(connection, service_dir)
    except OSError as error:
        connection.close()
        reason = error.strerror or str(error)
        raise ShimUnreachable(f"cannot reach the shim of {service_dir!r}: {reason}") from error
    return await Shim(connection, on_event).greeted(timeout_s)


def _connect(connection: socket.socket, service_dir: str) -> None:
    path = f"{service_dir}/{SOCKET_NAME}"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES:
        connection.connect(path)
        return
    with contextlib.ExitStack() as stack:
        folder = os.open(service_dir, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, folder)
        connection.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
