"""What people ask of a running stack, as calls that return when it is done."""

from collections.abc import Callable, Iterable, Sequence

from orchestrator.core import events as news
from orchestrator.core.status import State
from orchestrator.errors import PortInUse, StackEnding
from orchestrator.supervise.launching import Launching
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import Unit
from orchestrator.system import ports

_IDLE = {State.STOPPED, State.EXITED, State.FAILED}


class Operations:
    """Start, stop and restart, for the control API. Each returns once its promise is kept."""

    def __init__(self, supervisor: Supervisor, launching: Launching) -> None:
        self._supervisor = supervisor
        self._launching = launching

    async def up(self, names: Sequence[str], *, no_deps: bool = False) -> None:
        """Start what is stopped, exited or failed among the named ones; none named means all.

        What is being stopped is started again as soon as it is down.

        Raises:
            UnknownService: a name is not of this stack; nothing is started.
            ProgramMissing: no alternative of a `run` can be taken; nothing is started.
            PortInUse: a port is held by somebody else; nothing is started.
        """
        wanted = self._with_needs(names or list(self._supervisor.units), no_deps=no_deps)
        await self._begin([unit for unit in wanted if _is_idle(unit)], no_deps=no_deps)

    async def start(self, names: Sequence[str], *, no_deps: bool = False) -> None:
        """Start the named services and what they need; return when each is spawned or waits.

        A service that is at rest or in backoff is started afresh; one that runs goes on.

        Raises:
            UnknownService: a name is not of this stack; nothing is started.
            ProgramMissing: no alternative of a `run` can be taken; nothing is started.
            PortInUse: a port is held by somebody else; nothing is started.
        """
        named = {self._supervisor.unit(name).name for name in names}
        wanted = self._with_needs(names, no_deps=no_deps)
        due = [unit for unit in wanted if unit.name in named or _is_idle(unit)]
        await self._begin(due, no_deps=no_deps)
        await self._until(named, self._has_begun)

    async def stop(self, names: Sequence[str], *, grace_s: float | None = None) -> None:
        """Stop the named services; return when each one's tree is empty.

        Raises:
            UnknownService: a name is not of this stack; nothing is stopped.
        """
        units = [self._supervisor.unit(name) for name in names]
        for unit in units:
            self._supervisor.tell(unit.name, news.StopRequested(grace_s))
        await self._until(names, lambda unit: unit.status.state.at_rest or unit.status.wanted)

    async def restart(
        self, names: Sequence[str], *, grace_s: float | None = None, no_deps: bool = False
    ) -> None:
        """Start a new run of each, after its old tree is empty; return when it is spawned.

        Raises:
            UnknownService: a name is not of this stack; nothing is restarted.
        """
        self._refuse_when_ending()
        before = {name: self._supervisor.unit(name).status.run for name in names}
        for name in names:
            self._supervisor.unit(name).ignores_dependencies = no_deps
            self._supervisor.tell(name, news.RestartRequested(grace_s))

        def is_new(unit: Unit) -> bool:
            if not unit.status.wanted or unit.status.state is State.PENDING:
                return True
            return unit.status.run > before[unit.name] and self._has_begun(unit)

        await self._until(names, is_new)

    def refuse_taken_ports(self, units: Iterable[Unit]) -> None:
        """Look at every port that is about to be needed.

        Raises:
            PortInUse: the first one that somebody else holds, with its owner.
        """
        for unit in units:
            if unit.port is None or unit.status.alive:
                continue
            held = ports.holder(unit.port, self._supervisor.pids)
            if held is not None:
                raise PortInUse(ports.message(unit.name, held), unit.name, unit.port, held.owner)

    async def _begin(self, units: Sequence[Unit], *, no_deps: bool) -> None:
        self._refuse_when_ending()
        await self._launching.ask_hosts(units)
        for unit in units:
            self._launching.choose(unit, before_needs=not no_deps)
        self.refuse_taken_ports(units)
        self._supervisor.begin((unit.name for unit in units), ignore_dependencies=no_deps)
        await self._supervisor.settled()

    def _refuse_when_ending(self) -> None:
        if self._supervisor.ending:
            raise StackEnding("cannot start anything: the stack is being stopped")

    def _with_needs(self, names: Sequence[str], *, no_deps: bool) -> list[Unit]:
        for name in names:
            self._supervisor.unit(name)
        every = names if no_deps else self._supervisor.needed_by(names)
        return [self._supervisor.unit(name) for name in every]

    async def _until(self, names: Iterable[str], reached: Callable[[Unit], bool]) -> None:
        units = [self._supervisor.unit(name) for name in names]
        await self._supervisor.settled()
        await self._supervisor.bus.until(lambda: all(reached(unit) for unit in units))

    @staticmethod
    def _has_begun(unit: Unit) -> bool:
        status = unit.status
        return not (
            status.state is State.STOPPING
            or (status.state is State.STARTING and status.pid is None)
        )


def _is_idle(unit: Unit) -> bool:
    """Whether nobody would start it."""
    status = unit.status
    return status.state in _IDLE or (status.state is State.STOPPING and not status.wanted)
