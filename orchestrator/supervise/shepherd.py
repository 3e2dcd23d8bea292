"""Raises, meets and replaces the shims, one a service, and hands them their orders."""

import json
import logging
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.core import events as news
from orchestrator.core.status import State, Status
from orchestrator.errors import OrchestratorError
from orchestrator.shim.identity import is_alive
from orchestrator.supervise.hearing import Hearing
from orchestrator.supervise.launching import Launching
from orchestrator.supervise.orders import Orders
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import Unit
from orchestrator.system.shims import Shim, ShimLocked, ShimUnreachable, connect_shim, wake_holder
from orchestrator.system.spawner import Spawner
from orchestrator.system.tree import Orphan, children_of_our_session, reap_orphans

logger = logging.getLogger(__name__)

_SHIM_RETRY_S = 1.0
# A shim that dies so soon, so many times, has something against it that time may mend.
_SHORT_LIFE_S, _SHORT_LIVES = 1.0, 3
_WAKE_S, _QUIT_S = 0.5, 3.0
_KEPT_ENDS = 200
_DEAD_S = 0.5


class Shepherd:
    """One stack's shims. Only the supervisor's loop and its own callbacks change the units."""

    def __init__(
        self, supervisor: Supervisor, spawner: Spawner, launching: Launching, tasks: TaskGroup
    ) -> None:
        self._supervisor = supervisor
        self._spawner = spawner
        self._launching = launching
        self._tasks = tasks
        self._hearing = Hearing(supervisor)
        self._orders = Orders(supervisor.places, tasks, self._raise_shim)
        self._closing = False
        self._ended: deque[Orphan] = deque(maxlen=_KEPT_ENDS)

    # Orders.

    def spawn(self, unit: Unit, run: int) -> None:
        """Have the unit's shim start the run; raise the shim first if it has none."""
        try:
            launched = self._launching.launch(unit, run)
        except OrchestratorError as error:
            self._tell(unit, news.SpawnRefused(run, error.message, permanent=True))
            return
        unit.command = launched.argv
        unit.note = None
        operation = self._launching.order(unit, run, launched)
        if unit.shim is not None and not unit.shim.closed.is_set():
            unit.shim.send(operation)
            return
        unit.wanted_op = operation
        self._raise_shim(unit)

    def terminate(self, unit: Unit, run: int) -> None:
        """Send the stop signal; a shim that does not confirm is passed over."""
        self._orders.give(
            unit, run, {"op": "signal", "run": run, "signal": unit.service.stop.signal}
        )

    def kill(self, unit: Unit, run: int) -> None:
        """KILL the run's tree until it is empty."""
        self._orders.give(unit, run, {"op": "kill", "run": run})

    def reap(self) -> None:
        """Reap what fell to us, and keep how it ended for shims that replace dead ones."""
        self._ended.extend(reap_orphans({self._spawner.pid, *children_of_our_session()}))

    # Taking over.

    async def take_over(self, unit: Unit) -> bool:
        """Connect to the shim that an earlier supervisor left, or replace a dead one.

        Returns whether there was anything to take over.
        """
        service_dir = self._supervisor.places.service_dir(unit.name)
        if not service_dir.is_dir():
            return False
        try:
            shim = await self._reach_shim(unit, service_dir)
        except ShimLocked:
            # Its shim is there and does not answer, stopped perhaps.
            if _lives_as_recorded(unit.status, _read_json(service_dir / "service.json")):
                self._tell(unit, news.Resumed(unit.status.pid))
                self._raise_shim(unit)  # which asks it again and again
                return True
            wake_holder(self._supervisor.places.lock_path(unit.name))
            shim = await self._reach_shim(unit, service_dir)
        if shim is None:
            return False
        self._greet(unit, shim)
        run, status = shim.hello["run"], unit.status
        if run is not None:
            if status.run != run["run"]:
                unit.status = replace(Status(), run=run["run"], restarts=status.restarts)
            self._hearing.note_live(unit, run)
            self._tell(unit, news.Resumed(run["pid"]))
            return True
        self._tell(unit, news.Resumed(None))
        if status.alive:
            self._missed_end(unit, status)
        else:
            unit.status = replace(status, run=max(status.run, shim.hello["last_run"]))
        return True

    async def _reach_shim(self, unit: Unit, service_dir: Path) -> Shim | None:
        try:
            return await connect_shim(str(service_dir), self._hearing.listener(unit))
        except ShimUnreachable:
            pass
        if not any((service_dir / name).exists() for name in ("service.json", "exit.json")):
            return None
        return await self._new_shim(unit)

    def _missed_end(self, unit: Unit, status: Status) -> None:
        """Tell the end of a run that the shim knows nothing of any more.

        A shim greets nobody between telling an end and recording it: so it is there now.
        """
        recorded = _read_json(self._supervisor.places.service_dir(unit.name) / "exit.json")
        if recorded.get("run") == status.run:
            self._hearing.exited(unit, recorded)
        elif status.pid is None:
            self._tell(unit, interrupted(status.run))
        # Otherwise the shim learns how it ended, and says so next.

    # Shims.

    async def _new_shim(self, unit: Unit) -> Shim:
        request = self._launching.request(unit, self._ended)
        return await self._spawner.shim(request, self._hearing.listener(unit))

    def _raise_shim(self, unit: Unit) -> None:
        if not unit.raising_shim:
            unit.raising_shim = True
            self._tasks.start_soon(self._raise_and_greet, unit)

    async def _raise_and_greet(self, unit: Unit) -> None:
        try:
            shim = await self._new_or_locked_shim(unit)
        except (OSError, OrchestratorError) as error:
            unit.raising_shim = False
            await self._shim_refused(unit, str(error))
            return
        unit.raising_shim = False
        self._greet(unit, shim)
        run, status = shim.hello["run"], unit.status
        if run is not None and run["run"] == status.run:
            # The shim before had carried the order out: given again, it would be a second one.
            unit.wanted_op = None
            if status.pid is None:
                self._hearing.note_live(unit, run)
                self._tell(unit, news.Spawned(run["run"], run["pid"]))
        elif run is None and status.alive and status.pid is not None:
            self._missed_end(unit, status)
        self._send_wanted(unit, shim)

    async def _new_or_locked_shim(self, unit: Unit) -> Shim:
        """Return a new shim; or the old one, when it lives and was only not to be reached."""
        try:
            return await self._new_shim(unit)
        except ShimLocked:
            service_dir = str(self._supervisor.places.service_dir(unit.name))
            return await connect_shim(service_dir, self._hearing.listener(unit))

    async def _shim_refused(self, unit: Unit, problem: str) -> None:
        operation, unit.wanted_op = unit.wanted_op, None
        if operation is not None:
            text = f"cannot start a shim for {unit.name!r}: {problem}"
            self._tell(unit, news.SpawnRefused(operation["run"], text, permanent=False))
            return
        if unit.status.alive and not self._closing:
            if not unit.note:
                logger.error("cannot replace the shim of %s: %s", unit.name, problem)
            unit.note = problem
            await self._supervisor.clock.sleep(_SHIM_RETRY_S)
            self._raise_shim(unit)

    def _send_wanted(self, unit: Unit, shim: Shim) -> None:
        operation, unit.wanted_op = unit.wanted_op, None
        if operation is None or operation["run"] != unit.status.run or not unit.status.alive:
            return
        if unit.status.state is State.STOPPING:
            text = "it was stopped before it was started"
            self._tell(unit, news.SpawnRefused(operation["run"], text, permanent=False))
            return
        last_run = shim.hello["last_run"]
        if operation["run"] <= last_run:
            # Its logs know newer runs than we do: numbers count on as long as logs are kept.
            self._renumber(unit, operation, last_run + 1)
        shim.send(operation)

    def _renumber(self, unit: Unit, operation: dict[str, Any], run: int) -> None:
        unit.status = replace(unit.status, run=run)
        operation["run"] = run
        operation["env"]["ORCH_COOKIE"] = f"{self._supervisor.places.stack_id}/{unit.name}/{run}"

    def _greet(self, unit: Unit, shim: Shim) -> None:
        unit.shim = shim
        unit.note = None
        self._hold_output(unit)
        self._tasks.start_soon(self._attend, unit, shim)

    def _hold_output(self, unit: Unit) -> None:
        """Hold a reading end of the output's pipe, so that no death of the shim closes it."""
        if unit.holder_fd >= 0:
            os.close(unit.holder_fd)
            unit.holder_fd = -1
        fifo = self._supervisor.places.service_dir(unit.name) / "out"
        try:
            unit.holder_fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            logger.warning("cannot hold the output of %s: %s", unit.name, error.strerror)

    async def _attend(self, unit: Unit, shim: Shim) -> None:
        """Wait for a shim's end; one that ended before its time is replaced."""
        clock = self._supervisor.clock
        met_at = clock.monotonic()
        await shim.closed.wait()
        if unit.shim is not shim:
            return
        unit.shim = None
        if not unit.status.alive or self._closing:
            return
        logger.warning("the shim of %s ended; it is replaced", unit.name)
        await _until_dead(shim.pid)
        self.reap()
        is_short = clock.monotonic() - met_at < _SHORT_LIFE_S
        unit.short_shims = unit.short_shims + 1 if is_short else 0
        if unit.short_shims > _SHORT_LIVES:
            await clock.sleep(_SHIM_RETRY_S)
        if unit.status.pid is None and unit.wanted_op is None:
            unit.wanted_op = self._again(unit)
        self._raise_shim(unit)

    def _again(self, unit: Unit) -> dict[str, Any] | None:
        """Return the start that the dead shim may not have seen; the new one tells if it had."""
        run = unit.status.run
        try:
            return self._launching.order(unit, run, self._launching.launch(unit, run))
        except OrchestratorError:
            return None

    # The end.

    async def dismiss(self) -> None:
        """Let every shim end, bounded; then let go of the held outputs."""
        self._closing = True
        self._orders.close()
        shims = {
            name: unit.shim
            for name, unit in self._supervisor.units.items()
            if unit.shim is not None
        }
        for shim in shims.values():
            shim.send({"op": "quit"})
        for within_s in (_WAKE_S, _QUIT_S):
            with anyio.move_on_after(within_s):
                for shim in shims.values():
                    await shim.closed.wait()
                break
            for name in shims:
                wake_holder(self._supervisor.places.lock_path(name))
        for unit in self._supervisor.units.values():
            if unit.holder_fd >= 0:
                os.close(unit.holder_fd)
                unit.holder_fd = -1

    def _tell(self, unit: Unit, event: news.Event) -> None:
        self._supervisor.tell(unit.name, event)


def _lives_as_recorded(status: Status, record: Mapping[str, Any]) -> bool:
    """Whether the process that the shim recorded for the run that we know is alive."""
    known = status.alive and status.pid is not None
    is_same = record.get("run") == status.run and record.get("pid") == status.pid
    return known and is_same and is_alive(status.pid or 0, int(record.get("starttime") or 0))


async def _until_dead(pid: int) -> None:
    """Wait for a process whose sockets are closed: what it leaves falls to us a moment later."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return
    try:
        with anyio.move_on_after(_DEAD_S):
            await anyio.wait_readable(fd)
    finally:
        os.close(fd)


def interrupted(run: int) -> news.Event:
    """Return the news of a run that an earlier supervisor had decided on and not begun."""
    return news.SpawnRefused(run, "its start was interrupted with the supervisor", permanent=False)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
