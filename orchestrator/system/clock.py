"""The machine's clocks."""

import time

import anyio


class SystemClock:
    """The real Clock. Monotonic time comes from CLOCK_BOOTTIME, where there is one.

    It goes on through a suspend, so uptimes and deadlines are those of people, and it is shared by
    all processes of one boot, so a status kept by one supervisor is understood by the next.
    """

    _clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def monotonic(self) -> float:
        """Return seconds since boot."""
        return time.clock_gettime(self._clock_id)

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        await anyio.sleep(max(0.0, seconds))
