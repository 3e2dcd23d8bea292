"""What is said when `up` has come to its end: a line a service, and why some are not there."""

from collections.abc import Sequence

import click

from orchestrator.cli.outcome import Verdict, waited
from orchestrator.cli.stack import Stack
from orchestrator.cli.table import reasons, waiting_text
from orchestrator.cli.watching import Watched

_TAIL_LINES = 20


def say_summary(watched: Watched, names: Sequence[str], took_s: float) -> None:
    """Print a line a service, and where the stack is published."""
    width = max((len(name) for name in names), default=0)
    for name in names:
        item = watched.items[name]
        word = item["health"] if item["health"] in {"healthy", "unhealthy"} else item["state"]
        more = item["url"] or ""
        if item["state"] == "pending" and item["waiting_for"]:
            more = f"waits for {waiting_text(item)}"
        elif item["state"] in {"failed", "backoff"} and item["cause"]:
            more = item["cause"]["text"]
        click.echo(f"{name.ljust(width)}  {word:<9}  {more}".rstrip())
    verdict = waited(names, watched.items, watched.running_for_s)
    said = "ready in" if verdict.done and not verdict.is_bad else "after"
    text = f"{said} {took_s:.1f} s"
    published = watched.stack.get("published") or ()
    if published:
        text += (
            f" · {watched.stack['config_path']} has {', '.join(published)} (URL and credentials)"
        )
    click.echo(text)
    for warning in watched.stack.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)


def say_failures(stack: Stack, watched: Watched, verdict: Verdict) -> None:
    """Print why each failed service failed, with the last lines it wrote."""
    for name in (*verdict.failed, *verdict.open):
        item = watched.items[name]
        for why in reasons(item):
            click.echo(f"{name}: {why}", err=True)
        say_tail(stack, name, item["log_file"])


def say_tail(stack: Stack, name: str, log_file: str, count: int = _TAIL_LINES) -> None:
    """Print the last lines of a service's log."""
    from orchestrator.cli.secrets import redactor_of
    from orchestrator.logs.tail import tail

    redact = redactor_of(stack).text
    found = tail(stack.root_dir / log_file, count)
    if found:
        click.echo(f"the last lines of {log_file}:", err=True)
    for line in found:
        click.echo(f"  {name} | {redact(line)}", err=True)
