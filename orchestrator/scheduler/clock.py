"""Time as a parameter, so that tests can wind it."""

import time
from typing import Protocol


class Clock(Protocol):
    """The two clocks that the scheduler decides by."""

    def monotonic(self) -> float:
        """Return seconds that never jump; lifetimes of tokens are measured on it."""

    def wall_ns(self) -> int:
        """Return nanoseconds since the epoch; due times are compared with it."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Return seconds since some moment of this boot."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return time.time_ns()
