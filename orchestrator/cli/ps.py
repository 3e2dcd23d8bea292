"""`ps`: the services as they are."""

import json
from collections.abc import Sequence
from typing import Any

import click

from orchestrator.cli.stack import locate, options_of
from orchestrator.cli.table import has_colour, render
from orchestrator.cli.watching import Watched, matching

_QUIET = {"completed"}


@click.command(name="ps")
@click.argument("services", nargs=-1)
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
    """Show the services, those with problems first.

    Without -a, completed ones and those stopped by hand are left out.
    """
    stack = locate(context)
    if follow:
        with stack.client.events() as events:
            _follow(Watched(events), services, context, form)
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


def _chosen(
    items: Sequence[dict[str, Any]], words: Sequence[str], *, every: bool
) -> list[dict[str, Any]]:
    if words:
        names = matching(words, [item["name"] for item in items])
        return [item for item in items if item["name"] in names]
    return [item for item in items if every or not _is_out_of_sight(item)]


def _is_out_of_sight(item: dict[str, Any]) -> bool:
    return item["state"] in _QUIET or (item["state"] == "stopped" and not item["wanted"])


def _print(items: Sequence[dict[str, Any]], answer: dict[str, Any], context: click.Context) -> None:
    colour = has_colour(options_of(context).environ)
    if items:
        for line in render(items, colour=colour):
            click.echo(line, color=True)
    else:
        click.echo("nothing runs; `ps -a` shows all services", err=True)
    for warning in answer.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    if answer.get("file_changed"):
        click.echo("services.yaml has changed since this stack was started", err=True)


def _follow(watched: Watched, services: Sequence[str], context: click.Context, form: str) -> None:
    names = watched.names(services)
    colour = has_colour(options_of(context).environ)
    if form == "json":
        for name in names:
            click.echo(json.dumps(watched.items[name], ensure_ascii=False))
    else:
        click.echo("\n".join(render([watched.items[name] for name in names], colour=colour)))
    while not watched.ended:
        message = watched.next(60.0)
        if message is None or message["type"] != "service":
            continue
        item = message["item"]
        if item["name"] not in names:
            continue
        if form == "json":
            click.echo(json.dumps(item, ensure_ascii=False))
        else:
            for line in render([item], colour=colour)[1:]:
                click.echo(line, color=True)
