"""`scheduler show`, `cancel` and `list`: conversations that are there already."""

from typing import TYPE_CHECKING

import click

from orchestrator.cli.scheduler_asking import Asked, SchedulerFailed, UnknownConversation, asking
from orchestrator.cli.scheduler_rows import details, document, table
from orchestrator.cli.table import harmless
from orchestrator.scheduler.errors import NotFound
from orchestrator.scheduler.values import Conversation, Status

if TYPE_CHECKING:
    from orchestrator.scheduler.client import SchedulerClient
    from orchestrator.scheduler.values import Page

_WORDS = [status.value for status in Status]


@click.command(name="show")
@click.argument("conversation_id", metavar="ID")
@asking
def show_command(asked: Asked, *, conversation_id: str) -> None:
    """Show a conversation. Exit code 4: the scheduler knows no such one."""

    async def ask(client: "SchedulerClient") -> Conversation | Status:
        try:
            return await client.conversation(conversation_id)
        except NotFound:
            # A server that has the tools alone tells the status alone.
            return await client.status(conversation_id)

    try:
        found = asked.run(ask)
    except NotFound as error:
        raise _unknown(conversation_id) from error
    if isinstance(found, Status):
        known = {"id": conversation_id, "status": found.value}
        asked.answer({"conversation": known}, [f"{found.value}"])
        return
    asked.answer({"conversation": document(found)}, details(found))


@click.command(name="cancel")
@click.argument("conversation_id", metavar="ID")
@asking
def cancel_command(asked: Asked, *, conversation_id: str) -> None:
    """Cancel a conversation that was not sent yet.

    Exit code 1: it is too late. 4: the scheduler knows no such one.
    """

    async def ask(client: "SchedulerClient") -> tuple[bool, Status]:
        done = await client.cancel(conversation_id)
        return done, Status.CANCELLED if done else await client.status(conversation_id)

    try:
        done, status = asked.run(ask, is_change=True)
    except NotFound as error:
        raise _unknown(conversation_id) from error
    if not done:
        raise SchedulerFailed(f"it is too late: {harmless(conversation_id)} is {status.value}")
    asked.answer({"id": conversation_id, "cancelled": True}, [])
    if not asked.as_json:
        asked.note(f"cancelled {harmless(conversation_id)}")


@click.command(name="list")
@click.option("--status", type=click.Choice(_WORDS, case_sensitive=False), help="Only these.")
@click.option("--page", type=click.IntRange(1), default=1, help="Which page (1).")
@click.option("--page-size", type=click.IntRange(1, 100), default=20, help="Rows a page (20).")
@asking
def list_command(asked: Asked, *, status: str | None, page: int, page_size: int) -> None:
    """List conversations, those created last first."""
    wanted = Status(status) if status else None

    async def ask(client: "SchedulerClient") -> "Page":
        return await client.conversations(page, page_size, wanted)

    found = asked.run(ask)
    asked.answer(
        {
            "page": found.number,
            "page_size": found.size,
            "pages": found.pages,
            "total": found.total,
            "conversations": [document(one) for one in found.conversations],
        },
        table(found.conversations),
    )
    if not asked.as_json and found.pages > 1:
        asked.note(f"page {found.number} of {found.pages}, {found.total} in all")


def _unknown(conversation_id: str) -> UnknownConversation:
    return UnknownConversation(f"the scheduler knows no conversation {harmless(conversation_id)}")
