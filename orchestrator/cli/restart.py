"""`restart`: a new run for services, after the old tree is empty."""

import click

from orchestrator.cli.changing import WAIT_S, names_of, say_items, wait_until_well
from orchestrator.cli.completing import service_names
from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import locate, options_of


@click.command(name="restart")
@click.argument("services", nargs=-1, required=True, shell_complete=service_names)
@click.option("--wait", is_flag=True, help="Until they are healthy.")
@click.option("--no-deps", is_flag=True, help="Do not wait for what they depend on.")
@click.option("-t", "--timeout", "grace_s", type=SECONDS, help="Grace in place of their own.")
@click.pass_context
def command(
    context: click.Context,
    *,
    services: tuple[str, ...],
    wait: bool,
    no_deps: bool,
    grace_s: float | None,
) -> None:
    """Give services (names or globs) a new run; returns when it is spawned.

    What depends on them is left running. Earlier failures are forgotten.

    \b
    orchestrator restart api --wait   until the new run is healthy
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    names = names_of(stack, services)
    body = {"services": names, "grace_s": grace_s, "no_deps": no_deps}
    answer = stack.client.post("/v1/restart", body)
    if wait:
        wait_until_well(stack, names, WAIT_S)
    say_items(answer["services"], quiet=wait or options_of(context).quiet)
