"""The courier on a clock that tests wind: never early, not late, and not lost."""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from orchestrator.scheduler.server.alarm import KernelAlarm, SteppingAlarm
from orchestrator.scheduler.server.backoff import retry_wait_s
from orchestrator.scheduler.server.delivery import Courier
from orchestrator.scheduler.server.moments import Moment
from orchestrator.scheduler.server.records import Record, new_record
from orchestrator.scheduler.server.settings import DeliveryPolicy
from orchestrator.scheduler.server.store import Store, StoreFailed, StoreTaken
from orchestrator.scheduler.values import Status, Target

pytestmark = pytest.mark.anyio
START_S = 1_900_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class WoundClock:
    """A wall clock that is set, and the alarm that a kernel would keep by it."""

    def __init__(self) -> None:
        self.wall_s: float = START_S
        self._was_set = anyio.Event()

    def monotonic(self) -> float:
        return self.wall_s

    def wall_ns(self) -> int:
        return int(self.wall_s * 1_000_000_000)

    def set(self, wall_s: float) -> None:
        self.wall_s = wall_s
        self._was_set.set()
        self._was_set = anyio.Event()

    async def wait_until(self, wall_ns: int) -> None:
        while self.wall_ns() < wall_ns:
            await self._was_set.wait()

    def close(self) -> None:
        """Hold nothing."""


class Post:
    """A sender that keeps what it is given and answers as it is told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.reasons: list[str | None] = []
        self.may_end = anyio.Event()
        self.may_end.set()
        self.raises = False

    async def send(self, record: Record) -> str | None:
        self.sent.append(record.text)
        if self.raises:
            raise RuntimeError("a fault of ours")
        await self.may_end.wait()
        return self.reasons.pop(0) if self.reasons else None


class Office:
    """A courier at work, with its store, clock and post."""

    def __init__(self, store: Store, clock: WoundClock, policy: DeliveryPolicy) -> None:
        self.store, self.clock, self.post = store, clock, Post()
        self.courier = Courier(store, clock, clock, policy, lambda _: 10.0)

    async def schedule(self, text: str, in_s: float) -> str:
        ticks = int((self.clock.wall_s + in_s) * 10_000_000)
        record = new_record(text, Moment(ticks, "utc"), Target("http://x/"), self.clock.wall_ns())
        await self.store.add(record)
        self.courier.notice(ticks)
        return record.id

    async def status(self, wanted: str) -> Status:
        record = await self.store.find(wanted)
        assert record is not None
        return record.status

    async def becomes(self, wanted: str, status: Status) -> None:
        await until(lambda: self._is(wanted, status))

    async def _is(self, wanted: str, status: Status) -> bool:
        return await self.status(wanted) is status

    async def settled(self) -> None:
        """Let everything happen that can happen at this moment of the clock."""
        for _ in range(5):
            await anyio.wait_all_tasks_blocked()
            await self.store.find("")


async def until(look: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while True:
            seen = look()
            if await seen if hasattr(seen, "__await__") else seen:
                return
            await anyio.sleep(0.001)


@asynccontextmanager
async def working(
    path: Path, policy: DeliveryPolicy | None = None, clock: WoundClock | None = None
) -> AsyncIterator[Office]:
    clock = clock or WoundClock()
    store = Store(path, clock)
    store.open()
    office = Office(store, clock, policy or DeliveryPolicy(grace_s=0.1))
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(office.courier.run, office.post)
            try:
                yield office
            finally:
                office.courier.stop()
    finally:
        store.close()


async def test_nothing_comes_early_and_nothing_late(tmp_path: Path) -> None:
    async with working(tmp_path / "d") as office:
        made = await office.schedule("x", 10)
        office.clock.set(START_S + 9.999)
        await office.settled()
        assert office.post.sent == []
        office.clock.set(START_S + 10)
        await office.becomes(made, Status.COMPLETED)


async def test_a_clock_set_forward_delivers_at_once(tmp_path: Path) -> None:
    async with working(tmp_path / "d") as office:
        made = [await office.schedule(str(n), 3600 * n) for n in range(1, 4)]
        office.clock.set(START_S + 86_400)
        for one in made:
            await office.becomes(one, Status.COMPLETED)
        assert office.post.sent == ["1", "2", "3"]


async def test_a_clock_set_back_delivers_nothing_early(tmp_path: Path) -> None:
    async with working(tmp_path / "d") as office:
        made = await office.schedule("x", 10)
        office.clock.set(START_S - 3600)
        await office.settled()
        office.clock.set(START_S + 9)
        await office.settled()
        assert office.post.sent == []
        office.clock.set(START_S + 10)
        await office.becomes(made, Status.COMPLETED)


async def test_at_most_as_many_as_allowed_go_out_at_once(tmp_path: Path) -> None:
    async with working(tmp_path / "d", DeliveryPolicy(concurrency=3, grace_s=1)) as office:
        office.post.may_end = anyio.Event()
        for number in range(10):
            await office.schedule(str(number), 0.5)
        office.clock.set(START_S + 1)
        await until(lambda: len(office.post.sent) == 3)
        await office.settled()
        assert len(office.post.sent) == 3
        office.post.may_end.set()
        await until(lambda: len(office.post.sent) == 10)


async def test_a_failure_waits_for_its_next_attempt_and_then_fails(tmp_path: Path) -> None:
    async with working(tmp_path / "d", DeliveryPolicy(attempts=2, grace_s=1)) as office:
        office.post.reasons = ["answered 500", "answered 501"]
        made = await office.schedule("x", 1)
        office.clock.set(START_S + 1)
        await until(lambda: len(office.post.sent) == 1)
        await office.settled()
        assert await office.status(made) is Status.IN_PROGRESS
        office.clock.set(START_S + 10.9)
        await office.settled()
        assert len(office.post.sent) == 1
        office.clock.set(START_S + 11.1)
        await office.becomes(made, Status.FAILED)
        assert office.post.sent == ["x", "x"]


async def test_a_fault_of_ours_fails_one_conversation_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tmp_path / "d") as office:
        office.post.raises = True
        made = await office.schedule("x", 1)
        office.clock.set(START_S + 1)
        await office.becomes(made, Status.FAILED)
        office.post.raises = False
        other = await office.schedule("y", 1)
        office.clock.set(START_S + 2)
        await office.becomes(other, Status.COMPLETED)
        assert "a fault of ours" in caplog.text


async def test_what_outlasts_the_grace_is_sent_again_next_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = WoundClock()
    async with working(tmp_path / "d", clock=clock) as office:
        office.post.may_end = anyio.Event()
        made = await office.schedule("x", 1)
        clock.set(START_S + 1)
        await until(lambda: office.post.sent)
    assert "stopped during 1 deliveries" in caplog.text
    async with working(tmp_path / "d", clock=clock) as office:
        await office.becomes(made, Status.COMPLETED)
        assert office.post.sent == ["x"]


async def test_after_a_stop_nothing_begins(tmp_path: Path) -> None:
    clock = WoundClock()
    async with working(tmp_path / "d", clock=clock) as office:
        made = await office.schedule("x", 1)
        office.courier.stop()
        clock.set(START_S + 1)
        await office.settled()
        assert office.post.sent == []
        assert await office.status(made) is Status.SCHEDULED


async def test_what_was_cancelled_in_time_is_not_sent(tmp_path: Path) -> None:
    async with working(tmp_path / "d") as office:
        made = await office.schedule("x", 1)
        assert await office.store.cancel(made, 0)
        assert not await office.store.cancel(made, 0)
        office.clock.set(START_S + 2)
        await office.settled()
        assert office.post.sent == []


def test_waits_double_up_to_a_limit_with_jitter() -> None:
    policy = DeliveryPolicy(first_wait_s=2, longest_wait_s=100)
    for attempt, full_s in ((1, 2), (2, 4), (3, 8), (20, 100)):
        waits = [retry_wait_s(policy, attempt) for _ in range(50)]
        assert full_s / 2 <= min(waits) < max(waits) <= full_s


async def test_the_kernels_alarm_rings_at_its_time_again_and_again() -> None:
    clock = RealClock()
    alarm = KernelAlarm()
    try:
        with anyio.fail_after(5):
            for wait_s in (-1e9, 0.0, 0.03, -5.0, 0.02):
                due = clock.wall_ns() + int(wait_s * 1e9)
                await alarm.wait_until(due)
                assert clock.wall_ns() >= due
        for far_ns in (clock.wall_ns() + int(3600e9), int(253_402_300_799e9)):
            with anyio.move_on_after(0.01) as scope:
                await alarm.wait_until(far_ns)
            assert scope.cancelled_caught
        with anyio.fail_after(5):
            await alarm.wait_until(clock.wall_ns() + 1_000_000)
    finally:
        alarm.close()


async def test_the_stepping_alarm_looks_at_the_clock() -> None:
    clock = RealClock()
    due = clock.wall_ns() + 30_000_000
    with anyio.fail_after(5):
        await SteppingAlarm(clock).wait_until(due)
    assert clock.wall_ns() >= due


class RealClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return anyio.current_time()

    def wall_ns(self) -> int:
        return time.time_ns()


async def test_a_store_is_for_one_at_a_time(tmp_path: Path) -> None:
    first, second = (Store(tmp_path / "d", RealClock()) for _ in range(2))
    first.open()
    with pytest.raises(StoreTaken):
        second.open()
    first.close()
    second.open()
    second.close()


async def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "d") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreFailed, match="another version"):
        Store(tmp_path / "d", RealClock()).open()


async def test_a_caller_that_gives_up_spoils_nothing(tmp_path: Path) -> None:
    clock = WoundClock()
    async with working(tmp_path / "d", clock=clock) as office:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(office.schedule, str(number), 100)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        made = await office.schedule("x", 100)
        records, total = await office.store.page(None, 1, 100)
        assert made in {record.id for record in records}
        assert total == len(records)
