"""What is known about a service now, and the words for it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a service is. There is no other state: what is special stands in the cause."""

    STOPPED = "stopped"
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    COMPLETED = "completed"
    EXITED = "exited"
    FAILED = "failed"

    @property
    def at_rest(self) -> bool:
        """Nothing runs, and nothing is due to."""
        return self in {State.STOPPED, State.COMPLETED, State.EXITED, State.FAILED}


class Health(StrEnum):
    """How well a service is, apart from where it is."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    CHECKING = "checking"
    NONE = "-"


class CauseKind(StrEnum):
    """Why the last run ended, or why there is none."""

    EXIT = "exit"
    SIGNAL = "signal"
    HEALTH = "health"
    TIMEOUT = "timeout"
    SPAWN = "spawn"
    PORT = "port"
    DEPENDENCY = "dependency"
    LIMIT = "limit"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why, in a word and in a sentence; ``run`` is the run that it speaks of (0: none)."""

    kind: CauseKind
    text: str
    run: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """One service as it is now. Only ``step`` makes a new one, only the supervisor's loop keeps it.

    Times are seconds of one monotonic clock that survives the supervisor but not
    through a reboot.
    """

    state: State = State.STOPPED
    wanted: bool = False
    """Asked to be up. While it is false every exit is final."""
    run: int = 0
    """The number of the newest run that was ordered; 0 before the first."""
    pid: int | None = None
    """The main process of ``run``; None when there is none, or it was ordered and not yet seen."""
    alive: bool = False
    """Whether ``run`` has been ordered and has not been seen to end."""
    health: Health = Health.NONE
    since: float = 0.0
    """When ``state`` was entered."""
    started_at: float | None = None
    """When the live run was spawned."""
    failures: tuple[float, ...] = ()
    """When each failure happened that is not forgiven, oldest first; for backoff and limit."""
    never_healthy: int = 0
    """How many runs in a row ended without having been healthy."""
    port_waits: int = 0
    """How many runs in a row ended because somebody else held their port."""
    restarts: int = 0
    """Automatic restarts since the last start by hand."""
    retry_at: float | None = None
    """When a service in backoff is started again."""
    killed_at: float | None = None
    """When KILL was ordered for the live run."""
    ending: Cause | None = None
    """Why the live run is being stopped by us; what its end will be put down to."""
    exit_code: int | None = None
    exit_signal: int | None = None
    """How the last run that ended did; both None when that could not be learnt."""
    cause: Cause | None = None
    """Of the last run that ended; stays while the next one lives."""
