"""Everything that a service started, however it tried to get away."""

from __future__ import annotations

import os
import time

from orchestrator.shim import files, identity, signals
from orchestrator.shim.identity import Stat

SLICE_S = 0.02


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process; empty when it is gone.

    Source: proc(5), /proc/PID/task/TID/children; it may leave out some while others exit.
    """
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            found += map(int, files.read(f"/proc/{pid}/task/{thread}/children").split())
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below ``pid``, parents first."""
    found: list[int] = []
    seen = {pid}
    queue = [pid]
    while queue:
        for child in children(queue.pop()):
            if child not in seen:
                seen.add(child)
                found.append(child)
                queue.append(child)
    return found


def all_stats() -> dict[int, Stat]:
    """Return every process that can be seen."""
    stats = (identity.read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {stat.pid: stat for stat in stats if stat is not None}


def ancestors(pid: int) -> set[int]:
    """Return ``pid`` and everything above it."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = identity.read_stat(pid)
        pid = stat.parent if stat else 0
    return found


class OwnTree:
    """Everything below this process, which is a subreaper: nothing that a child makes gets out."""

    def __init__(self, *, by_pidfd: bool = True) -> None:
        self._by_pidfd = by_pidfd

    def members(self) -> list[Stat]:
        """Return what lives below this process; zombies that wait for us are left out."""
        stats = map(identity.read_stat, descendants(os.getpid()))
        return [stat for stat in stats if stat and not _is_zombie(stat)]

    def is_empty(self) -> bool:
        """Tell whether nothing is left, not even a zombie. The kernel's word, not a listing."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def kill(self) -> bool:
        """KILL what lives, again and again until a listing shows no new one, for a slice of time.

        One listing never suffices: what forks and exits faster than we list is met in the next.
        Returns whether new ones still came at the end.
        """
        deadline = time.monotonic() + SLICE_S
        struck: set[int] = set()
        while self._kill_listed(struck):
            if time.monotonic() > deadline:
                return True
        return False

    def _kill_listed(self, struck: set[int]) -> bool:
        inside = {os.getpid()}
        before = len(struck)
        for pid in descendants(os.getpid()):
            if pid not in struck and self._strike(pid, inside):
                struck.add(pid)
            inside.add(pid)
        return len(struck) > before

    def _strike(self, pid: int, inside: set[int]) -> bool:
        if not self._by_pidfd:
            stat = identity.read_stat(pid)
            if stat is None or stat.parent not in inside or stat.state in "ZX":
                return False
            return identity.send_signal(pid, stat.starttime, signals.SIGKILL, by_pidfd=False)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            # Looked at after opening: a number that was given to a stranger has another parent.
            stat = identity.read_stat(pid)
            if stat is None or stat.parent not in inside or identity.has_ended(pidfd):
                return False
            signals.send_by_pidfd(pidfd, signals.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True


class FoundTree:
    """Processes of a service that are not below us: found by what they carry.

    By session, by parent, by the output they hold, by the cookie in their environment, and by
    having been seen before. One that has left its session, closed all it inherited, emptied its
    environment and lost its parent before we looked is not found.
    """

    def __init__(
        self, leader: tuple[int, int] | None, fifo: tuple[int, int], cookie: str, *, by_pidfd: bool
    ) -> None:
        self._leader = leader
        self._fifo = fifo
        self._cookie = f"ORCH_COOKIE={cookie}".encode() if cookie else b""
        self._known: dict[int, int] = dict([leader]) if leader else {}
        self._by_pidfd = by_pidfd

    def members(self) -> list[Stat]:
        """Return what lives of it; costs a pass over /proc."""
        stats = all_stats()
        outside = ancestors(os.getpid())
        found = {pid for pid, stat in stats.items() if pid not in outside and self._belongs(stat)}
        _add_below(found, stats, outside)
        alive = [stats[pid] for pid in found if not _is_zombie(stats[pid])]
        self._known.update((stat.pid, stat.starttime) for stat in alive)
        return alive

    def is_empty(self) -> bool:
        """Tell whether nothing is found, twice: what forks while one looks is missed once."""
        return not self.members() and not self.members()

    def kill(self) -> bool:
        """KILL everything that is found, once. Returns False: the next pass can wait."""
        for stat in self.members():
            identity.send_signal(stat.pid, stat.starttime, signals.SIGKILL, by_pidfd=self._by_pidfd)
        return False

    def _belongs(self, stat: Stat) -> bool:
        if self._known.get(stat.pid) == stat.starttime:
            return True
        if self._leader and stat.session == self._leader[0] and stat.starttime >= self._leader[1]:
            return True
        return holds_output(stat.pid, self._fifo) or carries(stat.pid, self._cookie)


def _add_below(found: set[int], stats: dict[int, Stat], outside: set[int]) -> None:
    grew = bool(found)
    while grew:
        below = {
            pid
            for pid, stat in stats.items()
            if stat.parent in found and pid not in found and pid not in outside
        }
        found |= below
        grew = bool(below)


def _is_zombie(stat: Stat) -> bool:
    return stat.state in "ZX" and not identity.is_alive(stat.pid, stat.starttime)


def holds_output(pid: int, fifo: tuple[int, int]) -> bool:
    """Tell whether a process holds a FIFO as a service does.

    That is: for writing, or for reading and without O_NONBLOCK, which those who only keep the
    FIFO alive set.
    """
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return False
    return any(_is_service_end(pid, number, fifo) for number in numbers)


def _is_service_end(pid: int, number: str, fifo: tuple[int, int]) -> bool:
    try:
        link = os.stat(f"/proc/{pid}/fd/{number}")
        if (link.st_dev, link.st_ino) != fifo:
            return False
        told = files.read(f"/proc/{pid}/fdinfo/{number}")
        flags = int(told.partition(b"flags:")[2].split()[0], 8)
    except (OSError, ValueError, IndexError):
        return False
    return bool(flags & os.O_ACCMODE) or not flags & os.O_NONBLOCK


def carries(pid: int, cookie: bytes) -> bool:
    """Tell whether ``cookie`` is one of the variables a process was started with."""
    # An empty cookie would match everything.
    if not cookie:
        return False
    try:
        return cookie in files.read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return False
