"""One service as the supervisor holds it: its status, and all that belongs to the live run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from orchestrator.core.events import Timer
from orchestrator.core.status import Status
from orchestrator.spec.launch import Chosen, Facts
from orchestrator.spec.model import Service
from orchestrator.system.shims import Shim
from orchestrator.system.tree import descendants


@dataclass(slots=True)
class LiveRun:
    """What is known of the run that lives now."""

    run: int
    started_wall: float
    log_offset: int
    """Where its output begins, in bytes over all segments of the log."""


@dataclass(slots=True)
class Unit:
    """A service and its hands. Only the supervisor's loop changes one."""

    service: Service
    status: Status = field(default_factory=Status)
    port: int | None = None
    """The port it is given; drawn for `auto`."""
    ignores_dependencies: bool = False
    chosen: Chosen | None = None
    shim: Shim | None = None
    wanted_op: dict[str, Any] | None = None
    """A start that waits for the shim to be there."""
    raising_shim: bool = False
    short_shims: int = 0
    """How many of its shims in a row died young."""
    holder_fd: int = -1
    """A reading end of the service's output that keeps its pipe alive; never read."""
    timers: dict[Timer, anyio.CancelScope] = field(default_factory=dict)
    probing: anyio.CancelScope | None = None
    live: LiveRun | None = None
    last_probe: Mapping[str, Any] | None = None
    url: str | None = None
    log_groups: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    command: tuple[str, ...] = ()
    acknowledged: anyio.Event | None = None
    """Set when the shim confirms the newest signal or kill."""
    removed: bool = False
    """No longer in services.yaml, found running; only stopping it makes sense."""
    logging_problem: str | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    def pids(self) -> set[int]:
        """Return the pids of its live processes; empty when there is none."""
        found: set[int] = set()
        if self.shim is not None:
            found |= set(descendants(self.shim.pid))
        if self.status.pid is not None:
            # After a shim's death the new one is no ancestor of what it adopted.
            found |= {self.status.pid, *descendants(self.status.pid)}
        return found

    @property
    def facts(self) -> Facts:
        """What other services may refer to."""
        return Facts(url=self.url, port=self.port, log=dict(self.log_groups))
