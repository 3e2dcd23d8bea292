"""`up`: the stack started, or what is down of it, and watched."""

import os
import sys
import time
from collections.abc import Sequence

import click

from orchestrator.cli import outcome
from orchestrator.cli.completing import service_names
from orchestrator.cli.down import follow_down
from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import Options, Stack, locate, options_of
from orchestrator.cli.starting import start
from orchestrator.cli.summary import Summary, refuse_bad
from orchestrator.cli.watching import CHANGED, Watched
from orchestrator.errors import ControlError, OrchestratorError

_WAIT_S = 300.0


@click.command(name="up")
@click.argument("services", nargs=-1, shell_complete=service_names)
@click.option("-d", "--detach", is_flag=True, help="Return when all that can be is started.")
@click.option("--wait", is_flag=True, help="Return when all is healthy, or has failed.")
@click.option("--wait-timeout", type=SECONDS, metavar="TIME", help="How long --wait waits (5m).")
@click.option("--no-deps", is_flag=True, help="Not what the services depend on.")
@click.option("--attach", is_flag=True, help="Watch, even without a terminal.")
@click.option("--abort-on-failure", is_flag=True, help="Stop all when one fails; exit code 18.")
@click.option(
    "--exit-code-from",
    metavar="SERVICE",
    shell_complete=service_names,
    help="Stop all when it ends; its exit code.",
)
@click.pass_context
def command(
    context: click.Context,
    *,
    services: tuple[str, ...],
    detach: bool,
    wait: bool,
    wait_timeout: float | None,
    no_deps: bool,
    attach: bool,
    abort_on_failure: bool,
    exit_code_from: str | None,
) -> int:
    """Start the stack, or what is stopped, exited or failed of it.

    On a terminal it watches: Ctrl-C stops everything, d leaves it running. Without one it returns
    when all is healthy, as -d --wait does; so does --wait. --abort-on-failure and --exit-code-from
    watch in any case.

    \b
    orchestrator up                       start everything and watch it
    orchestrator up -d --wait api         api and what it needs, until they are healthy
    orchestrator up --exit-code-from e2e  for a test run: ends with its exit code

    Exit codes: 0, 5 a program is missing, 6 services.yaml is wrong, 8 a port is in use,
    17 not healthy in time, 18 a service failed.
    """  # noqa: D301  click's mark for text that is not to be wrapped
    if detach and (attach or exit_code_from):
        raise click.UsageError("-d returns at once: not with --attach or --exit-code-from")
    options = options_of(context)
    stack = locate(context)
    ends = abort_on_failure or exit_code_from is not None
    returns = detach or wait or wait_timeout is not None
    if attach or (not returns and (ends or _is_watched(options))):
        from orchestrator.cli.attach import Ending, attached_up

        ending = Ending(abort_on_failure, exit_code_from)
        return attached_up(stack, services, options, ending, no_deps=no_deps)
    waits = wait or not detach or wait_timeout is not None
    patience_s = (_WAIT_S if wait_timeout is None else wait_timeout) if waits else None
    return _detached_up(
        stack, services, options, patience_s, no_deps=no_deps, abort=abort_on_failure
    )


def _detached_up(
    located: Stack,
    services: Sequence[str],
    options: Options,
    patience_s: float | None,
    *,
    no_deps: bool,
    abort: bool,
) -> int:
    """Wait as `-d` or, with ``patience_s``, `--wait` does; return the exit code."""
    began = time.monotonic()
    started = start(located, services, options, no_deps=no_deps)
    stack = started.stack
    with stack.client.events() as events:
        watched = Watched(events)
        names = _with_needs(watched, watched.names(services), no_deps=no_deps)
        if not options.quiet:
            _say_found(watched, here=started.here)
        if patience_s is None:
            verdict = _until_begun(watched, names)
        else:
            verdict = _until_well(watched, names, began + patience_s, abort=abort)
            watched.have_published(stack.client)
        summary = Summary(stack, watched, names)
        if not options.quiet:
            summary.say(time.monotonic() - began, waited_for=patience_s is not None)
        aborted = abort and bool(verdict.failed)
        if patience_s is not None or aborted:
            summary.say_failures(verdict)
        if aborted:
            stack.client.post("/v1/down", {}, 10.0)
            follow_down(watched, quiet=options.quiet)
    if aborted or patience_s is not None:
        refuse_bad(verdict, aborted=aborted)
    return 0


def _until_begun(watched: Watched, names: Sequence[str]) -> outcome.Verdict:
    while not all(outcome.has_begun(name, watched.items) for name in names):
        watched.next(1.0)
        _refuse_end(watched)
    return outcome.waited(names, watched.items, watched.running_for_s)


def _until_well(
    watched: Watched, names: Sequence[str], deadline: float, *, abort: bool
) -> outcome.Verdict:
    while True:
        verdict = outcome.waited(names, watched.items, watched.running_for_s)
        left_s = deadline - time.monotonic()
        if verdict.done or left_s <= 0 or (abort and verdict.failed):
            return verdict
        # Services without a probe are well by lasting: nobody sends a message for that.
        watched.next(min(left_s, 0.1))
        _refuse_end(watched)


def _refuse_end(watched: Watched) -> None:
    if watched.stopped:
        raise OrchestratorError("the stack was stopped meanwhile")
    if watched.ended:
        raise ControlError(
            "the supervisor is gone; services run on, `orchestrator up` takes them over"
        )


def _say_found(watched: Watched, *, here: bool) -> None:
    if not here:
        click.echo(f"{watched.stack['stack']} is already running", err=True)
    if watched.stack.get("file_changed"):
        click.echo(CHANGED, err=True)


def _with_needs(watched: Watched, names: Sequence[str], *, no_deps: bool) -> list[str]:
    """Return the names and what they wait for now."""
    found = dict.fromkeys(names)
    queue = [] if no_deps else list(names)
    while queue:
        for one in watched.items[queue.pop()]["waiting_for"]:
            if one["service"] in watched.items and one["service"] not in found:
                found[one["service"]] = None
                queue.append(one["service"])
    return list(found)


def _is_watched(options: Options) -> bool:
    return sys.stdout.isatty() or os.getpid() == 1 or "INVOCATION_ID" in options.environ
