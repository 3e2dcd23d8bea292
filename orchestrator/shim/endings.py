"""Signals to groups, the reaping of the dead, and what can be learnt of how they ended."""

from __future__ import annotations

import os

from orchestrator.shim import files, identity, signals, sys_linux
from orchestrator.shim.run import End, Run

OOM_SCORE = 100


def make_likelier_victim(pid: int) -> None:
    """Let the kernel take the service rather than us when memory is short; never the reverse."""
    try:
        path = f"/proc/{pid}/oom_score_adj"
        files.write(path, b"%d" % min(1000, int(files.read(path)) + OOM_SCORE))
    except (OSError, ValueError):
        return


def signal_group(group: int, number: int) -> bool:
    """Signal a group and wake it, if it is stopped, to act on it; tell whether it was there."""
    try:
        os.killpg(group, number)
        os.killpg(group, signals.SIGCONT)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap(pid: int) -> None:
    """Reap one dead child."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return


def reap_strangers() -> None:
    """Reap children that belong to no run of ours."""
    try:
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass
    except ChildProcessError:
        return


def end_of_stranger(run: Run) -> End:
    """Return how a process ended that is not our child, if anybody can still tell."""
    for _ in range(2):
        stat = identity.read_stat(run.pid)
        if stat is not None and stat.starttime == run.starttime and stat.state in "ZX":
            return End.of_status(stat.wait_status)
        status = None if run.pidfd is None else sys_linux.exit_status(run.pidfd)
        if status is not None:
            return End.of_status(status)
    return End.unknown()
