"""Service names for shell completion, without asking anybody who could be slow."""

import contextlib
from typing import TYPE_CHECKING

import click

from orchestrator.cli.environment import environment
from orchestrator.cli.stack import Options, locate
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def service_names(
    context: click.Context,
    parameter: click.Parameter,  # noqa: ARG001  click passes it
    incomplete: str,
) -> "list[CompletionItem]":
    """Return the services of the newest `up` whose names begin with ``incomplete``."""
    from click.shell_completion import CompletionItem

    root = context.find_root()
    if root.obj is None:
        root.obj = Options(environ=environment(), file=root.params.get("file"))
    with contextlib.suppress(OrchestratorError, OSError):
        names = locate(context).log_files
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []
