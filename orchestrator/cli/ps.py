"""`ps`: the services as they are."""

import json
import sys
from collections.abc import Sequence

import click

from orchestrator.cli.completing import service_names
from orchestrator.cli.stack import locate, options_of
from orchestrator.cli.table import has_colour, render, terminal_width
from orchestrator.cli.watching import CHANGED, Item, Watched, matching
from orchestrator.control.client import Message

_REDRAW_S = 1.0


@click.command(name="ps")
@click.argument("services", nargs=-1, shell_complete=service_names)
@click.option("-a", "--all", "every", is_flag=True, help="Also the completed and the stopped ones.")
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.option("-f", "--follow", is_flag=True, help="Go on as things change.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_context
def command(
    context: click.Context,
    *,
    services: tuple[str, ...],
    every: bool,
    quiet: bool,
    follow: bool,
    form: str,
) -> None:
    """Show the services, those with problems first and why.

    Without -a, completed ones and those stopped by hand are left out of the table. JSON has all.
    With -f, JSON is one service a line, at first and then at each change.

    \b
    orchestrator ps                         the table
    orchestrator ps -q | xargs …            names
    orchestrator ps --format json | jq …    for scripts; its shape only ever grows
    """  # noqa: D301  click's mark for text that is not to be wrapped
    stack = locate(context)
    if follow:
        with stack.client.events() as events:
            _follow(Watched(events), services, context, form, every=every)
        return
    answer = stack.client.stack()
    items = _chosen(answer["services"], services, every=every or form == "json")
    if quiet:
        for item in items:
            click.echo(item["name"])
    elif form == "json":
        content = {"schema": answer["schema"], "stack": answer["stack"], "services": items}
        click.echo(json.dumps(content, ensure_ascii=False))
    else:
        _print(items, answer, context)


def _chosen(items: Sequence[Item], words: Sequence[str], *, every: bool) -> list[Item]:
    if words:
        names = matching(words, [item["name"] for item in items])
        return [item for item in items if item["name"] in names]
    return [item for item in items if every or not _is_out_of_sight(item)]


def _is_out_of_sight(item: Item) -> bool:
    return item["state"] == "completed" or (item["state"] == "stopped" and not item["wanted"])


def _print(items: Sequence[Item], answer: Message, context: click.Context) -> None:
    colour = has_colour(options_of(context).environ)
    if items:
        _say_lines(render(items, colour=colour, width=terminal_width()))
    else:
        click.echo("nothing runs; `ps -a` shows all services", err=True)
    for warning in answer.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    if answer.get("file_changed"):
        click.echo(CHANGED, err=True)


def _follow(
    watched: Watched, words: Sequence[str], context: click.Context, form: str, *, every: bool
) -> None:
    """Go on until the stack is down: JSON and piped tables grow, a terminal is drawn over."""
    names = set(watched.names(words))
    colour = has_colour(options_of(context).environ)
    screen = None
    if form == "table" and sys.stdout.isatty():
        from orchestrator.cli.screen import Screen

        screen = Screen(sys.stdout)

    def shown() -> list[Item]:
        items = [watched.as_of_now(name) for name in watched.items if name in names]
        return [item for item in items if every or words or not _is_out_of_sight(item)]

    if form == "json":
        for name in watched.items:
            if name in names:
                _say_json(watched.items[name])
    elif screen is None:
        _say_lines(render(shown(), colour=colour, width=terminal_width()))
    while not watched.ended:
        if screen is not None:
            screen.draw(render(shown(), colour=colour, width=terminal_width()))
        message = watched.next(_REDRAW_S if screen is not None else None)
        changed = message["item"] if message and message["type"] == "service" else None
        if changed is None or changed["name"] not in names:
            continue
        if form == "json":
            _say_json(changed)
        elif screen is None:
            items = [watched.as_of_now(name) for name in watched.items if name in names]
            _say_lines(render(items, colour=colour, only={changed["name"]}))


def _say_json(item: Item) -> None:
    click.echo(json.dumps(item, ensure_ascii=False))


def _say_lines(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line, color=True)
