"""The one loop that owns every status: events in, `step`, publish, carry the orders out."""

import contextlib
import difflib
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import assert_never

import anyio
from anyio.abc import TaskGroup

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.machine import step
from orchestrator.core.ports import Clock
from orchestrator.core.status import State, Status
from orchestrator.errors import UnknownService
from orchestrator.spec.model import Project
from orchestrator.spec.order import closure
from orchestrator.supervise.bus import Bus
from orchestrator.supervise.dependencies import Waiting, waiting_for
from orchestrator.supervise.journal import Journal, Kept
from orchestrator.supervise.places import Places
from orchestrator.supervise.unit import Unit
from orchestrator.system.procstate import holding_back

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hands:
    """What carries orders out; each is called in the loop and must not wait."""

    spawn: Callable[[Unit, int], None]
    terminate: Callable[[Unit, int], None]
    kill: Callable[[Unit, int], None]
    start_probing: Callable[[Unit, int], None]
    stop_probing: Callable[[Unit, int], None]
    changed: Callable[[Unit, Status], None]
    """After every change of a status, with the status before; to publish it."""


class Supervisor:
    """Owns the units of one stack. Everyone else tells it events and listens on its bus."""

    _hands: Hands
    _tasks: TaskGroup

    def __init__(
        self, project: Project, places: Places, journal: Journal, clock: Clock, rng: random.Random
    ) -> None:
        self.project = project
        self.places = places
        self.clock = clock
        self.bus = Bus()
        self.units: dict[str, Unit] = {
            name: Unit(service) for name, service in project.services.items()
        }
        self.ending = False
        self.was_ending = False
        self._journal = journal
        self._rng = rng
        self._send, self._receive = anyio.create_memory_object_stream[
            tuple[str, news.Event] | anyio.Event
        ](float("inf"))
        self._end_grace_s: float | None = None
        self._asked_to_end: set[str] = set()
        self._dependants: dict[str, list[str]] = {}
        self._link()

    # What others may ask and tell.

    def tell(self, name: str, event: news.Event) -> None:
        """Put an event into the inbox; never waits. After the loop's end it tells nobody."""
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._send.send_nowait((name, event))

    async def settled(self) -> None:
        """Return once every event told so far has been handled, at once after the loop's end."""
        handled = anyio.Event()
        try:
            self._send.send_nowait(handled)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        await handled.wait()

    def unit(self, name: str) -> Unit:
        """Return a unit by name.

        Raises:
            UnknownService: no service has this name.
        """
        try:
            return self.units[name]
        except KeyError:
            near = next(iter(difflib.get_close_matches(name, self.units, n=1)), None)
            hint = f"; did you mean {near!r}?" if near else ""
            raise UnknownService(
                f"there is no service {name!r}{hint}", service=name, nearest=near
            ) from None

    def waiting(self, unit: Unit) -> tuple[Waiting, ...]:
        """Return what a pending unit waits for; nothing for any other."""
        if unit.status.state is not State.PENDING or unit.ignores_dependencies:
            return ()
        return waiting_for(unit.service, self._status_of, self._is_probed)

    def pids(self) -> set[int]:
        """Return the pids of all live processes of the stack's services."""
        return {pid for unit in self.units.values() for pid in unit.pids()}

    def needed_by(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names and all that they depend on, dependencies first."""
        return tuple(closure(self.project.services, names))

    def begin(self, names: Iterable[str], *, ignore_dependencies: bool = False) -> None:
        """Ask for the named services to be up. What runs already goes on."""
        for name in names:
            self.unit(name).ignores_dependencies = ignore_dependencies
            self.tell(name, news.StartRequested())

    def end(self, grace_s: float | None = None) -> None:
        """Stop everything, dependants before what they need; asked again, with the new grace."""
        again = self.ending
        self.ending, self._end_grace_s = True, grace_s
        if not again:
            self.bus.publish({"type": "stack", "state": "stopping"})
        if again and grace_s is not None:
            self._asked_to_end.clear()
        # It may have ended this moment: several may ask for the end at once.
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._send.send_nowait(anyio.Event())

    @property
    def all_at_rest(self) -> bool:
        """Whether nothing of the stack runs, and nothing is due to."""
        return all(unit.status.state.at_rest for unit in self.units.values())

    # The loop.

    async def serve(self, hands: Hands, tasks: TaskGroup) -> None:
        """Handle events until the stack was asked to end and all of it is at rest."""
        self._hands, self._tasks = hands, tasks
        async with self._send, self._receive:
            async for message in self._receive:
                if isinstance(message, anyio.Event):
                    message.set()
                else:
                    self._handle(*message)
                if self.ending and self._ended():
                    return

    def restore(self, name: str, kept: Kept) -> None:
        """Take over what an earlier supervisor knew. Only before ``serve`` handles events.

        One that was killed while it ended the stack had stopped things that nobody wants stopped.
        """
        self.was_ending |= bool(kept.extra.get("ending"))
        unit = self.unit(name)
        unit.status = kept.status
        unit.ignores_dependencies = kept.ignores_dependencies
        if kept.port is not None:
            unit.port = kept.port

    def adopt_unknown(self, unit: Unit) -> None:
        """Add a unit that services.yaml does not name any more, so that it can be stopped."""
        self.units[unit.name] = unit
        self._link()

    def kept(self) -> dict[str, Kept]:
        """Return what the journal keeps of every unit."""
        return {name: self._kept(unit) for name, unit in self.units.items()}

    def _link(self) -> None:
        """Note for every unit who depends on it; what a removed one needed may be gone as well."""
        self._dependants = {name: [] for name in self.units}
        for unit in self.units.values():
            for needed in unit.service.depends_on:
                if needed in self._dependants:
                    self._dependants[needed].append(unit.name)

    def _handle(self, name: str, event: news.Event) -> None:
        unit = self.units[name]
        before = unit.status
        try:
            unit.status, orders = step(unit.service, before, event, self.clock.monotonic())
            if unit.status != before:
                self._keep(unit)
            if unit.status.run != before.run or unit.status.state.at_rest:
                self._cancel_timers(unit)
            for one in orders:
                self._perform(unit, one)
            if unit.status != before:
                self._changed(unit, before)
        except Exception:
            # The outer guard: one service's trouble must never end the supervision of the others.
            logger.exception("cannot handle %r of %s", event, name)

    def _changed(self, unit: Unit, before: Status) -> None:
        self._hands.changed(unit, before)
        if unit.status.state is not before.state or unit.status.health is not before.health:
            self._wake_dependants(unit.name)

    def _perform(self, unit: Unit, one: order.Action) -> None:
        match one:
            case order.CheckDependencies():
                self._check_dependencies(unit)
            case order.Spawn(run):
                self._hands.spawn(unit, run)
            case order.Terminate(run):
                self._hands.terminate(unit, run)
            case order.Kill(run):
                self._hands.kill(unit, run)
            case order.SetTimer(run, timer, after_s, jitter):
                self._set_timer(unit, run, timer, after_s * (1 + self._rng.random() * jitter))
            case order.StartProbing(run):
                self._hands.start_probing(unit, run)
            case order.StopProbing(run):
                self._hands.stop_probing(unit, run)
            case _:
                assert_never(one)

    # Dependencies.

    def _check_dependencies(self, unit: Unit) -> None:
        if unit.status.state is State.PENDING and not self.ending and not self.waiting(unit):
            self.tell(unit.name, news.DependenciesReady())

    def _wake_dependants(self, name: str) -> None:
        for other in self._dependants.get(name, ()):
            self._check_dependencies(self.units[other])

    def _status_of(self, name: str) -> Status:
        return self.units[name].status

    def _is_probed(self, name: str) -> bool:
        return self.units[name].service.has_probe

    # Timers.

    def _set_timer(self, unit: Unit, run: int, timer: news.Timer, after_s: float) -> None:
        self._cancel_timers(unit, only=timer)
        if timer is news.Timer.RETRY:
            unit.status = replace(unit.status, retry_at=self.clock.monotonic() + after_s)
        scope = unit.timers[timer] = anyio.CancelScope()
        self._tasks.start_soon(self._ring, unit, scope, news.TimerFired(run, timer), after_s)

    async def _ring(
        self, unit: Unit, scope: anyio.CancelScope, event: news.TimerFired, after_s: float
    ) -> None:
        with scope:
            await self.clock.sleep(after_s)
            while event.timer is news.Timer.START_TIMEOUT and _is_held(unit):
                # Whoever holds it looks at it: it has as long again from each time it is seen held.
                await self.clock.sleep(after_s)
            unit.timers.pop(event.timer, None)
            self.tell(unit.name, event)

    def _cancel_timers(self, unit: Unit, *, only: news.Timer | None = None) -> None:
        for timer in tuple(unit.timers):
            if only in {None, timer}:
                unit.timers.pop(timer).cancel()

    # The end.

    def _ended(self) -> bool:
        for name, unit in self.units.items():
            state = unit.status.state
            if state.at_rest or name in self._asked_to_end:
                continue
            above = (self.units[other] for other in self._dependants.get(name, ()))
            hurried = self._end_grace_s == 0
            if hurried or all(other.status.state.at_rest for other in above):
                self._asked_to_end.add(name)
                self.tell(name, news.StopRequested(self._end_grace_s))
        return self.all_at_rest

    # The journal.

    def _kept(self, unit: Unit) -> Kept:
        extra = {"ending": True} if self.ending else {}
        return Kept(unit.status, unit.port, unit.ignores_dependencies, extra=extra)

    def _keep(self, unit: Unit) -> None:
        if self._journal.append(unit.name, self._kept(unit)):
            self._journal.rewrite(self.kept())


def _is_held(unit: Unit) -> bool:
    """Whether a debugger or a signal keeps the unit from getting well; noted for people."""
    held = None if unit.status.pid is None else holding_back(unit.status.pid)
    if held is not None:
        unit.note = held
    return held is not None
