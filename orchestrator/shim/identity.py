"""Who a process is: boot, pid namespace, pid and start time together, never the pid alone."""

from __future__ import annotations

import os
import select

from orchestrator.shim import files, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Stat:
    """What /proc/PID/stat says; ``starttime`` in clock ticks since boot."""

    __slots__ = ("comm", "group", "parent", "pid", "session", "starttime", "state", "wait_status")

    def __init__(self, text: bytes) -> None:
        head, _, tail = text.rpartition(b") ")
        number, _, comm = head.partition(b" (")
        fields = tail.split()
        self.pid = int(number)
        self.comm = comm.decode(errors="replace")
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.starttime = int(fields[19])
        # field 52; for others than the owner the kernel says 0
        self.wait_status = int(fields[49]) if len(fields) > 49 else 0


def read_stat(pid: int) -> Stat | None:
    """Return what the kernel says of a process; None when it is gone, or never was."""
    try:
        return Stat(files.read(f"/proc/{pid}/stat"))
    except (OSError, ValueError, IndexError):
        return None


def boot_id() -> str:
    """Return the name of this boot; empty where the kernel does not tell."""
    return _BOOT_ID


def pid_namespace() -> str:
    """Return the name of the pid namespace; empty where the kernel does not tell."""
    return _PID_NAMESPACE


def _read_boot_id() -> str:
    try:
        return files.read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    except OSError:
        return ""


def _read_pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


# Both stay as they are for a process's whole life.
_BOOT_ID = _read_boot_id()
_PID_NAMESPACE = _read_pid_namespace()


def open_pidfd(pid: int, starttime: int) -> int | None:
    """Return a descriptor of exactly this process, or None when it is gone or was replaced.

    The identity is checked after opening: from then on no other process can be meant.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None
    stat = read_stat(pid)
    if stat is None or stat.starttime != starttime:
        os.close(pidfd)
        return None
    return pidfd


def has_ended(pidfd: int) -> bool:
    """Tell whether the process is dead, though perhaps not reaped.

    State Z does not say so: a program whose first thread ended shows Z and works on.
    """
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def is_alive(pid: int, starttime: int) -> bool:
    """Tell whether this very process still works; a zombie does not."""
    stat = read_stat(pid)
    if stat is None or stat.starttime != starttime:
        return False
    if stat.state not in "ZX":
        return True
    pidfd = open_pidfd(pid, starttime)
    if pidfd is None:
        return _has_threads(pid)
    try:
        return not has_ended(pidfd)
    finally:
        os.close(pidfd)


def _has_threads(pid: int) -> bool:
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def send_signal(pid: int, starttime: int, number: int, *, by_pidfd: bool = True) -> bool:
    """Signal exactly this process; tell whether it was there.

    Without pidfds the start time is compared just before: a window of microseconds stays.
    """
    if not by_pidfd:
        stat = read_stat(pid)
        if stat is None or stat.starttime != starttime:
            return False
        return _sent(os.kill, pid, number)
    pidfd = open_pidfd(pid, starttime)
    if pidfd is None:
        return False
    try:
        return _sent(signals.send_by_pidfd, pidfd, number)
    finally:
        os.close(pidfd)


def _sent(call: Callable[[int, int], None], target: int, number: int) -> bool:
    try:
        call(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def tracer(pid: int) -> int:
    """Return the pid of the debugger that holds a process, 0 for none."""
    try:
        status = files.read(f"/proc/{pid}/status")
        return int(status.partition(b"TracerPid:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return 0
