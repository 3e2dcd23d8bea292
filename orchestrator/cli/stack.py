"""Which stack a command is about, and where it keeps its files."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from orchestrator.control.client import ControlClient
from orchestrator.errors import OrchestratorError, SpecError

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
    def client(self) -> ControlClient:
        """A client of the stack's supervisor."""
        return ControlClient(self.runtime_dir)

    def ensure(self) -> None:
        """Make the folders, this user's alone, and note which runtime folder is in use.

        Raises:
            OrchestratorError: a folder belongs to somebody else, or can't be made.
        """
        for folder in (self.state_dir, self.runtime_dir, self.state_dir / "locks"):
            _make_private(folder)
        (self.state_dir / "runtime").write_text(str(self.runtime_dir), encoding="utf-8")


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
    home = states_home(options.environ)
    if options.file is not None:
        return _of_file(options.file, options.environ)
    start = Path.cwd()
    for folder in (start, *start.parents):
        for name in _NAMES:
            if (folder / name).is_file():
                return _of_file(folder / name, options.environ)
        started = _started_from(folder, home)
        if started is not None:
            return _of_file(started, options.environ)
    raise SpecError(
        f"no services.yaml in {start} or a folder above it; `orchestrator init` writes a first one"
    )


def states_home(environ: Mapping[str, str]) -> Path:
    """Return the folder with the state of all this user's stacks."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "~") / ".local/state")
    return Path(base).expanduser() / "orchestrator"


def stack_id(file: Path) -> str:
    """Return the stack's id: 12 hexadecimal digits of the SHA-256 of the file's real path."""
    return hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:12]


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


def _runtime_dir(state_dir: Path, environ: Mapping[str, str]) -> Path:
    """Return the runtime folder in use: XDG_RUNTIME_DIR differs between terminals."""
    try:
        used = Path((state_dir / "runtime").read_text(encoding="utf-8"))
    except OSError:
        used = None
    if used is not None and used.is_dir():
        return used
    base = environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "orchestrator" / state_dir.name
    return state_dir / "run"


def _started_from(folder: Path, home: Path) -> Path | None:
    """Return the services.yaml of a stack whose file is gone, but which was started from here."""
    if not home.is_dir():
        return None
    for name in _NAMES:
        file = folder / name
        if (home / stack_id(file) / "plan.json").is_file():
            return file
    return None


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
