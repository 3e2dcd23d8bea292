"""The program on a terminal of its own, and what a person sees there."""

import contextlib
import os
import pty
import signal
import struct
import termios
from collections.abc import Iterator
from fcntl import ioctl

import pyte

from tests.stack import Stack, is_alive, wait_until

ROWS, COLUMNS = 24, 100


class Terminal:
    """A terminal with the program in its foreground."""

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self.master = master
        self.seen = b""
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._code: int | None = None

    @property
    def lines(self) -> list[str]:
        """Return what the screen shows now."""
        self._read()
        return [line.rstrip() for line in self._screen.display]

    def wait_for(self, text: str, within_s: float = 10.0) -> None:
        """Return once the text stands on the screen."""
        try:
            wait_until(lambda: any(text in line for line in self.lines), within_s)
        except AssertionError:
            shown = "\n".join(self.lines)
            raise AssertionError(f"{text!r} is not on the screen:\n{shown}") from None

    def wait_until_gone(self, text: str, within_s: float = 10.0) -> None:
        """Return once the text does not stand on the screen any more."""
        wait_until(lambda: not any(text in line for line in self.lines), within_s)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self, within_s: float = 15.0) -> int:
        """Return the exit code; what is printed meanwhile is read, or the writer would wait."""

        def look() -> bool:
            self._read()
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._code = os.waitstatus_to_exitcode(status)
            return self._code is not None

        wait_until(look, within_s, "the end of the program")
        self._read()
        assert self._code is not None
        return self._code

    def modes(self) -> object:
        """Return the terminal's modes."""
        return termios.tcgetattr(self.master)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 65536):
                self.seen += data
                self._stream.feed(data)

    @property
    def has_ended(self) -> bool:
        return self._code is not None


@contextlib.contextmanager
def terminal(one: Stack, *words: object) -> Iterator[Terminal]:
    """Run the program on a terminal of its own; it is killed with the block."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(one.folder)
        command = one.command(*words)
        os.execvpe(command[0], command, one.environ | {"TERM": "xterm-256color"})
    ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    os.set_blocking(master, False)
    shown = Terminal(pid, master)
    try:
        yield shown
    finally:
        with contextlib.suppress(OSError):
            os.close(master)
        if not shown.has_ended:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
