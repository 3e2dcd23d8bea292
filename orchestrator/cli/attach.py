"""`up` attached: what happens live, then the merged logs, and the end that was asked for."""

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.cli import outcome
from orchestrator.cli.interruptions import Interruptions
from orchestrator.cli.keys import Keys, keys
from orchestrator.cli.live import Hints, Live
from orchestrator.cli.secrets import redactor_of
from orchestrator.cli.stack import Options, Stack
from orchestrator.cli.starting import Started, start
from orchestrator.cli.summary import Summary
from orchestrator.cli.table import has_colour
from orchestrator.cli.trail import Trail
from orchestrator.cli.watching import CHANGED, Watched
from orchestrator.control.client import Message
from orchestrator.errors import ControlError, UnknownService

_LOOK_S = 0.05
_HINT_AFTER_S = 15.0
_SAY_AFTER_S = 1.0
_FAILED, _DETACHED = 18, -1


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends an attached `up` beside people."""

    abort_on_failure: bool = False
    exit_code_from: str | None = None


def attached_up(
    located: Stack,
    services: Sequence[str],
    options: Options,
    ending: Ending,
    *,
    no_deps: bool,
) -> int:
    """Start the stack and watch until it ends, or somebody ends it; return the exit code."""
    began = time.monotonic()
    # From here on: an interruption while it starts must end what was started.
    with Interruptions().caught() as asked:
        started = start(located, services, options, no_deps=no_deps)
        with started.stack.client.events() as events, keys() as pressed:
            session = _Session(started, Watched(events), options, ending, asked, pressed, began)
            asked.before_leaving = session.leave_at_once
            return _to_the_end(session, services, asked, owner=started.here)


def _to_the_end(
    session: "_Session", services: Sequence[str], asked: Interruptions, *, owner: bool
) -> int:
    try:
        return session.run(services)
    except UnknownService:
        if owner:
            session.end_all()
        raise
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.EIO}:
            raise
        # Nobody reads us any more, or the terminal is gone: as an interruption, unseen.
        _write_nowhere()
        if owner:
            session.end_all()
        return asked.code if asked.count else 0


class _Session:
    """One attached `up`, from its first line to its exit code."""

    def __init__(
        self,
        started: Started,
        watched: Watched,
        options: Options,
        ending: Ending,
        asked: Interruptions,
        pressed: Keys,
        began: float,
    ) -> None:
        self._stack = started.stack
        self._owner = started.here
        self._watched = watched
        self._ending = ending
        self._asked = asked
        self._pressed = pressed
        self._began = began
        self._quiet = options.quiet
        self._colour = has_colour(options.environ)
        self._killed = False

    def run(self, services: Sequence[str]) -> int:
        """Return the exit code.

        Raises:
            UnknownService: a name is not of this stack.
            ControlError: the supervisor is gone; the services run on.
        """
        if self._ending.exit_code_from is not None:
            self._watched.names([self._ending.exit_code_from])
        names = self._watched.names(services)
        self._say_head(names)
        trail = self._trail(names)
        terminal = sys.stdout.isatty()
        code = self._until_decided(names) if terminal else None
        with contextlib.closing(trail):
            if code is None:
                if terminal:
                    self._say_ready(names)
                code = self._follow(names, trail, is_told=terminal)
        return self._leave() if code == _DETACHED else self._finish(code)

    # The parts.

    def _until_decided(self, names: Sequence[str]) -> int | None:
        """Show the live lines until every service is well, failed or behind a failure."""
        live = Live(sys.stdout, colour=self._colour)
        hints = Hints(_HINT_AFTER_S, lambda name: self._hint(name, live.clear))
        while True:
            if not self._quiet:
                live.show(self._watched, names)
            verdict = self._verdict(names)
            hurried = self._reason_to_leave()
            if verdict.done or hurried is not None:
                live.clear()
                return hurried
            if self._ended_by_itself() is not None:
                live.clear()
                return None
            hints.look(verdict.open, self._watched.items)
            self._wait(_LOOK_S)

    def _follow(self, names: Sequence[str], trail: Trail, *, is_told: bool) -> int:
        """Show the merged logs until there is a reason to end; ``is_told``: how all came up."""
        hints = Hints(_HINT_AFTER_S, lambda name: self._hint(name, _nothing))
        while True:
            busy = trail.show()
            verdict = self._verdict(names)
            if verdict.done and not is_told:
                is_told = True
                self._say_ready(names)
            if not is_told:
                hints.look(verdict.open, self._watched.items)
            code = self._reason_to_leave()
            if code is not None:
                return code
            code = self._ended_by_itself()
            if code is not None:
                trail.drain()
                return code
            message = self._wait(_LOOK_S if busy else 2 * _LOOK_S)
            if message is not None:
                trail.mark(message)

    def _finish(self, code: int) -> int:
        """End the stack, or leave it: a failure or something pending can be mended and goes on."""
        if self._watched.stopped:
            return code
        if self._asked.count:
            if self._owner:
                self.end_all()
            else:
                self._leave()
            return code
        states = {item["state"] for item in self._watched.items.values()}
        aborts = self._ending.abort_on_failure and "failed" in states
        if self._ending.exit_code_from or aborts or not states & {"failed", "pending"}:
            self.end_all()
        return code

    def end_all(self) -> None:
        """Stop everything, saying what is waited for; asked once more, kill."""
        with contextlib.suppress(ControlError):
            self._stack.client.post("/v1/down", {}, 10.0)
            self._follow_down()

    def leave_at_once(self) -> None:
        """Put the terminal back and see to it that the kill was asked for; for a signal handler."""
        self._pressed.give_back()
        if self._owner and not self._killed:
            with contextlib.suppress(Exception):
                self._stack.client.post("/v1/kill", {}, 1.0)

    def _follow_down(self) -> None:
        enough = 2 if self._asked.count else 1
        said_at = time.monotonic()
        self._say("stopping; Ctrl-C once more kills at once")
        # The supervisor lets go of its files after its last word; the stream's end is the end.
        while not self._watched.ended:
            self._watched.next(_LOOK_S)
            if self._asked.count >= enough and not self._killed:
                self._say("killing")
                self._stack.client.post("/v1/kill", {}, 10.0)
                self._killed = True
            left = [n for n, one in self._watched.items.items() if one["state"] == "stopping"]
            if left and time.monotonic() - said_at > _SAY_AFTER_S:
                said_at = time.monotonic()
                self._say(f"still waiting for {', '.join(left)}")

    # Reasons.

    def _reason_to_leave(self) -> int | None:
        """Return an exit code when somebody or something from outside ends us, else None."""
        if self._asked.count:
            return self._asked.code
        if "d" in self._pressed.pressed():
            return _DETACHED
        if self._watched.stopped:
            return 0
        if self._watched.ended:
            raise ControlError(
                "the supervisor is gone; services run on, `orchestrator up` takes them over"
            )
        return None

    def _ended_by_itself(self) -> int | None:
        """Return the exit code when the services have come to an end that is ours, else None."""
        items = self._watched.items
        named = items.get(self._ending.exit_code_from or "")
        if named is not None and named["state"] in {"completed", "exited", "failed"}:
            return _code_of(named)
        has_failed = any(item["state"] == "failed" for item in items.values())
        if has_failed and self._ending.abort_on_failure:
            return _FAILED
        if outcome.is_over(items.values()):
            return _FAILED if has_failed else 0
        return None

    def _leave(self) -> int:
        self._say("detached; `orchestrator logs -f` follows, `orchestrator down` stops")
        return 0

    # What is said.

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text, err=True)

    def _say_head(self, names: Sequence[str]) -> None:
        if not self._quiet:
            stack = self._watched.stack
            services = "1 service" if len(names) == 1 else f"{len(names)} services"
            more = "" if self._owner else " · already running"
            click.echo(f"orchestrator up · {stack['stack']} · {services}{more}")
        if self._watched.stack.get("file_changed"):
            self._say(CHANGED)

    def _say_ready(self, names: Sequence[str]) -> None:
        self._watched.have_published(self._stack.client)
        if not self._quiet:
            Summary(self._stack, self._watched, names).say(time.monotonic() - self._began)
        if self._pressed.on and not self._quiet:
            ends = "Ctrl-C stops" if self._owner else "Ctrl-C or d"
            click.echo(f"d detaches · {ends}" if self._owner else f"{ends} detaches")

    def _hint(self, name: str, make_room: Callable[[], None]) -> None:
        make_room()
        item = self._watched.items[name]
        probe = item["last_probe"]
        why = probe["text"] if probe else "it is not running well"
        self._say(f"{name} is not healthy yet: {why}")
        Summary(self._stack, self._watched, [name]).say_tail(name, 1)

    # Asking.

    def _verdict(self, names: Sequence[str]) -> outcome.Verdict:
        return outcome.waited(names, self._watched.items, self._watched.running_for_s)

    def _trail(self, names: Sequence[str]) -> Trail:
        items = {name: self._watched.items[name] for name in names}
        logs: dict[str, Path] = {
            name: self._stack.root_dir / item["log_file"] for name, item in items.items()
        }
        lasted_s = time.monotonic() - self._began
        return Trail(logs, items, redactor_of(self._stack), lasted_s, colour=self._colour)

    def _wait(self, timeout_s: float) -> Message | None:
        if os.getpid() == 1:
            _reap()
        return self._watched.next(timeout_s)


def _reap() -> None:
    """Take the ends of orphans: as PID 1 they are given to us."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _write_nowhere() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())
    os.close(null)


def _nothing() -> None:
    return


def _code_of(item: outcome.Item) -> int:
    """Return what a shell would report of a service's end; 18 where that is not known."""
    if item["exit_code"] is not None:
        return int(item["exit_code"])
    number = getattr(signal, f"SIG{item['signal']}", None)
    if number is not None:
        return 128 + int(number)
    return _FAILED if item["state"] == "failed" else 0
