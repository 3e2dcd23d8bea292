"""What the supervisor is told to do. Orders; those about a process name its run."""

from dataclasses import dataclass

from orchestrator.core.events import Timer


@dataclass(frozen=True, slots=True)
class CheckDependencies:
    """Say DependenciesReady as soon as they are, perhaps at once."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the program; answer with Spawned or SpawnRefused."""

    run: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send the service's stop signal, then CONT, to the run's group."""

    run: int


@dataclass(frozen=True, slots=True)
class Kill:
    """KILL the run's whole tree until it is empty."""

    run: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Open a timer, in place of one of its kind; the loop adds up to ``jitter`` of it."""

    run: int
    timer: Timer
    after_s: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class StartProbing:
    """Probe the run until it ends."""

    run: int


@dataclass(frozen=True, slots=True)
class StopProbing:
    """Stop probing the run: its end is near or there."""

    run: int


Action = CheckDependencies | Spawn | Terminate | Kill | SetTimer | StartProbing | StopProbing
