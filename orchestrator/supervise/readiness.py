"""Probes of the live runs, and the address that each service is found to have."""

import logging
import random
from collections.abc import Callable
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskGroup

from orchestrator.core import events as news
from orchestrator.discovery.urls import service_url, url_in
from orchestrator.errors import OrchestratorError
from orchestrator.logs.tail import RunOutput
from orchestrator.spec.model import Health, Mcp, McpAuth
from orchestrator.spec.template import Template
from orchestrator.supervise.launching import Launching
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import Unit
from orchestrator.supervise.view import timestamp
from orchestrator.system.listeners import Listeners
from orchestrator.system.mcp_probe import McpAsked, McpServer
from orchestrator.system.probes import ProbeResult
from orchestrator.system.probing import Target, watch
from orchestrator.system.procstate import holding_back
from orchestrator.system.spawner import Spawner

logger = logging.getLogger(__name__)

_LOOK_FIRST_S = 0.05
_LOOK_MAX_S = 2.0


class Readiness:
    """Watches the runs that it is told to watch, and tells the supervisor what it finds."""

    def __init__(
        self,
        supervisor: Supervisor,
        launching: Launching,
        spawner: Spawner,
        listeners: Listeners,
        rng: random.Random,
        tasks: TaskGroup,
        show: Callable[[Unit, str], None],
    ) -> None:
        self._supervisor = supervisor
        self._launching = launching
        self._spawner = spawner
        self._listeners = listeners
        self._rng = rng
        self._tasks = tasks
        self._show = show

    def start(self, unit: Unit, run: int) -> None:
        """Probe the run until told to stop."""
        self.stop(unit, run)
        unit.probing = anyio.CancelScope()
        self._tasks.start_soon(self._probe, unit, run, unit.probing)

    def stop(self, unit: Unit, run: int) -> None:  # noqa: ARG002  one shape for every order
        """Stop probing the unit; does nothing when it is not probed."""
        if unit.probing is not None:
            unit.probing.cancel()
            unit.probing = None

    async def _probe(self, unit: Unit, run: int, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                target = self._target(unit)
            except OrchestratorError as error:
                self._tell(unit, news.BecameUnhealthy(run, error.message))
                return
            await watch(
                target,
                self._supervisor.clock,
                self._rng,
                report=lambda result: self._report(unit, result),
                healthy=lambda: self._healthy(unit, run),
                unhealthy=lambda text: self._unhealthy(unit, run, text),
            )

    def _target(self, unit: Unit) -> Target:
        launched = self._launching.launch(unit, unit.status.run)
        target = Target.of(
            unit.name,
            unit.service.health or Health(),
            port=unit.port,
            render=launched.render,
            listeners=self._listeners,
            tree=lambda: unit.pids(),
            run_exec=self._spawner.run_probe,
            new_lines=self._output(unit).new_lines,
            env=launched.env,
            cwd=launched.cwd,
        )
        target.mcp = self._mcp_server(unit, launched.render)
        target.find_port = lambda: self._find_port(unit)
        return target

    def _mcp_server(self, unit: Unit, render: Callable[[Template], str]) -> McpServer | None:
        asked = unit.service.health.mcp if unit.service.health else None
        if asked is None:
            return None
        entry = unit.service.mcp or Mcp(name=unit.name)
        auth = entry.auth or McpAuth()
        found = McpAsked(
            path=render(asked.path or entry.path),
            tools=asked.tools,
            client_id=rendered(auth.client_id, render) or "orchestrator",
            api_key=rendered(auth.api_key, render),
        )
        return McpServer(found, self._supervisor.clock)

    def _output(self, unit: Unit) -> RunOutput:
        log_path = self._supervisor.project.root_dir / unit.service.log
        return RunOutput(log_path, unit.live.log_offset if unit.live else 0)

    def _report(self, unit: Unit, result: ProbeResult) -> None:
        before = unit.last_probe
        unit.last_probe = {
            "kind": result.kind,
            "at": timestamp(self._supervisor.clock.wall()),
            "ok": result.ok,
            "text": result.text,
            "duration_s": round(result.duration_s, 6),
        }
        unit.log_groups.update(result.groups)
        news_worthy = before is None or before["ok"] != result.ok
        if news_worthy or (not result.ok and before is not None and before["text"] != result.text):
            self._show(unit, result.text)

    def _healthy(self, unit: Unit, run: int) -> None:
        unit.note = None
        self.learn_url(unit)
        self._tell(unit, news.BecameHealthy(run))

    def _unhealthy(self, unit: Unit, run: int, text: str) -> None:
        held = holding_back(unit.status.pid) if unit.status.pid is not None else None
        unit.note = held
        self._tell(unit, news.BecameUnhealthy(run, text, held))

    # Addresses.

    def learn_url(self, unit: Unit) -> None:
        """Find out the unit's URL: what the file says, what it logged, where its tree listens."""
        if unit.url is not None or not self._has_address(unit):
            return
        tree = unit.pids()
        hosts = self._listeners.hosts_of(tree, unit.port)
        if unit.port is not None:
            if hosts or self._needs_no_proof(unit):
                unit.url = service_url(unit.port, hosts)
                self._compare_logged(unit)
            return
        unit.url = self._found_url(unit, tree)

    def _found_url(self, unit: Unit, tree: set[int]) -> str | None:
        """Return where a service that is given no port is found: as it says, or as it listens."""
        logged = next(
            (url for line in self._output(unit).new_lines() if (url := url_in(line))), None
        )
        if logged is not None and self._is_own(logged, tree):
            return logged
        port = min(self._listeners.ports_of(tree), default=None)
        return None if port is None else service_url(port, self._listeners.hosts_of(tree, port))

    def _find_port(self, unit: Unit) -> int | None:
        """Return where to probe now; while it starts it may yet listen somewhere else."""
        url = unit.url or self._found_url(unit, unit.pids())
        return None if url is None else urlsplit(url).port

    def look_for_url(self, unit: Unit, run: int) -> None:
        """Go on looking for the URL of a service that listens later than it counts as running."""
        if unit.url is None and self._has_address(unit):
            self._tasks.start_soon(self._look, unit, run)

    async def _look(self, unit: Unit, run: int) -> None:
        wait_s = _LOOK_FIRST_S
        while unit.status.run == run and unit.status.alive and unit.url is None:
            self.learn_url(unit)
            if unit.url is not None:
                self._show(unit, f"found at {unit.url}")
                return
            await self._supervisor.clock.sleep(wait_s)
            wait_s = min(_LOOK_MAX_S, wait_s * 1.5)

    @staticmethod
    def _needs_no_proof(unit: Unit) -> bool:
        """Whether a URL may be told although the service was not seen to listen.

        It leads somewhere and no credentials go there: what is published waits for the proof.
        """
        health = unit.service.health
        return unit.service.mcp is None or (health is not None and health.listener == "any")

    def _is_own(self, url: str, tree: set[int]) -> bool:
        """Whether the service itself listens there: what it logs may be anybody's address."""
        return urlsplit(url).port in self._listeners.ports_of(tree)

    def _has_address(self, unit: Unit) -> bool:
        return unit.port is not None or unit.service.mcp is not None or unit.service.has_probe

    def _compare_logged(self, unit: Unit) -> None:
        logged = next(
            (url for line in self._output(unit).new_lines() if (url := url_in(line))), None
        )
        if logged is not None and f":{unit.port}" not in logged:
            unit.note = f"it logs {logged}, but services.yaml says port {unit.port}"

    def _tell(self, unit: Unit, event: news.Event) -> None:
        self._supervisor.tell(unit.name, event)


def rendered(template: Template | None, render: Callable[[Template], str]) -> str | None:
    """Return the text of a template, or None where there is none."""
    return None if template is None else render(template)
