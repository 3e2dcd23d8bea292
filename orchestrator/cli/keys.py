"""Single keys of the terminal, and the terminal put back as it was."""

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator


class Keys:
    """Reads single keys of a terminal on stdin, if there is one and we are in its foreground."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd
        self._before = None if fd is None else termios.tcgetattr(fd)

    @property
    def on(self) -> bool:
        """Whether keys can arrive."""
        return self._fd is not None

    def pressed(self) -> str:
        """Return the keys pressed since the last call; never waits."""
        if self._fd is None or not select.select([self._fd], [], [], 0)[0]:
            return ""
        try:
            found = os.read(self._fd, 64)
        except OSError:
            found = b""
        if not found:  # the terminal is gone
            self._fd = None
        return found.decode("utf-8", "replace")

    def take(self) -> None:
        """Have keys arrive one by one, unseen."""
        if self._fd is not None:
            tty.setcbreak(self._fd)

    def give_back(self) -> None:
        """Put the terminal back as it was."""
        if self._fd is None or self._before is None:
            return
        # A process in the background would be stopped for touching its terminal.
        handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        signal.signal(signal.SIGTTOU, handler)


@contextlib.contextmanager
def keys() -> Iterator[Keys]:
    """Have keys arrive one by one inside the block; none where stdin is no terminal of ours."""
    found = Keys(_own_terminal())
    try:
        found.take()
        yield found
    finally:
        found.give_back()


def _own_terminal() -> int | None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    fd = sys.stdin.fileno()
    try:
        return fd if os.tcgetpgrp(fd) == os.getpgrp() else None
    except OSError:
        return None
