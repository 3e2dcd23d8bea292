"""The `orchestrator` command: global options, and each command loaded when it is used."""

import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from orchestrator import __version__
from orchestrator.cli.environment import environment
from orchestrator.cli.stack import Options
from orchestrator.errors import OrchestratorError, SpecError

COMMANDS = {
    "up": "Start the stack, or what is down of it.",
    "down": "Stop everything, in reverse order.",
    "start": "Start services, and what they need.",
    "stop": "Stop services.",
    "restart": "Give services a new run.",
    "ps": "Show the services.",
    "status": "Tell by exit code whether all is well.",
    "logs": "Show what the services wrote.",
    "wait": "Wait until services are healthy, started, completed or stopped.",
    "scheduler": "Run, test and use a scheduler.",
    "config": "Check and print services.yaml.",
    "doctor": "Check this machine.",
    "ls": "List this user's stacks.",
    "init": "Write a first services.yaml.",
    "completion": "Print shell completion.",
}


class Commands(click.Group):
    """Loads a command's module when the command is used: `--help` and `ps` stay quick."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; `--help` and `--version` print while that is done."""
        try:
            return super().parse_args(ctx, args)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; whoever reads its output may go away."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would make this an exit code of 1.
            raise ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the commands in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command by name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"orchestrator.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Print the commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--file", type=click.Path(path_type=Path), help="services.yaml to use.")
@click.option("-C", "--directory", type=click.Path(path_type=Path), help="Work in this folder.")
@click.option("--env-file", type=click.Path(path_type=Path), help="In place of the file's own.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors and what was asked for.")
@click.option("-v", "--verbose", is_flag=True, help="Print where an error came from as well.")
@click.version_option(__version__, prog_name="orchestrator", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    *,
    file: Path | None,
    directory: Path | None,
    env_file: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a stack of services: supervised, logged, health-checked, published.

    \b
    orchestrator up            start everything in services.yaml and watch it
    orchestrator up -d --wait  the same in the background, until all is healthy
    orchestrator logs -f       follow what they write
    orchestrator down          stop everything
    """  # noqa: D301  click's mark for text that is not to be wrapped
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise OrchestratorError(f"cannot work in {directory}: {error.strerror}") from error
    if verbose:
        import logging

        logging.basicConfig(level=logging.DEBUG)
    context.obj = Options(
        environ=environment(),
        file=file.absolute() if file else None,
        env_file=env_file.absolute() if env_file else None,
        quiet=quiet,
        verbose=verbose,
    )


class ReaderGone(Exception):
    """Whoever read our output has seen enough."""


class Terminated(BaseException):
    """SIGTERM or a hang-up reached us."""


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run the command line and return the exit code."""
    try:
        return _answer(words)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Terminated:
        return 143
    except (BrokenPipeError, ReaderGone):
        # Python would complain again when it flushes at exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.dup2(null, sys.stderr.fileno())
        return 0


def _answer(words: list[str]) -> int:
    """Run the command line, say what went wrong, and return the exit code for it."""
    try:
        code = cli.main(args=words, prog_name="orchestrator", standalone_mode=False)
        sys.stdout.flush()
    except OrchestratorError as error:
        _say(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        _say(OrchestratorError(f"cannot go on: {error}"), error)
        return 1
    return code if isinstance(code, int) else 0


def _say(error: OrchestratorError, origin: Exception | None = None) -> None:
    """Print an error; problems of services.yaml a line each, in the form that editors read."""
    is_list = isinstance(error, SpecError) and error.problems
    click.echo(error.message if is_list else f"orchestrator: {error.message}", err=True)
    if "logging" in sys.modules:  # -v loaded it, or something that has a log
        import logging

        logging.getLogger(__name__).debug("where it came from:", exc_info=origin or error)


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  signal's signature
    raise Terminated


if __name__ == "__main__":
    main()
