"""`start`: services, and what they need."""

import click

from orchestrator.cli.changing import WAIT_S, names_of, say_items, wait_until_well
from orchestrator.cli.completing import service_names
from orchestrator.cli.stack import locate, options_of


@click.command(name="start")
@click.argument("services", nargs=-1, required=True, shell_complete=service_names)
@click.option("--wait", is_flag=True, help="Until they are healthy.")
@click.option("--no-deps", is_flag=True, help="Not what they depend on.")
@click.pass_context
def command(
    context: click.Context, *, services: tuple[str, ...], wait: bool, no_deps: bool
) -> None:
    """Start services (names or globs) of a running stack; what they need is started first.

    Returns when each is spawned, or waits for others. Earlier failures are forgotten.

    \b
    orchestrator start api --wait   until it is healthy; exit codes 17 and 18 as for up
    orchestrator start 'worker-*'   all whose names begin so
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    names = names_of(stack, services)
    answer = stack.client.post("/v1/start", {"services": names, "no_deps": no_deps})
    if wait:
        wait_until_well(stack, names, WAIT_S)
    say_items(answer["services"], quiet=wait or options_of(context).quiet)
