"""Signals as plain numbers: the signal module's enums cost every shim memory for nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

SIGALRM = int(_signal.SIGALRM)
SIGCHLD = int(_signal.SIGCHLD)
SIGCONT = int(_signal.SIGCONT)
SIGHUP = int(_signal.SIGHUP)
SIGINT = int(_signal.SIGINT)
SIGKILL = int(_signal.SIGKILL)
SIGPIPE = int(_signal.SIGPIPE)
SIGQUIT = int(_signal.SIGQUIT)
SIGSTOP = int(_signal.SIGSTOP)
SIGTERM = int(_signal.SIGTERM)
SIGUSR1 = int(_signal.SIGUSR1)
SIGUSR2 = int(_signal.SIGUSR2)
SIGXFSZ = int(_signal.SIGXFSZ)
SIG_DFL = _signal.SIG_DFL
SIG_IGN = _signal.SIG_IGN

set_action = _signal.signal
set_wakeup_fd = _signal.set_wakeup_fd


def send_by_pidfd(pidfd: int, number: int) -> None:
    """Signal the process that a descriptor stands for. Raises OSError."""
    _signal.pidfd_send_signal(pidfd, number)


# All that can be caught; the C library keeps two for itself.
CATCHABLE = sorted(
    int(one) for one in _signal.valid_signals() if int(one) not in (SIGKILL, SIGSTOP)
)


def unblock_all() -> None:
    """Block no signal."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
