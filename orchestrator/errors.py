"""Every error this package raises on purpose, as one small tree.

```
OrchestratorError            exit 1   a promise could not be kept
├── SpecError                exit 6   services.yaml is wrong; carries every problem
├── ServiceError             exit 1   one named service
│   ├── UnknownService       exit 4   suggests the nearest name
│   ├── ProgramMissing       exit 5   carries what was looked for and where
│   ├── PortInUse            exit 8   carries the owner
│   ├── SpawnFailed                   carries the system's reason
│   └── StopTimeout                   names what is still alive
├── ControlError             exit 4   the supervisor could not be reached
│   ├── NotRunning           exit 7
│   └── ProtocolMismatch              carries both versions
├── WaitTimeout              exit 17  it did not happen in time
└── WaitFailed               exit 18  a service failed while it was waited for
```

Attributes are for code, the text is for people. ``kind`` and the attributes cross the control
socket; the client raises the same class again.
"""

from dataclasses import asdict, dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in services.yaml. ``line`` and ``column`` count from 1; None: not known."""

    file: str
    line: int | None
    column: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.path, self.message) if part)


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Who listens on a port. None where the system does not tell this user."""

    pid: int | None = None
    program: str | None = None
    user: str | None = None
    age_s: float | None = None


@dataclass(eq=True)
class OrchestratorError(Exception):
    """A promise could not be kept. ``str()`` is the message for people."""

    message: str
    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return self.message

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class SpecError(OrchestratorError):
    """services.yaml is missing or invalid; every problem is listed."""

    problems: tuple[Problem, ...] = ()
    kind: ClassVar[str] = "spec"
    exit_code: ClassVar[int] = 6

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class ServiceError(OrchestratorError):
    """Something about one named service."""

    service: str = ""
    kind: ClassVar[str] = "service"

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class UnknownService(ServiceError):
    """No service has this name; ``nearest`` is a suggestion or None."""

    nearest: str | None = None
    kind: ClassVar[str] = "unknown-service"
    exit_code: ClassVar[int] = 4

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class ProgramMissing(ServiceError):
    """A required program is not there; ``looked_for`` and the places that were searched."""

    looked_for: str = ""
    places: tuple[str, ...] = ()
    kind: ClassVar[str] = "program-missing"
    exit_code: ClassVar[int] = 5

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class PortInUse(ServiceError):
    """A port is held by somebody else, seen before the start."""

    port: int = 0
    owner: PortOwner = field(default_factory=PortOwner)
    kind: ClassVar[str] = "port-in-use"
    exit_code: ClassVar[int] = 8

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class SpawnFailed(ServiceError):
    """The system refused to start the program; ``errno`` is its number, 0 if it gave none."""

    errno: int = 0
    kind: ClassVar[str] = "spawn-failed"

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class StopTimeout(ServiceError):
    """A service's processes would not end; ``pids`` are still alive."""

    pids: tuple[int, ...] = ()
    kind: ClassVar[str] = "stop-timeout"

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class ControlError(OrchestratorError):
    """The supervisor could not be reached, or did not answer sensibly."""

    kind: ClassVar[str] = "control"
    exit_code: ClassVar[int] = 4

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class NotRunning(ControlError):
    """No stack of this services.yaml is running."""

    kind: ClassVar[str] = "not-running"
    exit_code: ClassVar[int] = 7

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class StackEnding(ControlError):
    """The stack is being stopped: nothing can be started before it is down."""

    kind: ClassVar[str] = "stack-ending"

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class ProtocolMismatch(ControlError):
    """Client and supervisor speak different versions of the control protocol."""

    ours: int = 0
    theirs: int = 0
    kind: ClassVar[str] = "protocol-mismatch"

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class WaitTimeout(OrchestratorError):
    """What was waited for did not happen in time; ``services`` are those not there yet."""

    services: tuple[str, ...] = ()
    kind: ClassVar[str] = "wait-timeout"
    exit_code: ClassVar[int] = 17

    __hash__ = Exception.__hash__


@dataclass(eq=True)
class WaitFailed(OrchestratorError):
    """A service failed while it was waited for; ``services`` are the failed ones."""

    services: tuple[str, ...] = ()
    kind: ClassVar[str] = "wait-failed"
    exit_code: ClassVar[int] = 18

    __hash__ = Exception.__hash__


def attributes(error: OrchestratorError) -> dict[str, object]:
    """Return the error's own fields beside the message, as plain values for the wire."""
    values = asdict(error)
    values.pop("message")
    return values
