"""Which processes stand below another, and the reaping of those that fell to us."""

import contextlib
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from orchestrator.shim.identity import boot_id, read_stat
from orchestrator.shim.tree import children, descendants

__all__ = ["Orphan", "children", "children_of_our_session", "descendants", "reap_orphans"]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process that a dead shim left to us, and how it ended; ``status`` as wait(2) gives it."""

    pid: int
    starttime: int
    status: int

    def as_ended(self) -> dict[str, object]:
        """Return it as a new shim is told of it, in ``ShimRequest.ended``."""
        return {
            "boot_id": boot_id(),
            "pid": self.pid,
            "starttime": self.starttime,
            "status": self.status,
        }


def reap_orphans(ours: AbstractSet[int]) -> list[Orphan]:
    """Reap dead children that are not in ``ours`` and return them; never waits.

    For a subreaper beside a library that waits for its own children: each is reaped by its number,
    as a wait for any child would steal theirs.
    """
    found = []
    for pid in children(os.getpid()):
        stat = read_stat(pid)
        if pid in ours or stat is None or stat.state != "Z":
            continue
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if reaped:
            found.append(Orphan(pid, stat.starttime, status))
    return found


def children_of_our_session() -> set[int]:
    """Return the children that we started ourselves for a moment, and that somebody waits for."""
    own_session, found = os.getsid(0), set()
    for pid in children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == own_session:
                found.add(pid)
    return found
