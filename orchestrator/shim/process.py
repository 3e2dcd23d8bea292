"""What a freshly forked process of ours lets go of, and what it becomes."""

from __future__ import annotations

import os
import resource

from orchestrator.shim import signals, sys_linux

IGNORED = (signals.SIGPIPE, signals.SIGXFSZ, signals.SIGHUP, signals.SIGINT, signals.SIGQUIT)
AT_DEFAULT = (signals.SIGCHLD, signals.SIGTERM, signals.SIGUSR1, signals.SIGUSR2, signals.SIGALRM)


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
        signals.set_action(name, signals.SIG_IGN)
    for name in AT_DEFAULT:
        signals.set_action(name, signals.SIG_DFL)
    signals.unblock_all()
    os.chdir("/")
    sys_linux.name_process(comm, title)
    return os.umask(0o077)


def close_on_exec(fd: int) -> None:
    """Keep a descriptor from whatever is started here; those received come without it."""
    os.set_inheritable(fd, False)  # noqa: FBT003


def wake_on_signals(*numbers: int) -> int:
    """Return a descriptor that turns readable when one of ``numbers`` arrives; a byte each."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signals.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for name in numbers:
        signals.set_action(name, lambda _number, _frame: None)
    return reader


def raise_file_size_limit() -> tuple[int, int]:
    """Lift the limit to the size of files as far as allowed; return what it was.

    An inherited ``ulimit -f`` would end the log with EFBIG; the service gets it back.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    return before
