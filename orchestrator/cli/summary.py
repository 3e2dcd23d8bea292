"""What is said when `up` has come to its end: a line a service, and why some are not there."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from orchestrator.cli.outcome import Item, Verdict, waited
from orchestrator.cli.secrets import redactor_of
from orchestrator.cli.stack import Stack
from orchestrator.cli.table import harmless, reasons, waiting_text
from orchestrator.cli.watching import Watched
from orchestrator.errors import WaitFailed, WaitTimeout

_TAIL_LINES = 20
_LINE_CHARACTERS = 2000
_HIDDEN = "••••••••"


class Summary:
    """Says how the named services of a stack are, and why."""

    def __init__(self, stack: Stack, watched: Watched, names: Sequence[str]) -> None:
        self._stack = stack
        self._watched = watched
        self._names = names

    def say(self, took_s: float, *, waited_for: bool = True) -> None:
        """Print a line a service, what was published, and warnings.

        ``waited_for``: whether it was waited until all is well or is not to be.
        """
        width = max((len(name) for name in self._names), default=0)
        for name in self._names:
            click.echo(_line(self._watched.items[name], width))
        verdict = waited(self._names, self._watched.items, self._watched.running_for_s)
        said = "ready in" if verdict.done and not verdict.is_bad else "after"
        said = said if waited_for else "started in"
        click.echo(" · ".join([f"{said} {took_s:.1f} s", *self._published()]))
        for warning in self._watched.stack.get("warnings", ()):
            click.echo(f"warning: {warning}", err=True)

    def say_failures(self, verdict: Verdict) -> None:
        """Print why each service is not there, with the last lines it wrote."""
        for name in (*verdict.failed, *verdict.open):
            for why in reasons(self._watched.items[name]):
                click.echo(f"{name}: {why}", err=True)
            self.say_tail(name)

    def say_tail(self, name: str, count: int = _TAIL_LINES) -> None:
        """Print the last lines that a service's newest run wrote."""
        item = self._watched.items[name]
        hide = redactor_of(self._stack).text
        found = _last_lines(self._stack.root_dir / item["log_file"], item["run"], count)
        if found:
            click.echo(f"the last lines of {item['log_file']}:", err=True)
        for line in found:
            click.echo(f"  {name} | {hide(line)}", err=True)

    def _published(self) -> list[str]:
        names = self._watched.stack.get("published") or ()
        if not names:
            return []
        place = self._watched.stack["config_path"]
        entries = ", ".join(f"{name} ({self._parts(place, name)})" for name in names)
        return [f"{place} has {entries}"]

    def _parts(self, place: str, name: str) -> str:
        """Return which facts of an entry the file has; never a secret one itself."""
        try:
            config = json.loads((self._stack.root_dir / place).read_bytes())
            entries = [one for one in config["mcp"]["mcp_servers"] if one["name"] == name]
            auth = entries[-1]["transport"].get("auth") or {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return "URL"
        parts = ["URL"]
        parts += ["client id"] if auth.get("client_id") else []
        parts += [f"key {_HIDDEN}"] if auth.get("api_key") else []
        return ", ".join(parts)


def refuse_bad(verdict: Verdict, *, aborted: bool = False) -> None:
    """Return when all is well; the command line turns the error into its exit code.

    Raises:
        WaitTimeout: some services were still on their way.
        WaitFailed: some failed, or are not there because others did; ``aborted``: enough to end.
    """
    if not verdict.done and not aborted:
        raise WaitTimeout(f"not ready in time: {', '.join(verdict.open)}", verdict.open)
    if verdict.is_bad:
        raise WaitFailed(_refusal(verdict), verdict.failed)


def _last_lines(path: Path, run: int, count: int) -> list[str]:
    from orchestrator.logs.clean import clean
    from orchestrator.logs.index import Index
    from orchestrator.logs.lines import lines, newest
    from orchestrator.logs.segments import Log

    log = Log(path)
    end = log.end()
    known = Index(log.index_path).run_range(run)
    begin = newest(log, count, known[0] if known else end, end)
    shown = [clean(one.text, colour=False)[:_LINE_CHARACTERS] for one in lines(log, begin, end)]
    return shown[-count:]


def _refusal(verdict: Verdict) -> str:
    text = f"failed: {', '.join(verdict.failed)}" if verdict.failed else ""
    if verdict.behind:
        text += f"{'; ' if text else ''}not started for that: {', '.join(verdict.behind)}"
    return text


def _line(item: Item, width: int) -> str:
    word = item["health"] if item["health"] in {"healthy", "unhealthy"} else item["state"]
    more = item["url"] or ""
    if item["state"] == "pending" and item["waiting_for"]:
        more = f"waits for {waiting_text(item)}"
    elif item["state"] in {"failed", "backoff"} and item["cause"]:
        more = item["cause"]["text"]
    return f"{item['name'].ljust(width)}  {word:<9}  {harmless(more)}".rstrip()
