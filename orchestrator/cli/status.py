"""`status`: for scripts, told by the exit code."""

import click

from orchestrator.cli.completing import service_names
from orchestrator.cli.stack import locate, options_of
from orchestrator.cli.table import has_colour, render, terminal_width
from orchestrator.cli.watching import matching
from orchestrator.errors import NotRunning

_NOT_WELL = 3


@click.command(name="status")
@click.argument("services", nargs=-1, shell_complete=service_names)
@click.pass_context
def command(context: click.Context, *, services: tuple[str, ...]) -> int:
    """Tell whether the services are well.

    Exit code 0: all run well or are completed; 3: something does not, or nothing runs at all;
    4: unknown name, or the supervisor does not answer.

    \b
    orchestrator -q status api || orchestrator restart api
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    try:
        items = stack.client.stack()["services"]
    except NotRunning as error:
        click.echo(f"orchestrator: {error.message}", err=True)
        return _NOT_WELL
    if services:
        names = matching(services, [item["name"] for item in items])
        items = [item for item in items if item["name"] in names]
    options = options_of(context)
    if not options.quiet:
        colour = has_colour(options.environ)
        for line in render(items, colour=colour, width=terminal_width()):
            click.echo(line, color=True)
    well = all(
        item["state"] == "completed"
        or (item["state"] == "running" and item["health"] in {"healthy", "-"})
        for item in items
    )
    return 0 if well else _NOT_WELL
