"""What a freshly forked process of ours lets go of, and what it becomes."""

from __future__ import annotations

import os
import resource
import signal

from orchestrator.shim import sys_linux

IGNORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
AT_DEFAULT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


def let_go(keep: int, comm: str, title: str) -> int:
    """Leave everything behind that was inherited but descriptor ``keep``.

    Own session, stdio at /dev/null, no other descriptor, SIGCHLD and the rest at their defaults;
    what a terminal or a shell sends to a whole group is ignored: the log outlives its writer.
    Returns the umask that was inherited, which services are to have.
    """
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, keep)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    os.closerange(keep + 1, 1 << 20 if limit == resource.RLIM_INFINITY else limit)
    for name in IGNORED:
        signal.signal(name, signal.SIG_IGN)
    for name in AT_DEFAULT:
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.chdir("/")
    sys_linux.name_process(comm, title)
    return os.umask(0o077)


def wake_on_signals(*names: signal.Signals) -> int:
    """Return a descriptor that turns readable when one of ``names`` arrives; a byte each."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for name in names:
        signal.signal(name, lambda _number, _frame: None)
    return reader


def raise_file_size_limit() -> tuple[int, int]:
    """Lift the limit to the size of files as far as allowed; return what it was.

    An inherited ``ulimit -f`` would end the log with EFBIG; the service gets it back.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    return before
