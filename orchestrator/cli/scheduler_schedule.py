"""`scheduler schedule`: have a text sent at a time, or after a while."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli.durations import SECONDS
from orchestrator.cli.scheduler_asking import Asked, asking
from orchestrator.cli.scheduler_rows import as_endpoint, local, wire_time
from orchestrator.scheduler.clock import SystemClock
from orchestrator.scheduler.configuration import is_http_url
from orchestrator.scheduler.values import utc

if TYPE_CHECKING:
    from orchestrator.scheduler.client import SchedulerClient


class _Moment(click.ParamType[datetime]):
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return a time in UTC; one without a zone is local time."""
        try:
            return utc(datetime.fromisoformat(str(value).strip()))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write it as 2031-01-31T09:30", param, ctx)


class _Endpoint(click.ParamType[str]):
    name = "url"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return an address that something can be delivered to."""
        if not is_http_url(str(value)):
            self.fail(f"{as_endpoint(str(value))!r} is no http or https URL", param, ctx)
        return str(value)


@click.command(name="schedule")
@click.argument("text")
@click.option("--at", type=_Moment(), help="When: ISO 8601; local time without a zone.")
@click.option("--in", "in_s", type=SECONDS, help="Or how long from now: 90s, 8h.")
@click.option("--endpoint", type=_Endpoint(), required=True, help="Where to send it.")
@click.option("--method", default="POST", help="How to send it (POST).")
@click.option("--info", help="Kept with it, and never sent.")
@asking
def schedule_command(
    asked: Asked,
    *,
    text: str,
    at: datetime | None,
    in_s: float | None,
    endpoint: str,
    method: str,
    info: str | None,
) -> None:
    """Have TEXT sent to an endpoint later, and print the conversation's id."""
    if (at is None) == (in_s is None):
        raise click.UsageError("say when: either --at or --in")

    async def ask(client: "SchedulerClient") -> tuple[str, datetime]:
        # `--in` counts from the moment that the scheduler can be asked.
        await client.check()
        due = at or after(in_s or 0.0)
        return await client.schedule(text, due, endpoint, method, info), due

    made, due = asked.run(ask, is_change=True)
    asked.answer({"id": made, "scheduled_time": wire_time(due), "method": method}, [made])
    if not asked.as_json:
        asked.note(f"will be sent at {local(due)} to {as_endpoint(endpoint)}")


def after(seconds: float) -> datetime:
    """Return the moment that many seconds from now, in UTC."""
    now = datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, UTC)
    return now + timedelta(seconds=seconds)
