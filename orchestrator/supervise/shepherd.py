"""Carries the orders about processes to the shims, and turns the shims' news into events."""

import contextlib
import json
import logging
import os
import signal
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from orchestrator.core import events as news
from orchestrator.core.status import State, Status
from orchestrator.errors import OrchestratorError
from orchestrator.spec.launch import Chosen, Launch, launch
from orchestrator.supervise.lastwords import reason_of
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import LiveRun, Unit
from orchestrator.system import ports
from orchestrator.system.dotnet_host import Hosts
from orchestrator.system.requirements import choose, dotnet_of
from orchestrator.system.shims import Shim, ShimUnreachable, connect_shim
from orchestrator.system.spawner import ShimRequest, Spawner
from orchestrator.system.tree import Orphan, children_of_our_session, descendants, reap_orphans

logger = logging.getLogger(__name__)

_ACKNOWLEDGE_S = 1.0
_SHIM_RETRY_S = 1.0
_QUIT_S = 3.0
_KEPT_ENDS = 200
_DEAD_S = 0.5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every start takes from around the stack."""

    environ: Mapping[str, str]
    """The environment of `up`, which services inherit."""
    secrets: Mapping[str, str]
    python: str
    """The interpreter that runs the orchestrator."""
    umask: int | None = None
    """The services' umask: that of `up`. The supervisor's own is narrower."""
    nofile: tuple[int, int] | None = None
    """The services' soft and hard limit of descriptors: those of `up`. None: the supervisor's."""
    tiers: Mapping[str, bool] = field(default_factory=dict)
    """Fast paths that are switched off are false here."""
    failpoints: Mapping[str, str] = field(default_factory=dict)


class Shepherd:
    """One stack's shims. Only the supervisor's loop and its own callbacks change the units."""

    def __init__(
        self, supervisor: Supervisor, spawner: Spawner, around: Surroundings, tasks: TaskGroup
    ) -> None:
        self._supervisor = supervisor
        self._spawner = spawner
        self._around = around
        self._tasks = tasks
        self._hosts = Hosts()
        self._closing = False
        self._ended: deque[Orphan] = deque(maxlen=_KEPT_ENDS)

    # Orders.

    def spawn(self, unit: Unit, run: int) -> None:
        """Have the unit's shim start the run; raise the shim first if it has none."""
        try:
            launched = self.launch(unit, run)
        except OrchestratorError as error:
            self._tell(unit, news.SpawnRefused(run, error.message, permanent=True))
            return
        unit.command = launched.argv
        unit.note = None
        operation = self._start_operation(unit, run, launched)
        if unit.shim is not None and not unit.shim.closed.is_set():
            unit.shim.send(operation)
            return
        unit.wanted_op = operation
        self._raise_shim(unit)

    def launch(self, unit: Unit, run: int) -> Launch:
        """Return the command, environment and folder of a run, with everything replaced.

        Raises:
            OrchestratorError: something it needs is not there (yet).
        """
        supervisor = self._supervisor
        chosen = self.choose(unit)
        return launch(
            supervisor.project,
            unit.service,
            chosen,
            environ=self._around.environ,
            port=unit.port,
            secrets=self._around.secrets,
            facts={
                name: supervisor.units[name].facts
                for name in unit.service.depends_on
                if name in supervisor.units
            },
            python=self._around.python,
            state_dir=str(supervisor.places.state_dir),
            cookie=f"{supervisor.places.stack_id}/{unit.name}/{run}",
        )

    def choose(self, unit: Unit, *, before_needs: bool = False) -> Chosen:
        """Note which alternative of its `run` the unit takes.

        ``before_needs``: what it depends on has not been started yet.

        Raises:
            ProgramMissing: none of them can be taken.
        """
        unit.chosen = choose(
            self._supervisor.project,
            unit.service,
            self._around.environ,
            self._hosts.known,
            before_needs=before_needs,
        )
        return unit.chosen

    async def ask_hosts(self, units: Iterable[Unit]) -> None:
        """Ask anew what the units' `dotnet` programs have; nothing is asked where none is run."""
        project, environ = self._supervisor.project, self._around.environ
        asked = [one for unit in units for one in dotnet_of(project, unit.service, environ)]
        if asked:
            self._hosts.forget()
            # Each has seconds to answer: not in the loop.
            await anyio.to_thread.run_sync(self._ask_each, asked)

    async def recall(self, units: Iterable[Unit]) -> None:
        """Note which alternative running units were started as, if the machine is as it was."""
        known = [unit for unit in units if not unit.removed]
        await self.ask_hosts(known)
        for unit in known:
            with contextlib.suppress(OrchestratorError):
                self.choose(unit)

    def _ask_each(self, asked: Iterable[tuple[str, Mapping[str, str]]]) -> None:
        for program, environ in asked:
            self._hosts.ask(program, environ)

    def terminate(self, unit: Unit, run: int) -> None:
        """Send the stop signal; a shim that does not confirm is passed over."""
        self._order(unit, run, {"op": "signal", "run": run, "signal": unit.service.stop.signal})

    def kill(self, unit: Unit, run: int) -> None:
        """KILL the run's tree until it is empty."""
        self._order(unit, run, {"op": "kill", "run": run})

    def tree(self, unit: Unit) -> set[int]:
        """Return the pids of the unit's live processes; empty when there is none."""
        found: set[int] = set()
        if unit.shim is not None:
            found |= set(descendants(unit.shim.pid))
        if unit.status.pid is not None:
            # After a shim's death the new one is no ancestor of what it adopted.
            found |= {unit.status.pid, *descendants(unit.status.pid)}
        return found

    def ours(self) -> set[int]:
        """Return the pids of all live processes of the stack's services."""
        return {pid for unit in self._supervisor.units.values() for pid in self.tree(unit)}

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
        shim = await self._reach_shim(unit)
        if shim is None:
            return False
        self._greet(unit, shim)
        run = shim.hello.get("run")
        status = unit.status
        if run is not None:
            if status.run != run["run"]:
                unit.status = replace(Status(), run=run["run"], restarts=status.restarts)
            self._note_live(unit, run)
            self._tell(unit, news.Resumed(run["pid"]))
            return True
        self._tell(unit, news.Resumed(None))
        if status.alive:
            # A shim greets nobody between telling an end and recording it: so it is there now.
            self._missed_end(unit, status, _read_json(service_dir / "exit.json"))
        else:
            unit.status = replace(status, run=max(status.run, int(shim.hello["last_run"])))
        return True

    def _missed_end(self, unit: Unit, status: Status, recorded: Mapping[str, Any]) -> None:
        if recorded.get("run") == status.run:
            self._exited(unit, recorded)
        elif status.pid is None:
            self._tell(unit, interrupted(status.run))
        # Otherwise the shim learns how it ended, and says so next.

    async def _reach_shim(self, unit: Unit) -> Shim | None:
        service_dir = self._supervisor.places.service_dir(unit.name)

        def on_event(message: dict[str, Any]) -> None:
            self._heard(unit, message)

        try:
            return await connect_shim(str(service_dir), on_event)
        except ShimUnreachable:
            pass
        if not any((service_dir / name).exists() for name in ("service.json", "exit.json")):
            return None
        return await self._spawner.shim(self._request(unit), on_event)

    # Shims.

    def _raise_shim(self, unit: Unit) -> None:
        if not unit.raising_shim:
            unit.raising_shim = True
            self._tasks.start_soon(self._raise_and_greet, unit)

    async def _raise_and_greet(self, unit: Unit) -> None:
        def on_event(message: dict[str, Any]) -> None:
            self._heard(unit, message)

        try:
            shim = await self._spawner.shim(self._request(unit), on_event)
        except (OSError, OrchestratorError) as error:
            unit.raising_shim = False
            await self._shim_refused(unit, str(error))
            return
        unit.raising_shim = False
        self._greet(unit, shim)
        run = shim.hello.get("run")
        if run is not None and run["run"] == unit.status.run:
            # The shim before had carried the order out: given again, it would be a second one.
            unit.wanted_op = None
            if unit.status.pid is None:
                self._note_live(unit, run)
                self._tell(unit, news.Spawned(run["run"], run["pid"]))
        self._send_wanted(unit, shim)

    async def _shim_refused(self, unit: Unit, problem: str) -> None:
        operation, unit.wanted_op = unit.wanted_op, None
        if operation is not None:
            text = f"cannot start a shim for {unit.name!r}: {problem}"
            self._tell(unit, news.SpawnRefused(operation["run"], text, permanent=False))
            return
        if unit.status.alive and not self._closing:
            logger.error("cannot replace the shim of %s: %s", unit.name, problem)
            await self._supervisor.clock.sleep(_SHIM_RETRY_S)
            self._raise_shim(unit)

    def _send_wanted(self, unit: Unit, shim: Shim) -> None:
        operation, unit.wanted_op = unit.wanted_op, None
        if operation is None:
            return
        if operation["run"] == unit.status.run and unit.status.alive:
            last_run = int(shim.hello["last_run"])
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
        await shim.closed.wait()
        if unit.shim is shim:
            unit.shim = None
            if unit.status.alive and not self._closing:
                logger.warning("the shim of %s ended; it is replaced", unit.name)
                await _until_dead(shim.pid)
                self.reap()
                if unit.status.pid is None and unit.wanted_op is None:
                    unit.wanted_op = self._again(unit)
                self._raise_shim(unit)

    def _again(self, unit: Unit) -> dict[str, Any] | None:
        """Return the start that the dead shim may not have seen; the new one tells if it had."""
        try:
            return self._start_operation(unit, unit.status.run, self.launch(unit, unit.status.run))
        except OrchestratorError:
            return None

    def _request(self, unit: Unit) -> ShimRequest:
        project, places, service = self._supervisor.project, self._supervisor.places, unit.service
        log_path = project.root_dir / service.log
        return ShimRequest(
            stack=project.name,
            service=unit.name,
            service_dir=str(places.service_dir(unit.name)),
            lock_path=str(places.lock_path(unit.name)),
            log_path=str(log_path),
            index_path=str(log_path.parent / ".index" / log_path.name.removesuffix(".log")),
            max_size_bytes=service.logs.max_size_bytes,
            keep=service.logs.keep,
            tiers=dict(self._around.tiers),
            failpoints=dict(self._around.failpoints),
            ended=[one.as_ended() for one in self._ended],
        )

    def _start_operation(self, unit: Unit, run: int, launched: Launch) -> dict[str, Any]:
        service = unit.service
        return {
            "op": "start",
            "run": run,
            "argv": list(launched.argv),
            "env": dict(launched.env),
            "cwd": launched.cwd,
            "umask": self._around.umask,
            "nofile": self._around.nofile,
            "stop_signal": service.stop.signal,
            "spec": {
                "log": service.log,
                "depends_on": {name: one.value for name, one in service.depends_on.items()},
                "stop": {"signal": service.stop.signal, "grace": service.stop.grace_s},
                "success_exit_codes": list(service.success_exit_codes),
                "root_dir": str(self._supervisor.project.root_dir),
            },
        }

    # News.

    def _heard(self, unit: Unit, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "spawned":
                self._note_live(unit, message)
                self._tell(unit, news.Spawned(message["run"], message["pid"]))
            case "refused":
                self._tell(
                    unit,
                    news.SpawnRefused(message["run"], message["text"], message["permanent"]),
                )
            case "exit":
                self._exited(unit, message)
            case "busy":
                self._busy(unit)
            case "signalled" | "killing":
                if unit.acknowledged is not None:
                    unit.acknowledged.set()
            case "stuck":
                self._stuck(unit, message)
            case "log":
                self._logging(unit, message)
            case "traced":
                unit.note = f"its exit is held by a tracer, pid {message['pid']}"
            case _:
                pass

    def _busy(self, unit: Unit) -> None:
        if unit.status.state is State.STARTING and unit.status.pid is None:
            text = f"an earlier run of {unit.name!r} is not over yet"
            self._tell(unit, news.SpawnRefused(unit.status.run, text, permanent=False))

    def _exited(self, unit: Unit, message: Mapping[str, Any]) -> None:
        run, code, signal_number = message["run"], message.get("code"), message.get("signal")
        live, unit.live = unit.live, None
        well = code is not None and code in unit.service.success_exit_codes
        said = "" if well else self._last_words(unit, live, message)
        left = _leftovers(message.get("leftovers") or ())
        self._tell(
            unit,
            news.Exited(
                run,
                code=code,
                signal=signal_number,
                port_owner=None if well else self._foreign_holder(unit),
                text="; ".join(text for text in (said, left) if text),
            ),
        )

    def _last_words(self, unit: Unit, live: LiveRun | None, message: Mapping[str, Any]) -> str:
        """Return the reason that the run itself wrote; nothing of one that was asked to end."""
        end = message.get("log_offset")
        if live is None or end is None or unit.status.state is State.STOPPING:
            return ""
        return reason_of(
            self._supervisor.project.root_dir / unit.service.log, live.log_offset, int(end)
        )

    def _foreign_holder(self, unit: Unit) -> str | None:
        if unit.port is None or unit.status.state is State.STOPPING:
            return None
        held = ports.holder(unit.port, self.ours)
        return None if held is None else ports.describe(held)

    def _note_live(self, unit: Unit, run: Mapping[str, Any]) -> None:
        wall = run.get("wall", run.get("started_wall", 0.0))
        unit.live = LiveRun(int(run["run"]), float(wall), int(run["log_offset"]))
        unit.log_groups = {}
        unit.url = None

    def _stuck(self, unit: Unit, message: Mapping[str, Any]) -> None:
        pids = ", ".join(str(pid) for pid in message["pids"])
        unit.note = f"cannot be killed yet: pid {pids}"
        self._supervisor.bus.publish(
            {"type": "warning", "text": f"{unit.name}: {unit.note}", "service": unit.name}
        )

    def _logging(self, unit: Unit, message: Mapping[str, Any]) -> None:
        unit.logging_problem = message.get("problem")
        text = (
            f"{unit.name}: its log can't be written ({unit.logging_problem}); nothing is lost, "
            "the service waits when its pipe is full"
            if unit.logging_problem
            else f"{unit.name}: its log is written again"
        )
        logger.warning("%s", text)
        self._supervisor.bus.publish({"type": "warning", "text": text, "service": unit.name})

    # Shims that do not answer.

    def _order(self, unit: Unit, run: int, operation: dict[str, Any]) -> None:
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
            if unit.shim is not None and not unit.shim.closed.is_set():
                self._signal_directly(unit, operation)
                unit.shim.send(operation)
            elif unit.shim is None:
                self._raise_shim(unit)

    def _is_due(self, unit: Unit, run: int, acknowledged: anyio.Event) -> bool:
        """Whether the order is still the newest one, and its run still alive."""
        newest = unit.acknowledged is acknowledged and not acknowledged.is_set()
        return newest and unit.status.run == run and unit.status.alive and not self._closing

    def _signal_directly(self, unit: Unit, operation: Mapping[str, Any]) -> None:
        unit.note = f"its shim, pid {unit.shim.pid if unit.shim else '?'}, does not answer"
        number = signal.SIGKILL if operation["op"] == "kill" else int(operation["signal"])
        for pid in self.tree(unit):
            try:
                fd = os.pidfd_open(pid)
            except OSError:
                continue
            try:
                # Opened first, then checked: a pid that came to mean another process is let be.
                if pid in self.tree(unit):
                    signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                pass
            finally:
                os.close(fd)

    # The end.

    async def dismiss(self) -> None:
        """Let every shim end, bounded; then let go of the held outputs."""
        self._closing = True
        shims = [unit.shim for unit in self._supervisor.units.values() if unit.shim is not None]
        for shim in shims:
            shim.send({"op": "quit"})
        with anyio.move_on_after(_QUIT_S):
            for shim in shims:
                await shim.closed.wait()
        for unit in self._supervisor.units.values():
            if unit.holder_fd >= 0:
                os.close(unit.holder_fd)
                unit.holder_fd = -1

    def _tell(self, unit: Unit, event: news.Event) -> None:
        self._supervisor.tell(unit.name, event)


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


def _leftovers(found: Sequence[Sequence[object]]) -> str:
    if not found:
        return ""
    shown = ", ".join(f"{comm} (pid {pid})" for comm, pid in list(found)[:5])
    return (
        f"it left {shown} behind, which was killed; "
        "if it puts itself into the background, start it in the foreground"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
