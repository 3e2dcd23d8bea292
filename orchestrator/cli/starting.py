"""The one way in which `up` has a stack run: by the supervisor that answers, or by a new one."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import click

from orchestrator.cli.stack import Options, Stack
from orchestrator.control.client import BrokenOff, Leaderless
from orchestrator.errors import NotRunning, StackEnding

_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Started:
    """A running stack; ``here`` tells that its supervisor was started by this `up`."""

    stack: Stack
    here: bool


def start(located: Stack, services: Sequence[str], options: Options, *, no_deps: bool) -> Started:
    """Have a supervisor run the services, all of them if none is named.

    While a `down` is under way it waits for that.

    Raises:
        OrchestratorError: it could not be; nothing was started.
    """
    stack = located.ensure()
    while True:
        if not _answers(stack):
            from orchestrator.cli.daemon import launch

            if launch(
                stack,
                services,
                no_deps=no_deps,
                environ=options.environ,
                env_file=options.env_file,
                answers=lambda: _answers(stack),
            ):
                return Started(stack, here=True)
        try:
            stack.client.post("/v1/up", {"services": list(services), "no_deps": no_deps}, _UP_S)
        except StackEnding:
            if not options.quiet:
                click.echo("the stack is being stopped; it is started when it is down", err=True)
            _see_out(stack)
        else:
            return Started(stack, here=False)


def _see_out(stack: Stack) -> None:
    """Wait until the supervisor is gone: it says no more."""
    with contextlib.suppress(NotRunning, Leaderless, BrokenOff), stack.client.events() as events:
        while not events.ended:
            events.next(_UP_S)


def _answers(stack: Stack) -> bool:
    """Whether a supervisor answers. One that breaks off is starting or ending: it does not.

    Raises:
        Unresponsive: one is there that is stopped or hung; waiting for it has no end.
        ProtocolMismatch: one of another version is there.
    """
    try:
        stack.client.stack()
    except (NotRunning, Leaderless, BrokenOff):
        return False
    return True
