"""The machine's clocks."""

import time

import anyio


class SystemClock:
    """The real Clock. Its monotonic time is one for all processes of a boot.

    So a status that one supervisor kept is understood by the next.
    """

    def monotonic(self) -> float:
        """Return seconds since some moment of this boot."""
        return time.monotonic()

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        await anyio.sleep(max(0.0, seconds))
