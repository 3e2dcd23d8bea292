"""What the commands of `scheduler` share: where it is, how it failed, and what may be printed."""

import functools
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import click

from orchestrator.cli.scheduler_place import RUNNING, Given, find_access
from orchestrator.cli.stack import options_of
from orchestrator.cli.table import harmless
from orchestrator.errors import OrchestratorError
from orchestrator.logs.redact import Redactor
from orchestrator.scheduler import errors
from orchestrator.scheduler.configuration import Access

if TYPE_CHECKING:
    from orchestrator.scheduler.client import SchedulerClient

T = TypeVar("T")
_LONGEST_WORDS = 400


class SchedulerFailed(OrchestratorError):
    """The scheduler refused, or failed."""

    kind: ClassVar[str] = "scheduler"


class SchedulerSilent(OrchestratorError):
    """Nobody answers there."""

    kind: ClassVar[str] = "scheduler-unreachable"
    exit_code: ClassVar[int] = 4


class UnknownConversation(OrchestratorError):
    """The scheduler knows no such conversation."""

    kind: ClassVar[str] = "unknown-conversation"
    exit_code: ClassVar[int] = 4


class SchedulerTimeout(OrchestratorError):
    """The scheduler did not answer in time."""

    kind: ClassVar[str] = "scheduler-timeout"
    exit_code: ClassVar[int] = 17


_KINDS: Mapping[type[errors.SchedulerError], type[OrchestratorError]] = {
    errors.Unreachable: SchedulerSilent,
    errors.TimedOut: SchedulerTimeout,
    errors.NotFound: UnknownConversation,
}


class Asked:
    """One use of a command: its options, and what must not be printed."""

    def __init__(
        self, context: click.Context, server_name: str, url: str | None, *, as_json: bool
    ) -> None:
        self.options = options_of(context)
        self.as_json = as_json
        self.server_name = server_name
        self._context = context
        self._url = url
        self._secrets: set[str] = set()
        self._doubt = ""

    def access(self, client_id: str | None = None, api_key: str | None = None) -> Access:
        """Return where the scheduler is and how to log in; what is given wins.

        Raises:
            SchedulerUnset: nothing tells.
            SpecError: services.yaml, which would tell, is wrong.
        """
        given = Given(client_id, api_key)
        found = find_access(self._context, self.server_name, self._url, given)
        password = urlsplit(found.url).password
        self.keep_secret(found.api_key, *([password] if password else []))
        return found

    def keep_secret(self, *values: str) -> None:
        """Have these values hidden in all that is printed from now on."""
        self._secrets |= set(values)
        # What `-v` shows of others' logs has URLs, and so a password in one.
        for handler in (*logging.getLogger().handlers, logging.lastResort):
            if handler is not None:
                handler.addFilter(self._without_secrets)

    def run(
        self, ask: "Callable[[SchedulerClient], Awaitable[T]]", *, is_change: bool = False
    ) -> T:
        """Return what ``ask`` learns from the scheduler, or brings about there if it is a change.

        Raises:
            SchedulerError: as ``ask``; a change that may have been made all the same says so.
        """
        from orchestrator.cli.scheduler_running import run_to_end
        from orchestrator.scheduler.client import SchedulerClient

        access = self.access()

        async def asked() -> T:
            async with SchedulerClient(access.url, access.client_id, access.api_key) as client:
                return await ask(client)

        try:
            return run_to_end(asked)
        except errors.SchedulerError as error:
            if is_change and error.may_have_happened:
                self._doubt = " (it may have been done all the same: `orchestrator scheduler list`)"
            raise

    def answer(self, document: Mapping[str, object], lines: Iterable[str]) -> None:
        """Print the result: one JSON document, or lines for people."""
        if self.as_json:
            click.echo(json.dumps(self.shown({"schema": 1, **document}), ensure_ascii=False))
            return
        for line in lines:
            click.echo(self.hidden(line))

    def note(self, text: str) -> None:
        """Tell people what is not the result."""
        if not self.options.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Tell people what is wrong."""
        click.echo(self.hidden(text), err=True)

    def line(self, text: str) -> str:
        """Return what a server may have said as a short line that hides secrets."""
        flat = harmless(self.hidden(text))
        return flat if len(flat) <= _LONGEST_WORDS else f"{flat[: _LONGEST_WORDS - 1]}…"

    def hidden(self, text: str) -> str:
        """Return the text with the secrets in it hidden."""
        return Redactor(self._secrets).text(text)

    def shown(self, value: Any) -> Any:  # noqa: ANN401  JSON
        """Return a value of JSON with the secrets in it hidden."""
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, Mapping):
            return {name: self.shown(one) for name, one in value.items()}
        return [self.shown(one) for one in value] if isinstance(value, list | tuple) else value

    def _without_secrets(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.hidden(record.getMessage()), ()
        return True

    def failure(self, error: errors.SchedulerError) -> OrchestratorError:
        """Return the error of the command line for one of the client's."""
        kind = next((_KINDS[one] for one in type(error).__mro__ if one in _KINDS), SchedulerFailed)
        hint = f"; {RUNNING}" if kind is SchedulerSilent else ""
        return kind(self.line(str(error)) + hint + self._doubt)


def asking(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the options that say which scheduler, `--json`, and our errors."""

    @click.option("--server", "server_name", default="Scheduler", help="Its name in config.json.")
    @click.option("--url", help="Another MCP URL; the key then comes from the environment.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @click.pass_context
    @functools.wraps(command)
    def run(
        context: click.Context,
        /,
        *,
        server_name: str,
        url: str | None,
        as_json: bool,
        **words: Any,  # noqa: ANN401  the command's own options
    ) -> int | None:
        asked = Asked(context, server_name, url, as_json=as_json)
        try:
            return _translated(asked, lambda: command(asked, **words))
        except OrchestratorError as error:
            if as_json:
                asked.answer({"error": {"kind": error.kind, "message": error.message}}, ())
            raise

    return run


def _translated(asked: Asked, run: Callable[[], T]) -> T:
    try:
        return run()
    except errors.SchedulerError as error:
        failure = asked.failure(error)
        # `-v` prints where an error came from; the words of that one are not cleaned.
        is_clean = asked.line(str(error)) == str(error)
        raise failure from (error if is_clean else None)
