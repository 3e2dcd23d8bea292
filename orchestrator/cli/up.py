"""`up`: the stack started, or what is down of it, and watched."""

import os
import sys
import time
from collections.abc import Sequence

import click

from orchestrator.cli import outcome
from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import Options, Stack, locate, options_of
from orchestrator.cli.summary import say_failures, say_summary
from orchestrator.cli.watching import Watched
from orchestrator.errors import ControlError, NotRunning, OrchestratorError, WaitFailed, WaitTimeout

_WAIT_S = 300.0


@click.command(name="up")
@click.argument("services", nargs=-1)
@click.option("-d", "--detach", is_flag=True, help="Return when all that can be is started.")
@click.option("--wait", is_flag=True, help="Return when all is healthy, or has failed.")
@click.option("--wait-timeout", type=SECONDS, default="5m", help="How long --wait waits (5m).")
@click.option("--no-deps", is_flag=True, help="Not what the services depend on.")
@click.option("--attach", is_flag=True, help="Watch, even without a terminal.")
@click.option("--abort-on-failure", is_flag=True, help="Stop all when one fails; exit code 18.")
@click.option("--exit-code-from", metavar="SERVICE", help="Stop all when it ends; its exit code.")
@click.pass_context
def command(
    context: click.Context,
    *,
    services: tuple[str, ...],
    detach: bool,
    wait: bool,
    wait_timeout: float,
    no_deps: bool,
    attach: bool,
    abort_on_failure: bool,
    exit_code_from: str | None,
) -> int:
    """Start the stack, or what is stopped, exited or failed of it.

    On a terminal it watches: Ctrl-C stops everything, d leaves it running.
    """
    options = options_of(context)
    stack = locate(context)
    if detach and attach:
        raise click.UsageError("-d and --attach exclude each other")
    attached = not detach and (attach or _is_watched(options))
    began = time.monotonic()
    started_here = start(stack, services, options, no_deps=no_deps)
    if attached:
        from orchestrator.cli.attach import Ending, attached_up

        ending = Ending(abort_on_failure, exit_code_from)
        return attached_up(stack, services, options, ending, started_here=started_here, began=began)
    patience_s = wait_timeout if wait or not detach else None
    return detached_up(stack, services, options, patience_s, began, no_deps=no_deps)


def start(stack: Stack, services: Sequence[str], options: Options, *, no_deps: bool) -> bool:
    """Have a supervisor run the services; true when it is one that was started here.

    Raises:
        OrchestratorError: it could not be; nothing was started.
    """
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
            return True
    stack.client.post("/v1/up", {"services": list(services), "no_deps": no_deps}, 60.0)
    return False


def detached_up(
    stack: Stack,
    services: Sequence[str],
    options: Options,
    patience_s: float | None,
    began: float,
    *,
    no_deps: bool,
) -> int:
    """Wait as `-d` or `--wait` (with ``patience_s``) does, say how it went, return the exit code."""
    with stack.client.events() as events:
        watched = Watched(events)
        names = _with_needs(watched, watched.names(services), no_deps=no_deps)
        if watched.stack.get("file_changed"):
            click.echo("services.yaml has changed since this stack was started", err=True)
        if patience_s is None:
            _until_begun(watched, names)
            if not options.quiet:
                say_summary(watched, names, time.monotonic() - began)
            return 0
        verdict = _until_well(watched, names, began + patience_s)
        if not options.quiet:
            say_summary(watched, names, time.monotonic() - began)
    say_failures(stack, watched, verdict)
    if not verdict.done:
        raise WaitTimeout(f"not ready in time: {', '.join(verdict.open)}", verdict.open)
    if verdict.is_bad:
        raise WaitFailed(failure_text(verdict), verdict.failed)
    return 0


def failure_text(verdict: outcome.Verdict) -> str:
    """Return which services failed, and which are not there for that reason."""
    text = f"failed: {', '.join(verdict.failed)}" if verdict.failed else ""
    if verdict.behind:
        text += f"{'; ' if text else ''}waiting for it: {', '.join(verdict.behind)}"
    return text


def _until_begun(watched: Watched, names: Sequence[str]) -> None:
    while not all(outcome.has_begun(watched.items[name]) for name in names) and not watched.ended:
        watched.next(1.0)
    _refuse_end(watched)


def _until_well(watched: Watched, names: Sequence[str], deadline: float) -> outcome.Verdict:
    while True:
        verdict = outcome.waited(names, watched.items, watched.running_for_s)
        left_s = deadline - time.monotonic()
        if verdict.done or left_s <= 0:
            return verdict
        # Services without a probe are well by lasting: nobody sends a message for that.
        watched.next(min(left_s, 0.1))
        _refuse_end(watched)


def _refuse_end(watched: Watched) -> None:
    if watched.stopped:
        raise OrchestratorError("the stack was stopped meanwhile")
    if watched.ended:
        raise ControlError("the supervisor is gone; services run on, `orchestrator up` adopts them")


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


def _answers(stack: Stack) -> bool:
    try:
        stack.client.stack()
    except NotRunning:
        return False
    except ControlError as error:
        if isinstance(error.__cause__, TimeoutError):
            raise
        return False
    return True


def _is_watched(options: Options) -> bool:
    return sys.stdout.isatty() or os.getpid() == 1 or "INVOCATION_ID" in options.environ
