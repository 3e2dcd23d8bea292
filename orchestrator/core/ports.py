"""What the core's users take as parameters, so that tests can pass their own."""

from typing import Protocol


class Clock(Protocol):
    """Time as a parameter."""

    def monotonic(self) -> float:
        """Return seconds that never jump; deadlines and uptimes are measured on it."""

    def wall(self) -> float:
        """Return seconds since the epoch, for display only: it may jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; 0 or less yields once."""
