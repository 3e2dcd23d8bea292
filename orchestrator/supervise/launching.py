"""What a run is started with: the alternative, everything replaced, and the order for its shim."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread

from orchestrator.errors import OrchestratorError
from orchestrator.spec.launch import Chosen, Launch, launch
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import Unit
from orchestrator.system.dotnet_host import Hosts
from orchestrator.system.requirements import choose, dotnet_of
from orchestrator.system.spawner import ShimRequest
from orchestrator.system.tree import Orphan


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


class Launching:
    """Turns services into what shims are told, with what is around the stack."""

    def __init__(self, supervisor: Supervisor, around: Surroundings) -> None:
        self._supervisor = supervisor
        self._around = around
        self._hosts = Hosts()

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

    def order(self, unit: Unit, run: int, launched: Launch) -> dict[str, Any]:
        """Return the order to start a run, as a shim takes it."""
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

    def request(self, unit: Unit, ended: Iterable[Orphan]) -> ShimRequest:
        """Return what a new shim of the unit is told; ``ended``: what was reaped in its place."""
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
            ended=[one.as_ended() for one in ended],
        )
