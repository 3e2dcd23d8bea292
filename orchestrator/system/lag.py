"""Whether it was this process that was late, and not what it waited for."""

import asyncio
import contextlib
import time
from types import TracebackType

_SUSPENDED_S = 5.0


class LagMeter:
    """Measures, in a `with` block, how long the loop was held up and whether the machine slept.

    A look every ``step_s`` finds any hold-up that is longer than that.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._due_s = 0.0
        self._asleep_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.lag_s = 0.0

    def __enter__(self) -> "LagMeter":
        self._asleep_s = _asleep_s()
        self._due_s = asyncio.get_running_loop().time()
        self._tick()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._note()
        slept_s = _asleep_s() - self._asleep_s
        if slept_s > _SUSPENDED_S:
            self.lag_s = max(self.lag_s, slept_s)

    def _tick(self) -> None:
        self._note()
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + self._step_s
        self._timer = loop.call_at(self._due_s, self._tick)

    def _note(self) -> None:
        self.lag_s = max(self.lag_s, asyncio.get_running_loop().time() - self._due_s)


def _asleep_s() -> float:
    """Return for how long the machine was suspended since it was booted. Source: time(7)."""
    with contextlib.suppress(OSError, AttributeError):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return 0.0
