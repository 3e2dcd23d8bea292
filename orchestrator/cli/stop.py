"""`stop`: services, until nothing of them is alive."""

import click

from orchestrator.cli.changing import names_of, say_items
from orchestrator.cli.completing import service_names
from orchestrator.cli.durations import SECONDS
from orchestrator.cli.stack import locate, options_of


@click.command(name="stop")
@click.argument("services", nargs=-1, required=True, shell_complete=service_names)
@click.option("-t", "--timeout", "grace_s", type=SECONDS, help="Grace in place of their own.")
@click.pass_context
def command(context: click.Context, *, services: tuple[str, ...], grace_s: float | None) -> None:
    """Stop services (names or globs); returns when their process trees are empty.

    What depends on them is left running.

    \b
    orchestrator stop api
    orchestrator stop '*' -t 2   everything, killed after 2 s; the supervisor stays
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    names = names_of(stack, services)
    answer = stack.client.post("/v1/stop", {"services": names, "grace_s": grace_s})
    say_items(answer["services"], quiet=options_of(context).quiet)
