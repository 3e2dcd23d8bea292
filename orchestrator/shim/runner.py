"""Runs one command for a probe: bounded in time and output; nothing of it outlives the answer."""

from __future__ import annotations

import os
import select
import time

from orchestrator.shim import launch, process, signals, sys_linux, tiers, wire
from orchestrator.shim.launch import Refused
from orchestrator.shim.run import End
from orchestrator.shim.tree import OwnTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    Json = dict[str, Any]

READ_BYTES = 1 << 16
REQUEST_LIMIT_BYTES = 8 << 20
KILL_FOR_S = 3.0


def run(request: Json, connection: socket) -> int:
    """Read the command from ``connection``, run it, answer there; return the exit code.

    The request's own message may be short: a whole environment comes as one line of JSON on the
    connection. Closing the connection kills the command.
    """
    umask = process.let_go(connection.fileno(), "orch:probe", "orchestrator-probe")
    order = request if "argv" in request else _read_order(connection)
    if order is None:
        return 0
    sys_linux.become_subreaper()
    order.setdefault("umask", umask)
    answer = Command(order, connection).outcome()
    connection.settimeout(None)
    try:
        connection.sendall(wire.encoded(answer))
    except OSError:
        return 0
    return 0


def _read_order(connection: socket) -> Json | None:
    read = b""
    while not read.endswith(b"\n"):
        piece = connection.recv(READ_BYTES)
        if not piece or len(read) > REQUEST_LIMIT_BYTES:
            return None
        read += piece
    return wire.decoded_object(read)


class Command:
    """One command from its start to the death of all it started."""

    def __init__(self, order: Json, connection: socket) -> None:
        self._order = order
        self._connection = connection
        self._limit_bytes = int(order.get("output_limit_bytes", 4096))
        self._output = b""
        self._end: End | None = None
        self._timed_out = False
        self._tree = OwnTree(by_pidfd=tiers.available()["pidfd"])

    def outcome(self) -> Json:
        """Run the command and return what became of it."""
        begun = time.monotonic()
        reader, writer = os.pipe()
        refused = None
        try:
            wanted = launch.launch_of(self._order)
            output = f"/proc/self/fd/{writer}"
            wanted.files += [(1, output, os.O_WRONLY), (2, output, os.O_WRONLY)]
            pid = launch.start(wanted, by_spawn=True)
        except Refused as error:
            refused = {"errno": error.errno, "text": error.text}
        else:
            os.close(writer)
            self._follow(pid, reader, begun + float(self._order["timeout_s"]))
        end = self._end or End.unknown()
        return {
            "code": end.code,
            "signal": end.signal,
            "timed_out": self._timed_out,
            "refused": refused,
            "output": self._output.decode("utf-8", "replace"),
            "duration_s": time.monotonic() - begun,
        }

    def _follow(self, pid: int, reader: int, deadline: float) -> None:
        """Read output until the leader is dead, the time is up or nobody wants the answer."""
        os.set_blocking(reader, False)
        wakeups = process.wake_on_signals(signals.SIGCHLD)
        poll = select.poll()
        for fd in (reader, wakeups, self._connection.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            self._reap(pid)
            if self._end is not None:
                break
            left_s = deadline - time.monotonic()
            self._timed_out = left_s <= 0
            if self._timed_out:
                break
            ready = {fd for fd, _ in poll.poll(left_s * 1000)}
            if self._connection.fileno() in ready:
                break
            if reader in ready and not self._read(reader):
                poll.unregister(reader)
            _empty(wakeups)
        self._kill_all(pid, reader, wakeups)

    def _read(self, reader: int) -> bool:
        """Keep the tail of what is there; False at the end of file."""
        try:
            read = os.read(reader, READ_BYTES)
        except BlockingIOError:
            return True
        self._output = (self._output + read)[-self._limit_bytes :] if self._limit_bytes else b""
        return bool(read)

    def _reap(self, pid: int) -> bool:
        """Reap what is dead; tell whether nothing is left."""
        try:
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
                if dead.si_pid == pid:
                    self._end = End.of_waitid(dead)
        except ChildProcessError:
            return True
        return False

    def _kill_all(self, pid: int, reader: int, wakeups: int) -> None:
        deadline = time.monotonic() + KILL_FOR_S
        poll = select.poll()
        poll.register(wakeups, select.POLLIN)
        while not self._reap(pid) and time.monotonic() < deadline:
            more = self._tree.kill()
            poll.poll(0 if more else 20)
            _empty(wakeups)
        waiting = sys_linux.bytes_waiting(reader)
        for _ in range(waiting // READ_BYTES + 1):
            self._read(reader)


def _empty(wakeups: int) -> None:
    try:
        os.read(wakeups, 4096)
    except BlockingIOError:
        return
