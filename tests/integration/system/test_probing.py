"""The cadence of probes: when the next one comes, and which failures count."""

import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.spec.model import Health
from orchestrator.system.lag import LagMeter
from orchestrator.system.listeners import Listeners
from orchestrator.system.probes import ProbeResult
from orchestrator.system.probing import watch
from orchestrator.system.spawner import ExecResult
from orchestrator.system.target import Target
from tests.fakes import FakeClock
from tests.integration.shim.stage import until
from tests.integration.system.sockets import listening
from tests.processes import free_port


class RushingClock(FakeClock):
    """A clock that nobody need wind: whoever sleeps alone is at the end of his sleep at once."""

    async def sleep(self, seconds: float) -> None:
        self._now_s += seconds
        await checkpoint()


class Watched:
    """A run whose only probe is a command, and what was told of it."""

    def __init__(self, clock: FakeClock, **health: Any) -> None:
        self.clock = clock
        self.healthy = 0
        self.unhealthy: list[str] = []
        self.reported: list[ProbeResult] = []
        self.asked_s: list[float] = []
        self.code = 0
        self.took_s = 0.0
        self.hold: Callable[[], None] = lambda: None
        self.port: int | None = None
        self.health = Health.model_validate({"exec": {"command": ["x"]}} | health)

    async def run_exec(self, *_: object) -> ExecResult:
        self.asked_s.append(self.clock.monotonic())
        self.hold()
        await self.clock.sleep(self.took_s)
        return ExecResult(self.code, None, False, None, "", self.took_s)

    def target(self) -> Target:
        return Target.of(
            "web",
            self.health,
            port=self.port,
            render=str,
            listeners=Listeners(self.clock),
            tree=lambda: {os.getpid()},
            run_exec=self.run_exec,
            new_lines=list,
            env={},
            cwd="/",
        )

    def note_healthy(self) -> None:
        self.healthy += 1

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            await self.clock.advance(0)
            yield
            tasks.cancel_scope.cancel()

    async def watched_for(self, probes: int) -> None:
        """Watch until so many probes were asked."""
        with anyio.CancelScope() as scope:

            def count() -> None:
                if len(self.asked_s) >= probes:
                    scope.cancel()

            self.hold = count
            await self._watch()

    async def _watch(self) -> None:
        await watch(
            self.target(),
            self.clock,
            random.Random(7),
            report=self.reported.append,
            healthy=self.note_healthy,
            unhealthy=self.unhealthy.append,
        )

    def gaps_s(self) -> list[float]:
        return [b - a for a, b in zip(self.asked_s, self.asked_s[1:], strict=False)]


async def test_the_first_try_is_at_once_and_the_next_ones_come_ever_more_slowly() -> None:
    one = Watched(RushingClock())
    one.code = 1
    await one.watched_for(150)
    gaps = one.gaps_s()
    assert gaps[0] == pytest.approx(0.01)
    assert gaps == pytest.approx(sorted(gaps))
    assert gaps[-1] == pytest.approx(1.0)
    assert not one.unhealthy, "while it starts, its start timeout counts"
    assert one.healthy == 0


async def test_once_healthy_it_is_asked_every_interval_give_or_take_a_tenth() -> None:
    one = Watched(RushingClock(), interval=10)
    await one.watched_for(30)
    assert all(9 <= gap <= 11 for gap in one.gaps_s())
    assert len(set(one.gaps_s())) > 20, "many services must not be asked in step"
    assert one.healthy == 1


async def test_failures_in_a_row_make_unhealthy_and_one_success_makes_healthy() -> None:
    one = Watched(FakeClock(), interval=10, failures=3)
    async with one.watched():
        for code, unhealthy, healthy in [
            (1, 0, 1), (1, 0, 1), (0, 0, 1), (1, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 1), (0, 1, 2),
            (1, 1, 2), (1, 1, 2), (1, 2, 2),
        ]:  # fmt: skip
            one.code, before = code, len(one.asked_s)
            while len(one.asked_s) == before:
                await one.clock.advance(0.5)
            assert (len(one.unhealthy), one.healthy) == (unhealthy, healthy)
        assert one.unhealthy[0].startswith("exit code 1 after ")


async def test_one_probe_is_under_way_at_a_time_and_a_slow_command_rests_afterwards() -> None:
    one = Watched(FakeClock(), interval=1, timeout=1000)
    one.took_s = 5.0
    async with one.watched():
        await one.clock.advance(60)
        assert one.healthy == 1
        # The rest is four times what the command took, by the real clock, which stood still.
        assert all(5.9 <= gap <= 6.2 for gap in one.gaps_s())


async def test_a_listener_that_appears_while_it_starts_is_asked_at_once() -> None:
    clock, port = FakeClock(), free_port()
    one = Watched(clock, exec=None, tcp={})
    one.port = port
    async with one.watched():
        for _ in range(100):
            await clock.advance(0.01)
        assert one.reported
        assert not any(found.ok for found in one.reported)
        tried = len(one.reported)
        with listening(port=port):
            await clock.advance(0.01)
            await until(lambda: one.healthy)
        assert len(one.reported) == tried + 1


async def test_while_nobody_listens_a_starting_service_is_told_every_second_only() -> None:
    one = Watched(FakeClock(), exec=None, tcp={})
    one.port = free_port()
    async with one.watched():
        for _ in range(1000):
            await one.clock.advance(0.01)
        assert 9 <= len(one.reported) <= 12


# Failures that are ours.


def hold_up() -> None:
    """Keep the whole loop from running."""
    time.sleep(0.2)


async def test_a_failure_while_we_were_held_up_is_told_and_not_counted() -> None:
    one = Watched(FakeClock(), interval=10, failures=1, timeout="100ms")
    async with one.watched():
        one.code = 1
        one.hold = hold_up
        await one.clock.advance(11)
        assert one.reported[-1].text.endswith("(not counted: the supervisor itself was held up)")
        assert not one.unhealthy
        one.hold = lambda: None
        await one.clock.advance(11)
        assert len(one.unhealthy) == 1


async def test_a_success_while_we_were_held_up_is_one() -> None:
    one = Watched(FakeClock(), timeout="100ms")
    one.hold = hold_up
    async with one.watched():
        assert one.healthy == 1


async def test_a_late_answer_counts_when_it_was_not_us_who_was_late() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = Watched(FakeClock(), exec=None, http={"path": "/"}, timeout="100ms")
        one.port = silent.getsockname()[1]
        async with one.watched():
            await until(lambda: one.reported)
        assert one.reported[0].text == "timed out after 100ms"


async def test_a_meter_sees_a_held_up_loop_in_the_middle_of_a_wait() -> None:
    with LagMeter(0.01) as meter:
        await anyio.sleep(0.02)
        hold_up()
        await anyio.sleep(0.02)
    assert meter.lag_s > 0.1


async def test_a_machine_that_was_suspended_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspended, the monotonic clock stands still and that of the boot goes on."""
    begun = time.clock_gettime(time.CLOCK_BOOTTIME)
    with LagMeter(1.0) as meter:
        monkeypatch.setattr(time, "clock_gettime", lambda _: begun + 3600)
    assert meter.lag_s == pytest.approx(3600, abs=5)
