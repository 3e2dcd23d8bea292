"""The fake clock keeps the promises of the real one, and is wound."""

import anyio
import pytest

from orchestrator.core.ports import Clock
from orchestrator.system.clock import SystemClock
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_sleepers_wake_in_the_order_of_their_times_and_see_them() -> None:
    clock, woke = FakeClock(monotonic_s=0), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woke.append((seconds, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        for seconds in (3, 1, 2, 10):
            tasks.start_soon(sleep, seconds)
        await clock.advance(3)
        assert woke == [(1, 1), (2, 2), (3, 3)]
        await clock.advance(6.9)
        assert len(woke) == 3
        await clock.advance(0.1)
    assert woke[-1] == (10, 10)


async def test_one_who_sleeps_again_is_woken_again_in_the_same_winding() -> None:
    clock, woke = FakeClock(monotonic_s=0), []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(1)
            woke.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await clock.advance(5)
        assert woke == [1, 2, 3]
        assert clock.monotonic() == 5


async def test_a_sleep_that_is_cancelled_disturbs_nobody() -> None:
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    await clock.advance(2)


def test_the_wall_clock_jumps_and_the_monotonic_one_does_not() -> None:
    clock = FakeClock(monotonic_s=5, wall_s=100)
    clock.jump(-50)
    assert (clock.monotonic(), clock.wall()) == (5, 50)


@pytest.mark.parametrize("clock", [FakeClock(), SystemClock()])
async def test_both_clocks_go_forward_and_yield_on_zero(clock: Clock) -> None:
    before = clock.monotonic()
    with anyio.fail_after(5):
        await clock.sleep(0)
        await clock.sleep(-1)
    assert clock.monotonic() >= before
    assert clock.wall() > 1_600_000_000
