"""Orders to end a run, seen through: given again to a new shim, carried out past a stuck one."""

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.supervise.places import Places
from orchestrator.supervise.unit import Unit
from orchestrator.system.shims import wake_holder

_ACKNOWLEDGE_S = 1.0


class Orders:
    """Gives an order until it is confirmed, or a newer one is given, or its run is over.

    ``raise_shim`` has a unit's shim replaced, if that is not under way yet.
    """

    def __init__(
        self, places: Places, tasks: TaskGroup, raise_shim: Callable[[Unit], None]
    ) -> None:
        self._places = places
        self._tasks = tasks
        self._raise_shim = raise_shim
        self._closing = False

    def close(self) -> None:
        """See no order through any more: all is over."""
        self._closing = True

    def give(self, unit: Unit, run: int, operation: dict[str, Any]) -> None:
        """Send the order, and see it through in the background."""
        unit.acknowledged = anyio.Event()
        if unit.shim is not None and not unit.shim.closed.is_set():
            unit.shim.send(operation)
        self._tasks.start_soon(self._see_through, unit, run, operation, unit.acknowledged)

    async def _see_through(
        self, unit: Unit, run: int, operation: dict[str, Any], acknowledged: anyio.Event
    ) -> None:
        """Give the order again to a new shim; signal ourselves where the shim is stuck."""
        while self._is_due(unit, run, acknowledged):
            with anyio.move_on_after(_ACKNOWLEDGE_S):
                await acknowledged.wait()
                return
            if not self._is_due(unit, run, acknowledged):
                return
            # Somebody may have stopped it, as a service may be stopped that is to end.
            holder = wake_holder(self._places.lock_path(unit.name))
            holder = holder or (unit.shim.pid if unit.shim is not None else None)
            if holder is not None:
                unit.note = f"its shim, pid {holder}, does not answer"
                _signal_directly(unit, operation)
            if unit.shim is None:
                self._raise_shim(unit)
            elif not unit.shim.closed.is_set():
                unit.shim.send(operation)

    def _is_due(self, unit: Unit, run: int, acknowledged: anyio.Event) -> bool:
        """Whether the order is still the newest one, and its run still alive."""
        newest = unit.acknowledged is acknowledged and not acknowledged.is_set()
        return newest and unit.status.run == run and unit.status.alive and not self._closing


def _signal_directly(unit: Unit, operation: Mapping[str, Any]) -> None:
    number = signal.SIGKILL if operation["op"] == "kill" else int(operation["signal"])
    for pid in unit.pids():
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Opened first, then checked: a pid that came to mean another process is let be.
            if pid in unit.pids():
                signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)
