"""Ctrl-C, SIGTERM and hang-up, counted: once to stop, again to kill, a third time to leave."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_INTERRUPTED, _TERMINATED = 130, 143
_ENOUGH = 3


class Interruptions:
    """Counts the signals that ask for an end; the handlers stay installed all the time."""

    def __init__(self) -> None:
        self.count = 0
        self.code = _INTERRUPTED
        self.before_leaving: Callable[[], None] = _nothing
        """Called before a third signal ends this process at once."""

    @contextlib.contextmanager
    def caught(self) -> Iterator["Interruptions"]:
        """Catch them inside the block. What was ignored from the start (nohup) stays ignored."""
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self._note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's
        self.count += 1
        self.code = _INTERRUPTED if number == signal.SIGINT else _TERMINATED
        if self.count >= _ENOUGH:  # the supervisor and the shims finish the kill without us
            self.before_leaving()
            os._exit(self.code)


def _nothing() -> None:
    return
