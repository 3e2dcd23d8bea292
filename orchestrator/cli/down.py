"""`down`: everything stopped, in reverse order, and nothing left."""

import time

import click

from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import Stack, locate, options_of
from orchestrator.cli.watching import Watched
from orchestrator.control.client import living_shims
from orchestrator.errors import ControlError, NotRunning, OrchestratorError

_SAY_AFTER_S = 2.0


@click.command(name="down")
@click.option(
    "-t", "--timeout", "grace_s", type=SECONDS, help="Grace for all, in place of each one's own."
)
@click.pass_context
def command(context: click.Context, *, grace_s: float | None) -> None:
    """Stop everything, what depends on others first.

    Afterwards nothing of the stack is alive. It works as well when the supervisor is dead.
    """
    stack = locate(context)
    quiet = options_of(context).quiet
    try:
        with stack.client.events() as events:
            watched = Watched(events)
            stack.client.post("/v1/down", {"grace_s": grace_s}, 10.0)
            follow_down(watched, quiet=quiet)
    except NotRunning:
        if not quiet:
            click.echo("nothing is running", err=True)
        return
    except ControlError:
        if not living_shims(stack.runtime_dir):
            raise
        _rescue(stack, grace_s)
    _verify(stack)


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


def _rescue(stack: Stack, grace_s: float | None) -> None:
    from orchestrator.cli.daemon import rescue

    click.echo("the supervisor is gone; its services are stopped without it", err=True)
    rescue(stack, grace_s)


def _verify(stack: Stack) -> None:
    deadline = time.monotonic() + 5.0
    while left := living_shims(stack.runtime_dir):
        if time.monotonic() > deadline:
            raise OrchestratorError(f"not everything could be ended: {', '.join(left)} lives on")
        time.sleep(0.02)  # noqa: TID251  no loop runs here
