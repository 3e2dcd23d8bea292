"""Which of the fast mechanisms are in use; each has a portable stand-in."""

from __future__ import annotations

import errno
import os

from orchestrator.shim import sys_linux

# pidfd: SIGCHLD and waitid instead · splice: read and write · tee: read and write at a rotation
# subreaper: search by session, FIFO and cookie · posix_spawn: fork and exec · procfd: paths
NAMES = ("pidfd", "splice", "tee", "subreaper", "posix_spawn", "procfd")


def available() -> dict[str, bool]:
    """Say for each mechanism whether this machine has it (``subreaper`` is tried when used)."""
    return {
        "pidfd": _has_pidfd(),
        "splice": hasattr(os, "splice"),
        "tee": sys_linux.HAS_TEE,
        "subreaper": hasattr(sys_linux.libc, "prctl"),
        "posix_spawn": hasattr(os, "posix_spawn"),
        "procfd": os.access("/proc/self/fd", os.X_OK),
    }


def chosen(wanted: dict[str, bool]) -> dict[str, bool]:
    """Return what is available and not switched off by ``wanted``."""
    return {name: there and wanted.get(name, True) for name, there in available().items()}


def _has_pidfd() -> bool:
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        # a seccomp profile may refuse it with either
        return error.errno not in (errno.ENOSYS, errno.EPERM)
    return True
