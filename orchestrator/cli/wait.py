"""`wait`: until services are where they should be, for scripts."""

import time
from collections.abc import Sequence

import click

from orchestrator.cli import outcome
from orchestrator.cli.completing import service_names
from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import Stack, locate
from orchestrator.cli.watching import Watched, matching
from orchestrator.errors import ControlError, NotRunning, WaitFailed, WaitTimeout


@click.command(name="wait")
@click.argument("services", nargs=-1, shell_complete=service_names)
@click.option(
    "--for",
    "condition",
    type=click.Choice(["healthy", "started", "completed", "stopped"]),
    default="healthy",
    help="What to wait for (healthy).",
)
@click.option("--timeout", "timeout_s", type=SECONDS, default="5m", help="How long (5m).")
@click.pass_context
def command(
    context: click.Context, *, services: tuple[str, ...], condition: str, timeout_s: float
) -> None:
    """Wait until services are healthy, or as --for says; all of them if none is named.

    Compose's `wait` is `--for stopped` here. Exit code 17: too late; 18: it can't come true now.

    \b
    orchestrator wait api                     until api is healthy
    orchestrator wait migrate --for completed
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    if condition == "stopped" and _is_down(stack, services):
        return
    deadline = time.monotonic() + timeout_s
    with stack.client.events() as events:
        watched = Watched(events)
        names = watched.names(services)
        while True:
            verdict = outcome.reached(condition, names, watched.items, watched.running_for_s)
            left_s = deadline - time.monotonic()
            if watched.stopped and condition == "stopped":
                return
            if verdict.done or left_s <= 0 or watched.ended:
                break
            watched.next(min(left_s, 0.1))
        if condition == "healthy" and verdict.done:
            watched.have_published(stack.client)
    if verdict.failed:
        states = ", ".join(f"{name} is {watched.items[name]['state']}" for name in verdict.failed)
        raise WaitFailed(f"cannot become {condition} any more: {states}", verdict.failed)
    if not verdict.done and watched.ended:
        raise ControlError("the supervisor ended meanwhile")
    if not verdict.done:
        raise WaitTimeout(f"not {condition} in time: {', '.join(verdict.open)}", verdict.open)


def _is_down(stack: Stack, services: Sequence[str]) -> bool:
    """Whether no process can be there, as there is no stack; a wrong name is told all the same."""
    try:
        stack.client.stack()
    except NotRunning:
        if services and stack.log_files:
            matching(services, list(stack.log_files))
        return True
    return False
