"""Publishing ready MCP servers in config.json, and again when another tool wrote an old copy."""

import logging
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator.core.status import State
from orchestrator.discovery.publish import Entry, Published, needs_republish, publish
from orchestrator.discovery.urls import join
from orchestrator.errors import OrchestratorError
from orchestrator.supervise.launching import Launching
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import Unit
from orchestrator.supervise.view import is_well

logger = logging.getLogger(__name__)

_LOOK_S = 5.0


class Publication:
    """Keeps config.json true. One write at a time; nothing that goes wrong here stops a service.

    ``names`` are those whose entries stood in the file when it was last looked at.
    """

    def __init__(self, supervisor: Supervisor, launching: Launching) -> None:
        self._supervisor = supervisor
        self._launching = launching
        self._entries: dict[str, Entry] = {}
        self._lock = anyio.Lock()
        self._news = anyio.Event()
        self.warnings: tuple[str, ...] = ()
        self.names: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where config.json is."""
        return self._supervisor.project.root_dir / self._supervisor.project.config.path

    def note(self, unit: Unit) -> None:
        """Publish the unit's entry soon, if it is ready and has one that is new."""
        entry = self._entry(unit)
        if entry is not None and self._entries.get(unit.name) != entry:
            self._entries[unit.name] = entry
            self._news.set()

    async def serve(self) -> None:
        """Publish what is noted, and look after it every few seconds; until cancelled."""
        while True:
            with anyio.move_on_after(_LOOK_S):
                await self._news.wait()
            if self._news.is_set():
                self._news = anyio.Event()
                await self.publish()
            elif self._entries and await self._is_gone():
                self._warn((f"{self.path}: our entry was gone; it is written again",))
                await self.publish()

    async def publish(self) -> Published:
        """Write every entry that is known now; what can't be written is told as warnings."""
        async with self._lock:
            entries = tuple(self._entries.values())
            if not entries:
                return Published(changed=False, warnings=())
            # Not cancelled half-way: the file is replaced whole, but its temporary would be left.
            result = await anyio.to_thread.run_sync(publish, self.path, entries)
        self._warn(result.warnings)
        self.names = tuple(entry.name for entry in entries) if result.stands else ()
        if result.changed:
            for entry in entries:
                self._supervisor.bus.publish(
                    {"type": "published", "name": entry.name, "path": str(self.path)}
                )
        return result

    async def _is_gone(self) -> bool:
        entries = tuple(self._entries.values())
        return await anyio.to_thread.run_sync(needs_republish, self.path, entries)

    def _warn(self, warnings: tuple[str, ...]) -> None:
        if warnings and warnings != self.warnings:
            for text in warnings:
                logger.warning("%s", text)
                self._supervisor.bus.publish({"type": "warning", "text": text})
        self.warnings = warnings

    def _entry(self, unit: Unit) -> Entry | None:
        mcp = unit.service.mcp
        if mcp is None or unit.url is None or not is_well(unit):
            return None
        if unit.status.state is not State.RUNNING:
            return None
        try:
            render = self._launching.launch(unit, unit.status.run).render
        except OrchestratorError as error:
            self._warn((f"{unit.name} cannot be published: {error.message}",))
            return None
        auth = mcp.auth
        return Entry(
            name=mcp.name,
            url=join(unit.url, render(mcp.path)),
            client_id=render(auth.client_id) if auth and auth.client_id else None,
            api_key=render(auth.api_key) if auth and auth.api_key else None,
        )
