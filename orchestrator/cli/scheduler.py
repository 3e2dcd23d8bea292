"""`scheduler`: run the embedded scheduler, test one, use one."""

import importlib

import click

COMMANDS = {
    "serve": "Run the embedded scheduler.",
    "tools": "Tell how the scheduler speaks, and its tools.",
    "auth": "Try the credentials.",
    "check": "Try everything, up to a delivery.",
    "schedule": "Have a text sent later.",
    "show": "Show a conversation.",
    "cancel": "Cancel a conversation.",
    "list": "List conversations, newest first.",
}
_USING = ("show", "cancel", "list")


class Commands(click.Group):
    """Loads a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the commands in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command by name."""
        if cmd_name not in COMMANDS:
            return None
        home = "conversations" if cmd_name in _USING else cmd_name
        module = importlib.import_module(f"orchestrator.cli.scheduler_{home}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Print the commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, name="scheduler", context_settings={"max_content_width": 100})
def command() -> None:
    """Run the embedded scheduler, test a scheduler, use it.

    All but `serve` find URL and credentials in config.json, as services.yaml's `config:` names
    it, else in config/config.json. SCHEDULER_CLIENT_ID and SCHEDULER_API_KEY win over the file.
    Exit codes: 1 refused or failed, 4 nobody answers or no such conversation, 6 config.json has
    no such entry, 17 no answer in time.

    \b
    orchestrator scheduler check
    orchestrator scheduler schedule 'good morning' --in 8h --endpoint http://localhost:8000/callback
    """  # noqa: D301  click's mark for text that is not to be wrapped
