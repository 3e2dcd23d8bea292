"""`scheduler auth`: whether the credentials are taken, and what the server says to them."""

import click

from orchestrator.cli.scheduler_asking import Asked, SchedulerFailed, asking
from orchestrator.cli.scheduler_place import shown_url
from orchestrator.cli.table import harmless
from orchestrator.spec.quantities import format_duration


@click.command(name="auth")
@click.option("--client-id", help="In place of config.json's.")
@click.option("--api-key", help="In place of config.json's; SCHEDULER_API_KEY is not in `ps`.")
@asking
def auth_command(asked: Asked, *, client_id: str | None, api_key: str | None) -> None:
    """Try the credentials and tell what the server says.

    Exit code 1: it refuses them.
    """
    from orchestrator.cli.scheduler_login import LOGIN, Login, log_in, wire_to
    from orchestrator.cli.scheduler_running import run_to_end
    from orchestrator.scheduler.connections import Connections

    access = asked.access(client_id, api_key)
    where = shown_url(access.url)

    async def ask() -> Login:
        connections = Connections()
        try:
            return await log_in(wire_to(access, connections), access)
        finally:
            await connections.aclose()

    login = run_to_end(ask)
    if login.token is None:
        said = asked.line(login.words)
        place = shown_url(wire_to(access, Connections()).url(LOGIN))
        raise SchedulerFailed(
            f"{place} answers {login.status} to client {access.client_id!r}: {said}; {login.advice}"
        )
    asked.keep_secret(login.token)
    life = "" if login.life_s is None else f" for {format_duration(login.life_s)}"
    asked.answer(
        {
            "url": where,
            "client_id": access.client_id,
            "accepted": True,
            "token_life_s": login.life_s,
            "token_client_id": login.client_id,
        },
        [f"{where} takes client {harmless(access.client_id)!r}: a token{life}"],
    )
