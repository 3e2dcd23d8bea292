"""`scheduler tools`: which way of speaking answered, and the tools behind it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.scheduler_asking import Asked, asking
from orchestrator.cli.scheduler_place import shown_url
from orchestrator.cli.table import harmless

if TYPE_CHECKING:
    from orchestrator.scheduler.client import SchedulerClient
    from orchestrator.scheduler.values import Tool

NEEDED = ("scheduleConversation", "getConversationStatus", "cancelConversation")


@click.command(name="tools")
@asking
def tools_command(asked: Asked) -> int:
    """Tell whether the scheduler speaks standard MCP or its dialect, and list its tools.

    Exit code 1: a tool that a scheduler must have is missing.
    """

    async def ask(client: "SchedulerClient") -> "tuple[str, tuple[Tool, ...]]":
        return await client.check(), await client.tools()

    url = shown_url(asked.access().url)
    speaks, tools = asked.run(ask)
    missing = lacking(tools)
    listed = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
        for tool in tools
    ]
    asked.answer(
        {"url": url, "speaks": speaks, "tools": listed, "missing": list(missing)},
        _lines(url, speaks, tools),
    )
    if missing:
        asked.warn(f"this is no scheduler: it has no {', '.join(missing)}")
    return 1 if missing else 0


def lacking(tools: "Iterable[Tool]") -> tuple[str, ...]:
    """Return which tools of a scheduler are not among ``tools``."""
    names = {tool.name for tool in tools}
    return tuple(name for name in NEEDED if name not in names)


def _lines(url: str, speaks: str, tools: "Sequence[Tool]") -> Iterable[str]:
    yield f"{url} speaks {speaks}"
    width = max((len(harmless(tool.name)) for tool in tools), default=0)
    for tool in tools:
        yield f"{harmless(tool.name).ljust(width)}  {harmless(tool.description)}".rstrip()
