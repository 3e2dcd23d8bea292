"""What happened to a service. Past tense; news of a process names its run."""

from dataclasses import dataclass
from enum import StrEnum


class Timer(StrEnum):
    """The timers a service can have open; setting one again replaces it."""

    RETRY = "retry"
    START_TIMEOUT = "start-timeout"
    KILL = "kill"
    FORGIVE = "forgive"


@dataclass(frozen=True, slots=True)
class StartRequested:
    """Somebody wants it up; forgets all failures."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants it down; with ``grace_s`` in place of its own, if given; 0 kills at once."""

    grace_s: float | None = None


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """Somebody wants a new run, after the old tree is empty; forgets all failures."""

    grace_s: float | None = None


@dataclass(frozen=True, slots=True)
class DependenciesReady:
    """All that it depends on is as it should be."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """This status was kept by an earlier supervisor and is taken over: timers and probes are gone.

    ``pid`` is the live main process of the status' run, None if that run is not alive or unknown.
    ``started_at`` is when it was spawned, for a status that does not know.
    """

    pid: int | None
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Spawned:
    """The program runs."""

    run: int
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnRefused:
    """The program could not be started. ``permanent``: nothing but a change of files mends it."""

    run: int
    text: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class BecameHealthy:
    """All its probes passed."""

    run: int


@dataclass(frozen=True, slots=True)
class BecameUnhealthy:
    """Its probes failed often enough. ``held``: why it must not be restarted for it, if so."""

    run: int
    text: str
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Exited:
    """The run is over: the main process ended and its tree is empty.

    ``code`` or ``signal`` tells how; both None when it could not be learnt. ``port_owner`` names a
    foreign holder of its port, found when it ended. ``text`` adds to the cause (leftovers, OOM).
    """

    run: int
    code: int | None = None
    signal: int | None = None
    port_owner: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that ``step`` asked for ran out."""

    run: int
    timer: Timer


Event = (
    StartRequested
    | StopRequested
    | RestartRequested
    | DependenciesReady
    | Resumed
    | Spawned
    | SpawnRefused
    | BecameHealthy
    | BecameUnhealthy
    | Exited
    | TimerFired
)
