"""Delivering conversations at their time: at least once, and once only unless somebody dies."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.server.alarm import Alarm
from orchestrator.scheduler.server.endpoints import place
from orchestrator.scheduler.server.moments import now_ticks
from orchestrator.scheduler.server.records import Record
from orchestrator.scheduler.server.settings import DeliveryPolicy
from orchestrator.scheduler.server.store import Store, StoreFailed
from orchestrator.scheduler.values import Status

log = logging.getLogger(__name__)

STORE_REST_S = 1.0
EARLIEST = -(2**63)


class Sends(Protocol):
    """What makes one delivery."""

    async def send(self, record: Record) -> str | None:
        """Deliver; None if it arrived, else why it did not."""


class Courier:
    """Hands due conversations to the sender, no more than ``concurrency`` at a time.

    Nothing is kept here but what is under way: the next due time comes from the store, the
    moment itself from the alarm.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        alarm: Alarm,
        policy: DeliveryPolicy,
        retry_wait_s: Callable[[int], float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._alarm = alarm
        self._policy = policy
        self._retry_wait_s = retry_wait_s
        self._bell = Bell()
        self._is_stopping = False
        self._active = 0

    def notice(self, due_ticks: int) -> None:
        """Take note of a new conversation that is due at ``due_ticks``."""
        self._bell.ring_before(due_ticks)

    def stop(self) -> None:
        """Begin no more deliveries; `run` returns once those under way have ended."""
        self._is_stopping = True
        self._bell.ring()

    async def run(self, sender: Sends) -> None:
        """Deliver until `stop`; what does not end within the grace is sent again next time."""
        async with anyio.create_task_group() as deliveries:
            while not self._is_stopping:
                await self._round(deliveries, sender)
            deliveries.cancel_scope.deadline = anyio.current_time() + self._policy.grace_s
        if self._active:
            log.warning("stopped during %d deliveries: they will be made again", self._active)

    async def _round(self, deliveries: TaskGroup, sender: Sends) -> None:
        free = self._policy.concurrency - self._active
        self._bell.listen()
        try:
            records, due = await self._store.claim(now_ticks(self._clock.wall_ns()), free)
        except StoreFailed as error:
            log.error("cannot look for due conversations: %s", error)  # noqa: TRY400
            with anyio.move_on_after(STORE_REST_S):
                await self._bell.wait_for_ring()
            return
        for record in records:
            self._active += 1
            deliveries.start_soon(self._deliver, record, sender)
        if self._active >= self._policy.concurrency:
            await self._bell.wait_for_ring()
        else:
            await self._bell.wait(self._alarm, due)

    async def _deliver(self, record: Record, sender: Sends) -> None:
        try:
            reason = await sender.send(record)
        except Exception as error:
            log.exception("delivery of %s failed", record.id)
            reason = type(error).__name__
        await self._write_down(record, reason)
        self._active -= 1
        if self._active == self._policy.concurrency - 1:
            self._bell.ring()

    async def _write_down(self, record: Record, reason: str | None) -> None:
        attempt = record.attempts + 1
        where = place(record.target.endpoint)
        if reason is not None and attempt < self._policy.attempts:
            wait_s = self._retry_wait_s(attempt)
            log.warning("%s to %s: %s; again in %.1f s", record.id, where, reason, wait_s)
            due = now_ticks(self._clock.wall_ns() + int(wait_s * 1e9))
            await self._surely(lambda: self._store.postpone(record.id, due))
            self.notice(due)
            return
        status = Status.COMPLETED if reason is None else Status.FAILED
        if reason is None:
            log.info("%s delivered to %s", record.id, where)
        else:
            log.warning("%s not delivered to %s: %s", record.id, where, reason)
        now = now_ticks(self._clock.wall_ns())
        await self._surely(lambda: self._store.finish(record.id, status, now))

    async def _surely(self, write: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    await write()
            except StoreFailed as error:
                log.error("cannot write down a delivery: %s", error)  # noqa: TRY400
                await anyio.sleep(STORE_REST_S)
            else:
                return


class Bell:
    """Wakes the courier early, without losing a ring between looking and waiting."""

    def __init__(self) -> None:
        self._rang = False
        self._next_ticks: int | None = None
        self._nap: anyio.CancelScope | None = None

    def listen(self) -> None:
        """Forget earlier rings: the store is looked at next."""
        self._rang = False
        self._next_ticks = None

    def ring(self) -> None:
        """End the waiting, or prevent the next one."""
        self._rang = True
        if self._nap is not None:
            self._nap.cancel()

    def ring_before(self, due_ticks: int) -> None:
        """Ring, unless something due earlier is waited for already."""
        if self._next_ticks is None or due_ticks < self._next_ticks:
            self.ring()

    async def wait_for_ring(self) -> None:
        """Return at a `ring` since `listen`, however early the next conversation is due."""
        self._next_ticks = EARLIEST
        await self._rest(anyio.sleep_forever())

    async def wait(self, alarm: Alarm, due_ticks: int | None) -> None:
        """Return at ``due_ticks`` (never, if None) or at a ring since `listen`."""
        self._next_ticks = due_ticks
        if due_ticks is None:
            await self._rest(anyio.sleep_forever())
        else:
            await self._rest(alarm.wait_until(due_ticks * 100))

    async def _rest(self, waiting: Awaitable[None]) -> None:
        with anyio.CancelScope() as self._nap:
            if self._rang:
                self._nap.cancel()
            await waiting
        self._nap = None
