"""`config`: services.yaml checked and printed; its schema; publishing once more."""

import json

import click

from orchestrator.cli.stack import load_project, locate, options_of


@click.group(name="config", invoke_without_command=True)
@click.option("-q", "--quiet", is_flag=True, help="Only check.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml")
@click.pass_context
def command(context: click.Context, *, quiet: bool, form: str) -> None:
    """Check services.yaml and print it as it was understood.

    Values of secrets are not printed. Exit code 6: something is wrong with it.

    \b
    orchestrator config -q                      only check
    orchestrator config schema > schema.json    for editors
    orchestrator config publish                 write config.json once more
    """  # noqa: D301  click's mark for text that is not to be wrapped
    if context.invoked_subcommand is not None:
        return
    from orchestrator.spec.dump import dump, plain

    stack, options = locate(context), options_of(context)
    project = load_project(stack, options.environ, options.env_file)
    if not quiet and not options.quiet:
        text = json.dumps(plain(project), ensure_ascii=False) if form == "json" else dump(project)
        click.echo(text.rstrip("\n"))


@command.command(name="schema")
def schema() -> None:
    """Print the JSON Schema of services.yaml, for editors."""
    from orchestrator.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@command.command(name="publish")
@click.pass_context
def publish(context: click.Context) -> None:
    """Write config.json again, with all that is ready.

    Exit code 1: it could not be written, or is no JSON; it is left as it was.
    """
    answer = locate(context).client.post("/v1/publish", {}, 30.0)
    for warning in answer["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if not answer["stands"]:
        context.exit(1)
    names = ", ".join(answer["published"])
    click.echo(f"published: {names}" if names else "nothing is ready to be published")
