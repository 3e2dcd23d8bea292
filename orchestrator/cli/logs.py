"""`logs`: what the services wrote, read from the files, so the supervisor may be down."""

import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import click

from orchestrator.cli.completing import service_names
from orchestrator.cli.secrets import redactor_of
from orchestrator.cli.stack import Stack, locate, options_of
from orchestrator.cli.table import has_colour
from orchestrator.errors import OrchestratorError
from orchestrator.logs.follow import Follower
from orchestrator.logs.printer import LogPrinter, Look, as_json
from orchestrator.logs.query import Item, Line, Query, bounds, read
from orchestrator.logs.redact import Redactor
from orchestrator.logs.segments import Log, chunks
from orchestrator.spec.quantities import parse_duration

_POLL_S = 0.05

Show = Callable[[Item], None]


class _Moment(click.ParamType[float]):
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds since the epoch for RFC 3339, a local time, or a time ago (`10m`)."""
        text = str(value)
        try:
            return time.time() - parse_duration(text)  # noqa: TID251  a face: what people mean by ago
        except ValueError:
            pass
        try:
            return datetime.fromisoformat(text).astimezone().timestamp()
        except ValueError:
            words = f"{text!r} is neither a time such as 2026-01-31T12:00 nor one ago, as 10m"
            self.fail(words, param, ctx)


class _Count(click.ParamType[int]):
    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return a number of lines; -1 for all."""
        if value == "all":
            return -1
        if not str(value).isdigit():
            self.fail(f"{value!r} is neither a number of lines nor all", param, ctx)
        return int(str(value))


@click.command(name="logs")
@click.argument("services", nargs=-1, shell_complete=service_names)
@click.option("-f", "--follow", is_flag=True, help="Go on as they write.")
@click.option("-n", "--tail", "count", type=_Count(), help="How many lines, or all (100).")
@click.option("--since", type=_Moment(), help="From this time on, or this long ago.")
@click.option("--until", type=_Moment(), help="Up to this time.")
@click.option("--after", type=int, metavar="SEQ", help="Lines after this one, by its seq.")
@click.option("-t", "--timestamps", is_flag=True, help="With the time of each line.")
@click.option("-g", "--grep", metavar="REGEX", help="Only lines with this pattern.")
@click.option("-i", "--ignore-case", is_flag=True, help="For -g.")
@click.option("--run", type=int, help="Only this run; -1 is the one before the newest.")
@click.option("--format", "form", type=click.Choice(["text", "json", "raw"]), default="text")
@click.option("--no-log-prefix", is_flag=True, help="Without the services' names.")
@click.option("--path", is_flag=True, help="Only print where the files are.")
@click.pass_context
def command(
    context: click.Context,
    *,
    services: tuple[str, ...],
    follow: bool,
    count: int | None,
    since: float | None,
    until: float | None,
    after: int | None,
    timestamps: bool,
    grep: str | None,
    ignore_case: bool,
    run: int | None,
    form: str,
    no_log_prefix: bool,
    path: bool,
) -> None:
    """Show what the services (names or globs) wrote, merged by time.

    Control sequences other than colour are left out, secrets are hidden; --format raw shows the
    bytes as they are.
    """
    stack = locate(context)
    logs = _chosen(stack, services)
    if path:
        for one in logs.values():
            click.echo(str(one))
        return
    ranged = since is not None or until is not None or after is not None or run is not None
    if count is None:
        count = -1 if ranged else 100
    pattern = _pattern(grep, ignore_case=ignore_case)
    redactor = redactor_of(stack)
    query = Query(None if count < 0 else count, since, until, after, run, pattern, redactor)
    look = Look(_colour(context), timestamps, not no_log_prefix)
    show = _shower(logs, form, redactor, look)
    # What the terminal can't show must not end us.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if follow:
        _follow(Follower(logs), query, show)
    elif form == "raw" and len(logs) == 1 and after is None and not query.is_picky:
        _copy(Log(*logs.values()), query)
    else:
        for item in read(logs, query):
            show(item)


def _chosen(stack: Stack, words: tuple[str, ...]) -> Mapping[str, Path]:
    if not stack.log_files:
        raise OrchestratorError(f"nothing of {stack.file} was ever started; `orchestrator up` does")
    if not words:
        return stack.log_files
    # It comes with the control client, which nobody needs who reads all logs.
    from orchestrator.cli.watching import matching

    return {name: stack.log_files[name] for name in matching(words, list(stack.log_files))}


def _pattern(text: str | None, *, ignore_case: bool) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise click.BadParameter(f"{text!r} is no regular expression: {error}") from error


def _colour(context: click.Context) -> bool:
    return has_colour(options_of(context).environ)


def _shower(logs: Mapping[str, Path], form: str, redactor: Redactor, look: Look) -> Show:
    if form == "raw":
        return _write_raw
    if form == "json":
        return lambda item: _write(as_json(item, redactor) + "\n")
    return LogPrinter(list(logs), _write, redactor, look).show


def _write(text: str) -> None:
    sys.stdout.write(text)


def _write_raw(item: Item) -> None:
    if isinstance(item, Line):
        sys.stdout.buffer.write(item.text + (b"\n" if item.ended else b""))


def _follow(follower: Follower, query: Query, show: Show) -> None:
    """Show what is there, then what is added, until somebody ends us or the time is up."""
    for item in follower.before(query):
        show(item)
    sys.stdout.flush()
    while query.until is None or time.time() < query.until:  # noqa: TID251  a face
        items = follower.poll()
        for item in items:
            show(item)
        sys.stdout.flush()
        if not items:
            time.sleep(_POLL_S)  # noqa: TID251  no loop runs here


def _copy(log: Log, query: Query) -> None:
    """Write the bytes of one log as they are, as fast as they can be read."""
    for _, data in chunks(log, *bounds(log, query)):
        sys.stdout.buffer.write(data)
