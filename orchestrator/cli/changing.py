"""What `start`, `stop` and `restart` have in common."""

import time
from collections.abc import Sequence

import click

from orchestrator.cli import outcome
from orchestrator.cli.stack import Stack
from orchestrator.cli.summary import Summary, refuse_bad
from orchestrator.cli.watching import Watched, matching
from orchestrator.errors import ControlError

WAIT_S = 300.0


def names_of(stack: Stack, words: Sequence[str]) -> list[str]:
    """Return the services that the words (names or globs) stand for.

    Raises:
        UnknownService: a word names nothing.
        NotRunning: there is no running stack.
    """
    return matching(words, [item["name"] for item in stack.client.stack()["services"]])


def say_items(items: Sequence[outcome.Item], *, quiet: bool) -> None:
    """Print what became of each service."""
    width = max((len(item["name"]) for item in items), default=0)
    for item in () if quiet else items:
        more = item["cause"]["text"] if item["cause"] and item["state"] in _EXPLAINED else ""
        click.echo(f"{item['name'].ljust(width)}  {item['state']:<9}  {more}".rstrip())


_EXPLAINED = {"failed", "backoff", "stopped", "exited"}


def wait_until_well(stack: Stack, names: Sequence[str], timeout_s: float) -> None:
    """Wait until all the named are healthy, completed, exited or failed.

    Raises:
        WaitTimeout: it did not come so far in time.
        WaitFailed: some failed, or are not there because others did.
        ControlError: the supervisor ended meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    with stack.client.events() as events:
        watched = Watched(events)
        while True:
            verdict = outcome.waited(names, watched.items, watched.running_for_s)
            left_s = deadline - time.monotonic()
            if verdict.done or left_s <= 0:
                break
            if watched.ended:
                raise ControlError("the supervisor ended meanwhile")
            watched.next(min(left_s, 0.1))
        watched.have_published(stack.client)
    Summary(stack, watched, names).say_failures(verdict)
    refuse_bad(verdict)
