"""One run of a service: who its leader is, and what became of it."""

from __future__ import annotations

import os
import time

from orchestrator.shim import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.shim.tree import FoundTree, OwnTree


class End:
    """How a leader ended. Both None: nobody knows."""

    __slots__ = ("code", "core", "signal")

    def __init__(self, code: int | None, signal: int | None, *, core: bool = False) -> None:
        self.code = code
        self.signal = signal
        self.core = core

    @classmethod
    def of_status(cls, status: int) -> End:
        """Read a wait status. Source: wait(2)."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status), core=os.WCOREDUMP(status))
        return cls(os.WEXITSTATUS(status), None)

    @classmethod
    def of_waitid(cls, result: os.waitid_result) -> End:
        """Read what waitid told."""
        if result.si_code == os.CLD_EXITED:
            return cls(result.si_status, None)
        return cls(None, result.si_status, core=result.si_code == os.CLD_DUMPED)

    @classmethod
    def unknown(cls) -> End:
        """Nobody can tell; a code is never invented."""
        return cls(None, None)

    def fields(self) -> dict[str, Any]:
        """Return it as fields of an event."""
        return {"code": self.code, "signal": self.signal, "core": self.core}


class Run:
    """What is known of a run from its spawn to the end of its tree."""

    def __init__(self, record: dict[str, Any], tree: OwnTree | FoundTree, *, adopted: bool) -> None:
        self.run = int(record["run"])
        self.pid = int(record["pid"])
        self.starttime = int(record["starttime"])
        self.started_wall = float(record["started_wall"])
        self.started_mono = float(record["started_mono"])
        self.log_offset = int(record["log_offset"])
        self.adopted = adopted
        self.tree = tree
        self.pidfd: int | None = None
        self.end: End | None = None
        self.stopping = False
        self.killing = False
        self.by_us: str | None = None
        self.leftovers: list[tuple[str, int]] = []
        self.told_leader = False
        self.tracer = 0
        self.killing_since = 0.0
        self.told_stuck = 0.0

    def summary(self) -> dict[str, Any]:
        """Return what a hello says of a run that is alive."""
        return {
            "run": self.run,
            "pid": self.pid,
            "starttime": self.starttime,
            "state": "running" if self.end is None else "exiting",
            "started_wall": self.started_wall,
            "started_mono": self.started_mono,
            "log_offset": self.log_offset,
            "stopping": self.stopping,
            "adopted": self.adopted,
        }

    def spawned(self) -> dict[str, Any]:
        """Return the event that tells of the run's begin."""
        return {
            "event": "spawned",
            "run": self.run,
            "pid": self.pid,
            "starttime": self.starttime,
            "log_offset": self.log_offset,
            "wall": self.started_wall,
            "mono": self.started_mono,
        }

    def exited(self, log_offset: int) -> dict[str, Any]:
        """Return the event that tells, now, of the run's end; its output ends at ``log_offset``."""
        end = self.end or End.unknown()
        return {
            "event": "exit",
            "run": self.run,
            "pid": self.pid,
            **end.fields(),
            "wall": time.time(),
            "mono": time.monotonic(),
            "log_offset": log_offset,
            "leftovers": self.leftovers,
            "by_us": self.by_us,
        }

    def ended(self) -> dict[str, Any]:
        """Return what is kept of a leader's end from the moment before it is reaped."""
        known = {"boot_id": identity.boot_id(), "run": self.run, "pid": self.pid}
        end = self.end or End.unknown()
        return known | {"starttime": self.starttime, "by_us": self.by_us} | end.fields()
