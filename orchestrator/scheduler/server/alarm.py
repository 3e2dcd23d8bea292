"""Waiting for a moment of the wall clock, which may be set while one waits."""

import ctypes
import os
import sys
from typing import Protocol

import anyio

from orchestrator.scheduler.clock import Clock

_CLOCK_REALTIME = 0
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
LONGEST_STEP_S = 1.0


class Alarm(Protocol):
    """Something that wakes at a moment of the wall clock."""

    async def wait_until(self, wall_ns: int) -> None:
        """Return once the wall clock shows ``wall_ns`` or later, however it got there."""

    def close(self) -> None:
        """Let go of what it holds."""


class KernelAlarm:
    """An absolute timer of the kernel: it follows every setting of the clock by itself.

    Source: timerfd_create(2), CLOCK_REALTIME with TFD_TIMER_ABSTIME.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_REALTIME, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    async def wait_until(self, wall_ns: int) -> None:
        """Return once the wall clock shows ``wall_ns`` or later; at once if it does already."""
        # Zero would disarm it.
        seconds, nanoseconds = divmod(max(wall_ns, 1), 1_000_000_000)
        spec = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        await anyio.wait_readable(self._fd)
        os.read(self._fd, 8)

    def close(self) -> None:
        """Close the timer."""
        os.close(self._fd)


class SteppingAlarm:
    """Looks at the clock at least once a second, where the kernel has no such timer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def wait_until(self, wall_ns: int) -> None:
        """Return at most a second after the wall clock shows ``wall_ns``."""
        while (left_ns := wall_ns - self._clock.wall_ns()) > 0:  # noqa: ASYNC110 - no event tells
            await anyio.sleep(min(left_ns / 1e9, LONGEST_STEP_S))

    def close(self) -> None:
        """Hold nothing."""


def best_alarm(clock: Clock) -> Alarm:
    """Return the kernel's alarm on Linux, else one that looks at ``clock``."""
    return KernelAlarm() if sys.platform == "linux" else SteppingAlarm(clock)
