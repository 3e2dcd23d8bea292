"""The ports of core as tests need them: a clock that is wound."""

import heapq
from itertools import count

import anyio
from anyio.lowlevel import checkpoint


class FakeClock:
    """A Clock that stands still until it is wound; sleepers wake in the order of their times."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_700_000_000.0) -> None:
        self._now_s = monotonic_s
        self._wall_ahead_s = wall_s - monotonic_s
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._number = count()

    def monotonic(self) -> float:
        """Return the time that it was wound to."""
        return self._now_s

    def wall(self) -> float:
        """Return the wall time that goes with it."""
        return self._now_s + self._wall_ahead_s

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was wound by ``seconds``; 0 or less yields once."""
        if seconds <= 0:
            await checkpoint()
            return
        rung = anyio.Event()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._number), rung))
        await rung.wait()

    async def advance(self, seconds: float) -> None:
        """Wind the clock; every sleeper that is due has run until it waits again on return."""
        await anyio.wait_all_tasks_blocked()
        until_s = self._now_s + seconds
        while self._sleepers and self._sleepers[0][0] <= until_s:
            self._now_s, _, rung = heapq.heappop(self._sleepers)
            rung.set()
            await anyio.wait_all_tasks_blocked()
        self._now_s = until_s

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back; the monotonic one does not notice."""
        self._wall_ahead_s += seconds
