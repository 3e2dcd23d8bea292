"""Starting a stack's supervisor in the background, and ending a stack that has lost its own."""

import contextlib
import fcntl
import hashlib
import importlib
import json
import logging
import logging.handlers
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from orchestrator.cli.stack import Stack, load_project
from orchestrator.control.wire import from_wire, to_wire
from orchestrator.errors import OrchestratorError
from orchestrator.spec.model import Project
from orchestrator.supervise.places import Places
from orchestrator.system.files import write_private

if TYPE_CHECKING:
    from orchestrator.supervise.supervisor import Supervisor

logger = logging.getLogger(__name__)

_START_S = 20.0
_LOCK_LOOK_S = 0.02
_OWN_LOG = Path("logs/orchestrator.log")
_OWN_LOG_BYTES = 5 * 1024 * 1024


def launch(
    stack: Stack,
    services: Sequence[str],
    *,
    no_deps: bool,
    environ: Mapping[str, str],
    env_file: Path | None = None,
    answers: Callable[[], bool],
) -> bool:
    """Start the stack's supervisor; return when its control socket listens.

    Returns false, having started nothing, when another `up` was quicker and ``answers`` says so.

    Raises:
        OrchestratorError: services.yaml is wrong, a port is taken, a program is missing …;
            nothing was started.
    """
    project = load_project(stack, environ, env_file)
    lock_fd = _lock(stack, answers)
    if lock_fd is None:
        return False
    try:
        reader, writer = os.pipe()
        if _fork_away():
            os.close(writer)
            _await_start(reader)
            return True
        os.close(reader)
        _be_supervisor(stack, project, services, no_deps, environ, writer, lock_fd)
    finally:
        os.close(lock_fd)


def rescue(stack: Stack, grace_s: float | None) -> None:
    """Stop all that runs of a stack whose supervisor is dead; return when it is gone.

    services.yaml is not needed: the shims recorded how their services want to be stopped.

    Raises:
        ControlError: a supervisor is starting at this moment.
    """
    import anyio

    from orchestrator.errors import ControlError

    lock_fd = _lock(stack, answers=lambda: True)
    if lock_fd is None:
        raise ControlError("a supervisor of this stack is just starting; try again")
    try:
        project = Project(name=stack.name, file=stack.file, services={})
        anyio.run(_end_all, stack, project, grace_s)
    finally:
        os.close(lock_fd)


async def _end_all(stack: Stack, project: Project, grace_s: float | None) -> None:
    from orchestrator.supervise.launching import Surroundings
    from orchestrator.supervise.stack import running
    from orchestrator.system.clock import SystemClock

    around = Surroundings(environ={}, secrets={}, python=sys.executable)
    rng = random.Random()  # noqa: S311  jitter, no secret; the cli is where it comes from
    async with running(project, _places(stack), around, SystemClock(), rng) as live:
        live.supervisor.end(grace_s)
        await live.supervisor.bus.until(lambda: live.supervisor.all_at_rest)


# One supervisor a stack.


def _lock(stack: Stack, answers: Callable[[], bool]) -> int | None:
    """Take the stack's lock; None when its holder answers. Waits while it starts or ends."""
    from orchestrator.errors import ControlError

    stack.ensure()
    path = stack.state_dir / "stack.lock"
    deadline = time.monotonic() + _START_S
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return fd
        if answers():
            os.close(fd)
            return None
        if time.monotonic() > deadline:
            os.close(fd)
            raise ControlError(
                f"another supervisor holds {path}, but does not answer; "
                "`orchestrator doctor` looks at it"
            )
        time.sleep(_LOCK_LOOK_S)  # noqa: TID251  no loop runs here


def _fork_away() -> bool:
    """Fork twice. True in the caller; false in an orphan process with a session of its own."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return True
    os.setsid()
    if os.fork():
        os._exit(0)
    return False


def _await_start(reader: int) -> None:
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if said == b"ready":
        return
    if not said:
        raise OrchestratorError(f"the supervisor ended while starting; {_OWN_LOG} may say why")
    raise from_wire(json.loads(said))


def _be_supervisor(
    stack: Stack,
    project: Project,
    services: Sequence[str],
    no_deps: bool,  # noqa: FBT001  positional in the one call above
    environ: Mapping[str, str],
    writer: int,
    lock_fd: int,
) -> NoReturn:
    """Run the supervisor in this forked process, and end with it."""
    import anyio

    code = 1
    try:
        shell = _let_go(stack.root_dir, keep={writer, lock_fd})
        os.truncate(lock_fd, 0)
        os.pwrite(lock_fd, json.dumps({"pid": os.getpid()}).encode(), 0)
        anyio.run(_supervise, stack, project, tuple(services), no_deps, environ, shell, writer)
        code = 0
    except BaseException as error:  # noqa: BLE001  a process of its own ends here, and says why
        _say(writer, json.dumps(to_wire(_told(error))[1]).encode())
    finally:
        logging.shutdown()
        os._exit(code)


def _told(error: BaseException) -> OrchestratorError:
    """Return what the caller is told: the first error that is one of ours, else that we broke."""
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    if isinstance(leaf, OrchestratorError):
        return leaf
    logger.error("the supervisor ended", exc_info=error)
    return OrchestratorError(f"the supervisor ended: {type(leaf).__name__}: {leaf}")


@dataclass(frozen=True, slots=True)
class _Shell:
    """What services take from the shell of `up`: umask, soft and hard limit of descriptors."""

    umask: int
    nofile: tuple[int, int]


def _let_go(root_dir: Path, keep: set[int]) -> _Shell:
    """Let go of the terminal, the folder, inherited descriptors and signal dispositions."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    umask = os.umask(0o077)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    start = 3
    for fd in sorted(keep):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))
    _log_to(root_dir / _OWN_LOG)
    return _Shell(umask, _raise_nofile())


def _raise_nofile() -> tuple[int, int]:
    """Take as many descriptors as may be had, some for every service; return what was before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def _log_to(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=_OWN_LOG_BYTES, backupCount=2, delay=True
    )
    logging.raiseExceptions = False
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        handlers=[handler],
    )
    for chatty in ("httpx2", "httpcore2", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _say(writer: int, word: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(writer, word)
        os.close(writer)


async def _supervise(
    stack: Stack,
    project: Project,
    services: Sequence[str],
    no_deps: bool,  # noqa: FBT001
    environ: Mapping[str, str],
    shell: _Shell,
    writer: int,
) -> None:
    import anyio
    import anyio.to_thread

    from orchestrator.supervise.launching import Surroundings
    from orchestrator.supervise.stack import running
    from orchestrator.system.clock import SystemClock
    from orchestrator.system.secrets import resolve

    places = _places(stack)
    secrets = resolve(project, environ, stack.state_dir)
    _keep_for_others(stack, project, places, secrets)
    around = Surroundings(
        environ=environ,
        secrets=secrets,
        python=sys.executable,
        umask=shell.umask,
        nofile=shell.nofile,
        tiers=switched_off(environ),
        failpoints=_failpoints(environ),
    )
    rng = random.Random()  # noqa: S311
    logger.info("supervisor %s of %s starts, %s", os.getpid(), project.name, project.file)
    clock = SystemClock()
    async with running(project, places, around, clock, rng) as live:
        names = services or _due(live.supervisor)
        if names:
            await live.operations.up(names, no_deps=no_deps)
        # The web server's imports take longer than all of the above: the services come first, and
        # a thread leaves the loop awake meanwhile.
        await anyio.to_thread.run_sync(importlib.import_module, "orchestrator.control.presence")
        from orchestrator.control.presence import serve_at
        from orchestrator.control.server import bind, serve

        server_socket = bind(places.control_socket_path)
        _say(writer, b"ready")
        async with anyio.create_task_group() as tasks:
            path, served = places.control_socket_path, partial(serve, live)
            tasks.start_soon(serve_at, path, server_socket, served, clock)
            tasks.start_soon(_end_on_signal, live.supervisor)
            await live.supervisor.bus.until(
                lambda: live.supervisor.ending and live.supervisor.all_at_rest
            )
            tasks.cancel_scope.cancel()
    logger.info("supervisor %s of %s ended; nothing of it is left", os.getpid(), project.name)


def _due(supervisor: "Supervisor") -> list[str]:
    """Return what an `up` that names nothing has to start.

    That is all, but for one that takes over: what runs needs nothing to be started for it, and
    what was stopped by hand stays so.
    """
    units = [unit for unit in supervisor.units.values() if not unit.removed]
    takes_over = any(unit.status.run for unit in supervisor.units.values())
    if not takes_over or supervisor.was_ending:
        return [unit.name for unit in units]
    return [
        unit.name
        for unit in units
        if not unit.status.alive and (unit.status.wanted or not unit.status.run)
    ]


async def _end_on_signal(supervisor: "Supervisor") -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            logger.info("%s: everything is stopped", signal.Signals(number).name)
            supervisor.end(0.0 if supervisor.ending else None)


def _places(stack: Stack) -> Places:
    stack_id = hashlib.sha256(os.fsencode(os.path.realpath(stack.file))).hexdigest()[:12]
    return Places(stack_id, stack.state_dir, stack.runtime_dir)


def _keep_for_others(
    stack: Stack, project: Project, places: Places, secrets: Mapping[str, str]
) -> None:
    """Write what commands need when no supervisor answers."""
    plan = {
        "version": 1,
        "name": project.name,
        "file": str(project.file),
        "root": str(project.root_dir),
        "services": {
            name: {"log": str(project.root_dir / service.log)}
            for name, service in project.services.items()
        },
    }
    write_private(places.plan_path, json.dumps(plan, indent=1).encode())
    write_private(places.redact_path, json.dumps(sorted(set(secrets.values()))).encode())
    (stack.state_dir / "locks").mkdir(mode=0o700, exist_ok=True)


def switched_off(environ: Mapping[str, str]) -> dict[str, bool]:
    """Return the fast paths that ORCH_DISABLE (`splice,pidfd,…`) switches off."""
    return {name: False for name in environ.get("ORCH_DISABLE", "").split(",") if name}


def _failpoints(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the places at which ORCH_FAILPOINTS (`spawn.before_record=kill;…`) has us fail."""
    pairs = (one.partition("=") for one in environ.get("ORCH_FAILPOINTS", "").split(";") if one)
    return {place: action for place, _, action in pairs}
