"""`down`: everything stopped, in reverse order, and nothing left."""

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Callable, Iterator

import click

from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import Stack, locate, options_of
from orchestrator.cli.watching import Watched
from orchestrator.control.client import BrokenOff, Leaderless, living_shims
from orchestrator.errors import ControlError, NotRunning, OrchestratorError

_SAY_AFTER_S = 2.0
_LAST_S = 5.0
_STARTING_S = 20.0
_LOOK_S = 0.02


@click.command(name="down")
@click.option(
    "-t", "--timeout", "grace_s", type=SECONDS, help="Grace for all, in place of each one's own."
)
@click.pass_context
def command(context: click.Context, *, grace_s: float | None) -> None:
    """Stop everything, what depends on others first.

    Afterwards nothing of the stack is alive. It works as well when the supervisor is dead, and
    without a readable services.yaml. Nothing running is no error.

    \b
    orchestrator down       each service has its own grace
    orchestrator down -t 0  kill at once
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    quiet = options_of(context).quiet
    deadline = time.monotonic() + _STARTING_S
    while True:
        try:
            is_down = _by_supervisor(stack, grace_s, quiet=quiet)
        except NotRunning:
            if _is_starting(stack):
                _give_it_time(deadline)
                continue
            if not quiet:
                click.echo("nothing is running", err=True)
            if _is_left(stack):
                _without_supervisor(stack, grace_s, deadline, quiet=True)
            return
        except BrokenOff:
            # It ended while it was asked: somebody else's `down`. What is left of it is seen next.
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)  # noqa: TID251  no loop runs here
            continue
        except Leaderless:
            is_down = False
        if is_down or _without_supervisor(stack, grace_s, deadline, quiet=quiet):
            break
    _verify(stack)


def _by_supervisor(stack: Stack, grace_s: float | None, *, quiet: bool) -> bool:
    """Have the supervisor stop everything; false when it ended before it had, or cleared up."""
    with stack.client.events() as events:
        watched = Watched(events)
        with _seen_out(watched.stack["pid"]) as gone:
            stack.client.post("/v1/down", {"grace_s": grace_s}, 10.0)
            follow_down(watched, quiet=quiet)
            gone(_LAST_S)
    return watched.stopped and not _is_left(stack)


def _give_it_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ControlError(
            f"a supervisor of this stack has been starting for {_STARTING_S:.0f} s; "
            "`orchestrator doctor` looks at it"
        )
    time.sleep(_LOOK_S)  # noqa: TID251  no loop runs here


def _is_starting(stack: Stack) -> bool:
    """Whether somebody holds the stack's lock: an `up` that does not answer yet."""
    try:
        fd = os.open(stack.state_dir / "stack.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _is_left(stack: Stack) -> bool:
    """Whether a supervisor left its files, which tell the next one that all was stopped by hand."""
    if not (stack.runtime_dir / "control.sock").exists():
        return False
    try:
        stack.client.stack()
    except NotRunning:
        return True
    except ControlError:
        return False
    return False


def _without_supervisor(
    stack: Stack, grace_s: float | None, deadline: float, *, quiet: bool
) -> bool:
    """Stop everything from here; false when a new supervisor comes up that can be asked soon."""
    from orchestrator.cli.daemon import rescue

    if not quiet:
        click.echo("the supervisor is gone; its services are stopped without it", err=True)
    try:
        rescue(stack, grace_s)
    except ControlError:
        if time.monotonic() > deadline:
            raise
        time.sleep(_LOOK_S)  # noqa: TID251  no loop runs here
        return False
    return True


def follow_down(watched: Watched, *, quiet: bool) -> None:
    """Wait until the stack is down, saying what is still waited for."""
    began = said_at = time.monotonic()
    while not watched.stopped and not watched.ended:
        message = watched.next(0.5)
        if message is not None and message["type"] == "warning" and not quiet:
            click.echo(f"warning: {message['text']}", err=True)
        now = time.monotonic()
        left = [name for name, item in watched.items.items() if item["state"] == "stopping"]
        if left and not quiet and now - said_at >= _SAY_AFTER_S:
            said_at = now
            click.echo(f"still waiting for {', '.join(left)} ({now - began:.0f} s)", err=True)
    # The supervisor lets go of its files after the last message; its socket is the last thing.
    while not watched.ended and watched.next(5.0) is not None:
        pass


@contextlib.contextmanager
def _seen_out(pid: int) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits for the end of a process that lives now."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError):
        # Gone already, or a system without pidfds: the end of its stream has to do.
        yield lambda timeout_s: True  # noqa: ARG005
        return
    try:
        yield lambda timeout_s: bool(select.select([fd], [], [], timeout_s)[0])
    finally:
        os.close(fd)


def _verify(stack: Stack) -> None:
    deadline = time.monotonic() + _LAST_S
    while left := living_shims(stack.runtime_dir):
        if time.monotonic() > deadline:
            raise OrchestratorError(f"not everything could be ended: {', '.join(left)} lives on")
        time.sleep(_LOOK_S)  # noqa: TID251  no loop runs here
