"""Who a process is: (boot id, pid namespace, pid, start time), never the pid alone.

The rules are the shim's own; they stand here for the floors above.
"""

from dataclasses import dataclass

from orchestrator.shim.identity import (
    Stat,
    boot_id,
    has_ended,
    is_alive,
    open_pidfd,
    pid_namespace,
    read_stat,
    send_signal,
)
from orchestrator.shim.sys_linux import become_subreaper, exit_status

__all__ = [
    "Identity",
    "Stat",
    "become_subreaper",
    "boot_id",
    "exit_status",
    "has_ended",
    "is_alive",
    "open_pidfd",
    "pid_namespace",
    "read_stat",
    "send_signal",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told apart from every other that had or will have its number.

    ``starttime`` is in clock ticks since boot, field 22 of /proc/PID/stat, and comparable only
    within one time namespace.
    """

    boot_id: str
    pidns: str
    pid: int
    starttime: int

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return who has this number now; None when nobody has."""
        stat = read_stat(pid)
        if stat is None:
            return None
        return cls(boot_id(), pid_namespace(), pid, stat.starttime)

    def is_alive(self) -> bool:
        """Tell whether this very process still works; a zombie does not."""
        here = self.boot_id == boot_id() and self.pidns == pid_namespace()
        return here and is_alive(self.pid, self.starttime)
