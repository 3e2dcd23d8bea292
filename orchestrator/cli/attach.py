"""`up` attached: what happens live, then the merged logs, and the end that was asked for."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

import click

from orchestrator.cli import outcome
from orchestrator.cli.down import follow_down
from orchestrator.cli.live import Live, is_slow
from orchestrator.cli.secrets import redactor_of
from orchestrator.cli.stack import Options, Stack
from orchestrator.cli.summary import say_failures, say_summary, say_tail
from orchestrator.cli.table import has_colour
from orchestrator.cli.watching import Watched
from orchestrator.control.client import Message
from orchestrator.errors import ControlError
from orchestrator.logs.follow import Follower
from orchestrator.logs.printer import LogPrinter, Look
from orchestrator.logs.segments import Log

_LOOK_S = 0.05
_INTERRUPTED, _TERMINATED, _FAILED = 130, 143, 18


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends an attached `up` beside people."""

    abort_on_failure: bool = False
    exit_code_from: str | None = None


class Interruptions:
    """Counts the signals that ask for an end; the handlers stay installed all the time."""

    def __init__(self) -> None:
        self.count = 0
        self.code = _INTERRUPTED

    @contextlib.contextmanager
    def caught(self) -> Iterator["Interruptions"]:
        """Catch them inside the block."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's
        self.count += 1
        self.code = _INTERRUPTED if number == signal.SIGINT else _TERMINATED
        if self.count >= 3:  # the shims finish the kill without us
            os._exit(self.code)


def attached_up(
    stack: Stack,
    services: Sequence[str],
    options: Options,
    ending: Ending,
    *,
    started_here: bool,
    began: float,
) -> int:
    """Watch until the stack ends, or somebody ends it; return the exit code."""
    with Interruptions().caught() as asked, stack.client.events() as events, _keys() as keys:
        watched = Watched(events)
        session = _Session(stack, watched, options, ending, asked, keys, began)
        try:
            return session.run(watched.names(services), owner=started_here)
        except BrokenPipeError:
            # Nobody reads us any more: as a hang-up.
            if started_here:
                stack.client.post("/v1/down", {}, 10.0)
            raise


class _Session:
    """One attached `up`, from its first line to its exit code."""

    def __init__(
        self,
        stack: Stack,
        watched: Watched,
        options: Options,
        ending: Ending,
        asked: Interruptions,
        keys: "_Keys",
        began: float,
    ) -> None:
        self._stack = stack
        self._watched = watched
        self._ending = ending
        self._asked = asked
        self._keys = keys
        self._began = began
        self._quiet = options.quiet
        self._colour = has_colour(options.environ)
        self._hinted: set[str] = set()

    def run(self, names: Sequence[str], *, owner: bool) -> int:
        """Return the exit code; ``owner``: this `up` started the stack, and its end ends it."""
        if self._ending.exit_code_from is not None:
            self._watched.names([self._ending.exit_code_from])
        self._say_head(names)
        code = self._until_decided(names)
        if code is None:
            self._say_ready(names)
            code = self._follow(names)
        if code >= 0:
            return self._end_all(code) if self._ends_all(code, owner=owner) else code
        return self._leave()

    # The three parts.

    def _until_decided(self, names: Sequence[str]) -> int | None:
        """Show the live lines until every service is well, failed or behind a failure."""
        live = Live(terminal=sys.stdout.isatty(), colour=self._colour)
        while True:
            if not self._quiet:
                live.show(self._watched, names)
            verdict = outcome.waited(names, self._watched.items, self._watched.running_for_s)
            code = self._reason_to_end()
            if verdict.done or code is not None:
                live.clear()
                return code
            self._hint(names, live)
            self._wait()

    def _follow(self, names: Sequence[str]) -> int:
        """Show the merged logs until there is a reason to end."""
        logs = {
            name: self._stack.root_dir / self._watched.items[name]["log_file"] for name in names
        }
        starts = {name: _begin_of_run(Log(path)) for name, path in logs.items()}
        follower = Follower(logs, starts)
        look = Look(colour=self._colour)
        printer = LogPrinter(list(logs), sys.stdout.write, redactor_of(self._stack), look)
        while True:
            items = follower.poll()
            for item in items:
                printer.show(item)
            sys.stdout.flush()
            code = self._reason_to_end()
            if code is not None:
                if not follower.poll():
                    return code
                continue
            message = self._wait()
            if message is not None:
                self._mark(printer, message)

    def _end_all(self, code: int) -> int:
        """Stop everything, saying what is waited for; asked again, kill."""
        with contextlib.suppress(ControlError):
            self._stack.client.post("/v1/down", {}, 10.0)
            self._follow_down()
        return code

    # Reasons.

    def _reason_to_end(self) -> int | None:
        """Return an exit code, -1 to leave as it is, or None to go on."""
        if self._asked.count:
            return self._asked.code
        if self._keys.detach_asked():
            return -1
        if self._watched.stopped:
            return 0
        if self._watched.ended:
            raise ControlError(
                "the supervisor is gone; services run on, `orchestrator up` takes them over"
            )
        items = self._watched.items
        named = items.get(self._ending.exit_code_from or "")
        if named is not None and named["state"] in {"completed", "exited", "failed"}:
            return _code_of(named)
        failed = [name for name, item in items.items() if item["state"] == "failed"]
        if failed and self._ending.abort_on_failure:
            self._say_failed(failed)
            return _FAILED
        if outcome.is_over(list(items.values())):
            self._say_failed(failed)
            return _FAILED if failed else 0
        return None

    def _ends_all(self, code: int, *, owner: bool) -> bool:
        if self._watched.stopped:
            return False
        if self._asked.count:
            return owner
        failed = code == _FAILED and not self._ending.abort_on_failure
        # With a failure the supervisor stays, so that it can be mended and started again.
        return not failed or self._ending.exit_code_from is not None

    def _leave(self) -> int:
        if not self._quiet:
            click.echo(
                "detached; `orchestrator logs -f` follows, `orchestrator down` stops", err=True
            )
        return 0

    def _follow_down(self) -> None:
        asked_before = self._asked.count
        said_at = time.monotonic()
        click.echo("stopping; once more kills at once", err=True)
        while not self._watched.stopped and not self._watched.ended:
            self._watched.next(_LOOK_S)
            if self._asked.count > asked_before:
                asked_before = self._asked.count
                click.echo("killing", err=True)
                self._stack.client.post("/v1/kill", {}, 10.0)
            left = [n for n, one in self._watched.items.items() if one["state"] == "stopping"]
            if left and time.monotonic() - said_at > 1.0:
                said_at = time.monotonic()
                click.echo(f"still waiting for {', '.join(left)}", err=True)
        follow_down(self._watched, quiet=True)

    # What is said.

    def _say_head(self, names: Sequence[str]) -> None:
        if not self._quiet:
            stack = self._watched.stack
            click.echo(f"orchestrator up · {stack['stack']} · {len(names)} services")
            if stack.get("file_changed"):
                click.echo("services.yaml has changed since this stack was started", err=True)

    def _say_ready(self, names: Sequence[str]) -> None:
        verdict = outcome.waited(names, self._watched.items, self._watched.running_for_s)
        if not self._quiet:
            say_summary(self._watched, names, time.monotonic() - self._began)
        say_failures(self._stack, self._watched, verdict)
        if self._keys.on and not self._quiet:
            click.echo("d detaches · Ctrl-C stops")

    def _say_failed(self, failed: Sequence[str]) -> None:
        for name in failed:
            item = self._watched.items[name]
            click.echo(f"{name} failed: {item['cause']['text'] if item['cause'] else ''}", err=True)

    def _hint(self, names: Sequence[str], live: Live) -> None:
        """Say more about what has been starting for long, once."""
        for name in names:
            if name not in self._hinted and is_slow(self._watched, name):
                self._hinted.add(name)
                live.clear()
                probe = self._watched.items[name]["last_probe"]
                click.echo(f"{name} is not healthy yet: {probe['text'] if probe else 'no answer'}")
                say_tail(self._stack, name, self._watched.items[name]["log_file"], 1)

    def _mark(self, printer: LogPrinter, message: Message) -> None:
        if message["type"] == "warning":
            click.echo(f"warning: {message['text']}", err=True)
        elif message["type"] == "service" and message["before"] != message["after"]:
            item = message["item"]
            more = f": {message['text']}" if message["text"] else ""
            printer.say(item["name"], f"{message['before']} → {message['after']}{more}")

    def _wait(self) -> Message | None:
        return self._watched.next(_LOOK_S)


class _Keys:
    """Reads single keys of a terminal on stdin, if there is one in the foreground."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def detach_asked(self) -> bool:
        if not self.on or not select.select([sys.stdin], [], [], 0)[0]:
            return False
        try:
            pressed = os.read(sys.stdin.fileno(), 64)
        except OSError:
            self.on = False
            return False
        self.on = bool(pressed)
        return b"d" in pressed


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Have keys arrive one by one inside the block; the terminal is put back as it was."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield _Keys(on=False)
        return
    fd = sys.stdin.fileno()
    if os.tcgetpgrp(fd) != os.getpgrp():
        yield _Keys(on=False)
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield _Keys(on=True)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _begin_of_run(log: Log) -> int:
    """Return where the newest run's output begins."""
    from orchestrator.logs.index import Index

    index = Index(log.index_path)
    found = index.run_range(index.last_run())
    return found[0] if found else 0


def _code_of(item: outcome.Item) -> int:
    """Return what a shell would report of a service's end."""
    if item["exit_code"] is not None:
        return int(item["exit_code"])
    if item["signal"]:
        number = signal.Signals[f"SIG{item['signal']}"].value
        return 128 + number
    return _FAILED if item["state"] == "failed" else 0
