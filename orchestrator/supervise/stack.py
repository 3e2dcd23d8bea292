"""A whole stack put together: the loop, its hands, and what is shown of it."""

import json
import logging
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from orchestrator.core import events as news
from orchestrator.core.ports import Clock
from orchestrator.core.status import State, Status
from orchestrator.logs.redact import Redactor
from orchestrator.spec.model import Project, Service
from orchestrator.supervise import view
from orchestrator.supervise.bus import Message
from orchestrator.supervise.journal import Journal
from orchestrator.supervise.launching import Launching, Surroundings
from orchestrator.supervise.operations import Operations
from orchestrator.supervise.places import Places
from orchestrator.supervise.publication import Publication
from orchestrator.supervise.readiness import Readiness
from orchestrator.supervise.shepherd import Shepherd, interrupted
from orchestrator.supervise.supervisor import Hands, Supervisor
from orchestrator.supervise.unit import Unit
from orchestrator.system import ports
from orchestrator.system.identity import become_subreaper, boot_id
from orchestrator.system.listeners import Listeners
from orchestrator.system.secrets import warnings as secret_warnings
from orchestrator.system.spawner import Spawner
from orchestrator.system.usage import Usage, UsageMeter

logger = logging.getLogger(__name__)


class Stack:
    """The running stack as the control API sees it."""

    def __init__(
        self,
        supervisor: Supervisor,
        launching: Launching,
        publication: Publication,
        redact: Callable[[str], str],
        file_signature: object,
        warnings: Sequence[str] = (),
    ) -> None:
        self.supervisor = supervisor
        self.operations = Operations(supervisor, launching)
        self.publication = publication
        self._redact = redact
        self._meter = UsageMeter()
        self._file_signature = file_signature
        self._warnings = tuple(warnings)

    def snapshot(self) -> Message:
        """Return the stack and all its services as `ps --format json` does, and a little more."""
        supervisor = self.supervisor
        self._meter.forget_dead()
        return {
            "schema": view.SCHEMA,
            "stack": supervisor.project.name,
            "pid": os.getpid(),
            "file": str(supervisor.project.file),
            "file_changed": signature(supervisor.project.file) != self._file_signature,
            "config_path": supervisor.project.config.path,
            "published": self.publication.names,
            "warnings": [*self._warnings, *self.publication.warnings],
            "services": [
                self.item(unit, self._meter.usage(unit.pids()))
                for unit in supervisor.units.values()
            ],
        }

    def item(self, unit: Unit, usage: Usage | None = None) -> dict[str, Any]:
        """Return one service as `ps --format json` does."""
        supervisor = self.supervisor
        return view.item(
            unit,
            now=supervisor.clock.monotonic(),
            wall=supervisor.clock.wall(),
            waiting=supervisor.waiting(unit),
            usage=usage,
            log_file=unit.service.log,
            redact=self._redact,
        )

    def changed(self, unit: Unit, before: Status) -> None:
        """Publish a change of status."""
        after = unit.status
        text = after.cause.text if after.cause is not None and after.cause != before.cause else ""
        self.show(unit, text, before.state.value)
        if after.state is not before.state:
            logger.info(
                "%s: %s → %s%s",
                unit.name,
                before.state.value,
                after.state.value,
                f": {self._redact(text)}" if text else "",
            )

    def show(self, unit: Unit, text: str = "", before: str | None = None) -> None:
        """Publish a unit as it is now."""
        self.supervisor.bus.publish(
            {
                "type": "service",
                "item": self.item(unit),
                "before": before or unit.status.state.value,
                "after": unit.status.state.value,
                "text": self._redact(text),
            }
        )


def signature(path: Path) -> tuple[int, int, int] | None:
    """Return what tells a file's content has not been replaced; None when it can't be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@asynccontextmanager
async def running(
    project: Project, places: Places, around: Surroundings, clock: Clock, rng: random.Random
) -> AsyncIterator[Stack]:
    """Take over what an earlier supervisor left, then run the loop inside the block.

    On leaving, the loop has ended: either the stack was asked to end and nothing of it is alive,
    or the block was cancelled, and everything runs on for the next supervisor.
    """
    become_subreaper()
    journal = Journal(places.journal_path, boot_id())
    supervisor = Supervisor(project, places, journal, clock, rng)
    kept = journal.read()
    _add_removed(supervisor, places)
    for name in supervisor.units:
        if name in kept:
            supervisor.restore(name, kept[name])
    _draw_ports(supervisor, rng)
    journal.rewrite(supervisor.kept())
    async with Spawner.start(around.nofile) as spawner, anyio.create_task_group() as tasks:
        launching = Launching(supervisor, around)
        shepherd = Shepherd(supervisor, spawner, launching, tasks)
        publication = Publication(supervisor, launching)
        redactor = Redactor(tuple(around.secrets.values()))
        stack = Stack(
            supervisor,
            launching,
            publication,
            redactor.text,
            signature(project.file),
            secret_warnings(around.secrets),
        )
        listeners = Listeners(clock, sock_diag=around.tiers.get("sock_diag", True))

        def show(unit: Unit, text: str) -> None:
            stack.show(unit, text)
            publication.note(unit)

        readiness = Readiness(supervisor, launching, spawner, listeners, rng, tasks, show)
        await launching.recall([one for one in supervisor.units.values() if one.status.alive])
        await _take_over(supervisor, shepherd)
        tasks.start_soon(_reap_orphans, shepherd)
        tasks.start_soon(publication.serve)
        hands = _hands(shepherd, readiness, publication, stack)

        async def serve() -> None:
            await supervisor.serve(hands, tasks)
            supervisor.bus.publish({"type": "stack", "state": "stopped"})
            supervisor.bus.close()

        tasks.start_soon(serve)
        try:
            yield stack
        finally:
            with anyio.CancelScope(shield=True):
                if supervisor.ending and supervisor.all_at_rest:
                    await shepherd.dismiss()
                    _clear(places, supervisor.units)
            journal.close()
            tasks.cancel_scope.cancel()


def _hands(
    shepherd: Shepherd,
    readiness: Readiness,
    publication: Publication,
    stack: Stack,
) -> Hands:
    def changed(unit: Unit, before: Status) -> None:
        after = unit.status
        if after.state is State.RUNNING and before.state is not State.RUNNING:
            readiness.look_for_url(unit, after.run)
        stack.changed(unit, before)
        publication.note(unit)

    return Hands(
        spawn=shepherd.spawn,
        terminate=shepherd.terminate,
        kill=shepherd.kill,
        start_probing=readiness.start,
        stop_probing=readiness.stop,
        changed=changed,
    )


async def _take_over(supervisor: Supervisor, shepherd: Shepherd) -> None:
    async with anyio.create_task_group() as tasks:
        for unit in tuple(supervisor.units.values()):
            tasks.start_soon(_take_over_one, supervisor, shepherd, unit)


async def _take_over_one(supervisor: Supervisor, shepherd: Shepherd, unit: Unit) -> None:
    try:
        found = await shepherd.take_over(unit)
    except Exception:
        # The outer guard: one folder that can't be understood must not stop all the others.
        logger.exception("cannot take over %s", unit.name)
        found = False
    if not found and not unit.status.state.at_rest:
        supervisor.tell(unit.name, news.Resumed(None))
        if unit.status.alive and unit.status.pid is None:
            supervisor.tell(unit.name, interrupted(unit.status.run))
        elif unit.status.alive:
            text = "it was lost together with its shim"
            supervisor.tell(unit.name, news.Exited(unit.status.run, text=text))


def _add_removed(supervisor: Supervisor, places: Places) -> None:
    """Add the services that run and that services.yaml names no more, so that they can be ended."""
    for folder in sorted(places.runtime_dir.iterdir()) if places.runtime_dir.is_dir() else ():
        if folder.name in supervisor.units or not (folder / "service.json").is_file():
            continue
        service = recorded_service(folder)
        if service is not None:
            supervisor.adopt_unknown(Unit(service, removed=True))


def recorded_service(service_dir: Path) -> Service | None:
    """Return as much of a service as its shim recorded: how to stop it, where it logs."""
    try:
        spec: Mapping[str, Any] = json.loads((service_dir / "service.json").read_bytes())["spec"]
        return Service.model_validate(
            {
                "name": service_dir.name,
                "run": [{"command": [service_dir.name]}],
                "log": spec["log"],
                "stop": spec["stop"],
                "depends_on": spec["depends_on"],
                "success_exit_codes": spec["success_exit_codes"],
                "restart": {"policy": "no"},
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _draw_ports(supervisor: Supervisor, rng: random.Random) -> None:
    """Give every service its port: the one it had, the one of the file, or a free one."""
    units = supervisor.units.values()
    taken = {unit.port for unit in units if unit.port is not None}
    taken |= {unit.service.port for unit in units if isinstance(unit.service.port, int)}
    for unit in supervisor.units.values():
        asked = unit.service.port
        if isinstance(asked, int):
            unit.port = asked
        elif asked == "auto" and unit.port is None:
            unit.port = ports.free_port(taken, rng)
        elif asked is None:
            unit.port = None
        if unit.port is not None:
            taken.add(unit.port)


async def _reap_orphans(shepherd: Shepherd) -> None:
    """Reap what falls to us as a subreaper, and keep how it ended for the shims to come."""
    with anyio.open_signal_receiver(signal.SIGCHLD) as signals:
        async for _ in signals:
            shepherd.reap()


def _clear(places: Places, names: Mapping[str, object] | Sequence[str]) -> None:
    """Remove what a stack that ended leaves in its runtime folder; values to redact stay."""
    for name in names:
        shutil.rmtree(places.service_dir(name), ignore_errors=True)
    for path in (places.control_socket_path, places.journal_path):
        path.unlink(missing_ok=True)
