"""Where a stack keeps its files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one stack; both exist, are ours, and are 0700."""

    stack_id: str
    """The first 12 hex digits of the SHA-256 of services.yaml's real path."""
    state_dir: Path
    """Outlives a reboot: locks, generated secrets, the plan."""
    runtime_dir: Path
    """Lives with the boot: sockets, FIFOs, identities, the journal of states."""

    def service_dir(self, name: str) -> Path:
        """Return the runtime folder of one service."""
        return self.runtime_dir / name

    def lock_path(self, name: str) -> Path:
        """Return the lock that a service's shim holds."""
        return self.state_dir / "locks" / f"{name}.lock"

    @property
    def control_socket_path(self) -> Path:
        """The socket of the control API."""
        return self.runtime_dir / "control.sock"

    @property
    def journal_path(self) -> Path:
        """The newest status of each service, a JSON line a change."""
        return self.runtime_dir / "state.json"

    @property
    def redact_path(self) -> Path:
        """The values that must not be shown."""
        return self.runtime_dir / "redact.json"

    @property
    def plan_path(self) -> Path:
        """Name and log files of the services, for `logs` without a supervisor."""
        return self.state_dir / "plan.json"
