"""The shim: one process a service, which holds what a crash of anything else must not lose."""

from __future__ import annotations

import os
import select
import time

from orchestrator.shim import adopt, failpoints, identity, process, signals, sys_linux, tiers
from orchestrator.shim.clients import Client, Clients
from orchestrator.shim.home import SOCKET_NAME, Home, Lock, Locked
from orchestrator.shim.index import Index
from orchestrator.shim.life import Inherited, Life
from orchestrator.shim.pump import MORE, Pump
from orchestrator.shim.segments import Segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

PROTOCOL = 1
# EX_TEMPFAIL of sysexits.h
LOCKED_EXIT = 75
LOOK_AROUND_S = 60.0


def run(request: Json, connection: socket) -> int:
    """Be the shim of one service until told to quit; return the exit code.

    The caller forked for this and nothing else: all that was inherited is let go of.
    """
    stack, service = str(request["stack"]), str(request["service"])
    title = f"orchestrator-shim {stack} {service}"
    umask = process.let_go(connection.fileno(), f"orch:{service}", title)
    failpoints.arm(request.get("failpoints") or {})
    try:
        lock = Lock(request["lock_path"])
    except Locked as locked:
        Client(connection).send({"event": "locked", "holder": locked.holder})
        return LOCKED_EXIT
    shim = Shim(request, lock, Inherited(umask, process.raise_file_size_limit()))
    shim.open(connection, request.get("ended") or [])
    shim.serve()
    return 0


class Shim:
    """One loop over everything that can happen; nothing in it waits for anybody."""

    def __init__(self, request: Json, lock: Lock, inherited: Inherited) -> None:
        self._names = str(request["stack"]), str(request["service"])
        self._lock = lock
        self._tiers = tiers.chosen(request.get("tiers") or {})
        self._poller = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._clients = Clients(self._poller, self._handlers, self._hello, self._obey)
        self._home = Home(request["service_dir"], by_procfd=self._tiers["procfd"])
        self._index = Index(request["index_path"])
        segments = Segments(
            request["log_path"], request["max_size_bytes"], request["keep"], self._index
        )
        self._pump = Pump(self._home.fifo, segments, self._tiers, self._tell_log)
        self._life = Life(
            self._names,
            self._home,
            lock,
            self._pump,
            self._index,
            self._tiers,
            self._clients.broadcast,
            self._watch_leader,
            inherited,
        )
        self._output_waits = True
        self._output_watched = False
        self._around_at = time.monotonic() + LOOK_AROUND_S
        self._ends_when_empty = False
        self._done = False

    def open(self, connection: socket, ended: list[Json]) -> None:
        """Become subreaper, look back, greet the first client and listen for more."""
        if self._tiers["subreaper"]:
            try:
                sys_linux.become_subreaper()
            except OSError:
                self._tiers["subreaper"] = False
        wakeups = process.wake_on_signals(signals.SIGCHLD, signals.SIGTERM)
        self._register(wakeups, lambda _mask: self._on_signal(wakeups))
        self._handlers[self._home.fifo] = self._on_output
        self._watch_output(wanted=True)
        untold = adopt.look_back(self._life, self._home, self._pump, [self._lock.note, *ended])
        self._lock.write(self._lock.note or None)
        self._listen()
        self._clients.add(connection)
        if self._pump.problem is not None:
            self._tell_log(self._pump.problem)
        if untold is not None:
            self._life.report_end(untold)

    def serve(self) -> None:
        """Go round until told to quit."""
        while not self._done:
            for fd, mask in self._poller.poll(self._timeout_s()):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(mask)
            self._on_time(time.monotonic())
            if self._output_waits:
                self._output_waits = self._pump.drain() == MORE
                self._watch_output(wanted=not self._output_waits)

    def _watch_output(self, *, wanted: bool) -> None:
        """Be told of output, or not: a flood comes without, and telling costs its writer time.

        Edge-triggered: without a writer POLLHUP stays up.
        """
        if wanted == self._output_watched:
            return
        self._output_watched = wanted
        if wanted:
            self._poller.register(self._home.fifo, select.EPOLLIN | select.EPOLLET)
        else:
            self._poller.unregister(self._home.fifo)

    # what happens

    def _on_output(self, _mask: int) -> None:
        # An end is looked at before output is: whoever waits for it waits least.
        self._output_waits = True

    def _on_signal(self, wakeups: int) -> None:
        try:
            arrived = os.read(wakeups, 4096)
        except BlockingIOError:
            return
        if signals.SIGTERM in arrived:
            # The machine goes down: the log is the last to leave.
            self._ends_when_empty = True
        self._life.look()

    def _watch_leader(self, pidfd: int) -> None:
        # Edge-triggered: a dead leader that a debugger holds stays readable.
        self._poller.register(pidfd, select.EPOLLIN | select.EPOLLET)
        self._handlers[pidfd] = lambda _mask: self._life.look()

    def _on_time(self, now: float) -> None:
        if self._life.look_at is not None and now >= self._life.look_at:
            self._life.look()
        if self._pump.retry_at is not None and now >= self._pump.retry_at:
            self._output_waits = True
        if now >= self._around_at:
            self._around_at = now + LOOK_AROUND_S
            if self._home.was_swept():
                self._make_home_again()
        if self._ends_when_empty and self._life.run is None:
            self._quit()

    def _timeout_s(self) -> float:
        if self._output_waits:
            return 0.0
        times = [self._around_at, self._life.look_at, self._pump.retry_at]
        return max(0.0, min(moment for moment in times if moment is not None) - time.monotonic())

    # orders

    def _obey(self, order: Json) -> None:
        operation = order["op"]
        if operation == "start":
            self._before_start()
            self._life.start(order)
        elif operation == "signal":
            self._life.signal(order)
        elif operation == "kill":
            self._life.kill(order)
        elif operation == "tree":
            self._life.tell_tree()
        elif operation == "quit":
            if not self._life.is_busy():
                self._quit()
        else:
            raise ValueError(f"no such op: {operation!r}")

    def _before_start(self) -> None:
        if self._life.run is None and self._home.was_swept():
            self._make_home_again()

    def _quit(self) -> None:
        """Finish the log and let go of everything, the lock before the connections."""
        self._pump.drain(1.0, gather=False)
        self._pump.finish()
        self._clients.stop_listening()
        self._home.remove(SOCKET_NAME)
        self._lock.release()
        self._done = True

    # what is told

    def _hello(self) -> Json:
        stat = identity.read_stat(os.getpid())
        return {
            "event": "hello",
            "protocol": PROTOCOL,
            "stack": self._names[0],
            "service": self._names[1],
            "pid": os.getpid(),
            "starttime": stat.starttime if stat else 0,
            "last_run": self._life.last_run,
            "tiers": self._tiers,
            "run": self._life.run.summary() if self._life.run else None,
        }

    def _tell_log(self, problem: str | None) -> None:
        self._clients.broadcast({"event": "log", "problem": problem, "lossless": True})

    # plumbing

    def _register(self, fd: int, handler: Callable[[int], None]) -> None:
        self._poller.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler

    def _listen(self) -> None:
        try:
            self._clients.listen(self._home.listen())
        except OSError:
            # Without it only the first client is served; tried again when looking around.
            return

    def _make_home_again(self) -> None:
        try:
            self._home.restore()
        except OSError:
            return
        self._listen()
        if self._life.run is not None:
            self._life.keep(self._life.record)
