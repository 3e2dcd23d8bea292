"""Which stack a command is about, and where it keeps its files."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.errors import OrchestratorError, SpecError

if TYPE_CHECKING:
    from hashlib import sha256

    from orchestrator.control.client import ControlClient
    from orchestrator.spec.model import Project
else:
    # hashlib loads OpenSSL, too much for the digest of one path. Source: the standard `random`.
    try:
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:
            from hashlib import sha256

_NAMES = ("services.yaml", "services.yml")


@dataclass(frozen=True)
class Options:
    """The global options."""

    environ: Mapping[str, str]
    file: Path | None = None
    env_file: Path | None = None
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class Stack:
    """One services.yaml and the folders that belong to it."""

    name: str
    file: Path
    state_dir: Path
    runtime_dir: Path
    log_files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def root_dir(self) -> Path:
        """The folder of services.yaml."""
        return self.file.parent

    @property
    def client(self) -> "ControlClient":
        """A client of the stack's supervisor."""
        from orchestrator.control.client import ControlClient

        return ControlClient(self.runtime_dir)

    def ensure(self) -> "Stack":
        """Make the folders, this user's alone, and return the stack with the runtime folder in use.

        The first one to need it decides which folder that is; XDG_RUNTIME_DIR differs between
        terminals, and two `up` at once must not each have their own.

        Raises:
            OrchestratorError: a folder belongs to somebody else, or can't be made.
        """
        from orchestrator.system.files import alone, write_private

        for folder in (self.state_dir, self.state_dir / "locks"):
            _make_private(folder)
        with alone(self.state_dir / "runtime.lock"):
            used = noted_runtime(self.state_dir)
            runtime_dir = used if used is not None and used.is_dir() else self.runtime_dir
            _make_private(runtime_dir)
            if runtime_dir != used:
                write_private(self.state_dir / "runtime", str(runtime_dir).encode())
        return replace(self, runtime_dir=runtime_dir)


def load_project(stack: Stack, environ: Mapping[str, str], env_file: Path | None) -> "Project":
    """Return what the stack's services.yaml says; messages call the file as the user would.

    Raises:
        SpecError: something is wrong with it.
    """
    from orchestrator.spec.load import as_typed, load

    return load(stack.file, environ, env_file, as_typed(stack.file, Path.cwd()))


def options_of(context: click.Context) -> Options:
    """Return the global options of a running command."""
    found = context.find_object(Options)
    if found is None:
        raise OrchestratorError("no options are given")
    return found


def locate(context: click.Context) -> Stack:
    """Return the stack that the command is about.

    Raises:
        SpecError: there is no services.yaml, and no stack that was started from here.
    """
    options = options_of(context)
    if options.file is not None:
        stack = _of_file(options.file, options.environ)
        if not stack.file.is_file() and not stack.log_files:
            raise SpecError(f"there is no file {options.file}")
        return stack
    start = Path.cwd()
    started: Mapping[Path, Path] | None = None
    for folder in (start, *start.parents):
        for name in _NAMES:
            if (folder / name).is_file():
                return _of_file(folder / name, options.environ)
        started = _started_stacks(states_home(options.environ)) if started is None else started
        if folder in started:
            return _of_file(started[folder], options.environ)
    raise SpecError(
        f"no {_NAMES[0]} (nor {_NAMES[1]}) in {start} or a folder above it; "
        "`orchestrator init` writes a first one, -f and -C name another place"
    )


def states_home(environ: Mapping[str, str]) -> Path:
    """Return the folder with the state of all this user's stacks."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "~") / ".local/state")
    return Path(base).expanduser() / "orchestrator"


def stack_id(file: Path) -> str:
    """Return the stack's id: 12 hexadecimal digits of the SHA-256 of the file's real path."""
    return sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:12]


def _of_file(file: Path, environ: Mapping[str, str]) -> Stack:
    real = Path(os.path.realpath(file))
    state_dir = states_home(environ) / stack_id(real)
    plan = read_plan(state_dir)
    services = plan.get("services")
    logs = services if isinstance(services, dict) else {}
    return Stack(
        name=str(plan.get("name") or real.parent.name),
        file=real,
        state_dir=state_dir,
        runtime_dir=_runtime_dir(state_dir, environ),
        log_files={name: Path(one["log"]) for name, one in logs.items()},
    )


def read_plan(state_dir: Path) -> Mapping[str, object]:
    """Return what the newest `up` noted of its stack; empty when there is nothing."""
    try:
        plan = json.loads((state_dir / "plan.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def noted_runtime(state_dir: Path) -> Path | None:
    """Return the runtime folder that a stack was last started with; None if it never was."""
    try:
        noted = (state_dir / "runtime").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return Path(noted) if noted else None


def _runtime_dir(state_dir: Path, environ: Mapping[str, str]) -> Path:
    """Return the runtime folder in use, else where it will be."""
    used = noted_runtime(state_dir)
    if used is not None and used.is_dir():
        return used
    base = environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "orchestrator" / state_dir.name
    return state_dir / "run"


def _started_stacks(home: Path) -> dict[Path, Path]:
    """Return the files of all stacks that were ever started, by the folder they count from."""
    found = {}
    try:
        state_dirs = sorted(home.iterdir())
    except OSError:
        return {}
    for state_dir in state_dirs:
        plan = read_plan(state_dir)
        if plan.get("root") and plan.get("file"):
            found[Path(str(plan["root"]))] = Path(str(plan["file"]))
    return found


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OrchestratorError(f"cannot use {folder}: {(error.strerror or '').lower()}") from error
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise OrchestratorError(
                f"{folder} belongs to user {found.st_uid}; was the stack once started with sudo?"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)
