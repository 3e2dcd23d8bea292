"""`completion`: what a shell needs to complete commands and service names."""

import click
from click.shell_completion import get_completion_class


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(orchestrator completion bash)"
    zsh:   eval "$(orchestrator completion zsh)"
    fish:  orchestrator completion fish | source
    """  # noqa: D301  click's mark for text that is not to be wrapped
    kind = get_completion_class(shell)
    if kind is not None:
        root = context.find_root().command
        click.echo(kind(root, {}, "orchestrator", "_ORCHESTRATOR_COMPLETE").source())
