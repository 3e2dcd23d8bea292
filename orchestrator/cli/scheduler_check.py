"""`scheduler check`: the whole integration, a step at a time."""

import functools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.cli.durations import SECONDS
from orchestrator.cli.scheduler_asking import Asked, SchedulerFailed, asking
from orchestrator.cli.scheduler_place import SchedulerUnset, shown_url
from orchestrator.errors import OrchestratorError
from orchestrator.scheduler.clock import SystemClock
from orchestrator.scheduler.errors import SchedulerError

if TYPE_CHECKING:
    from orchestrator.cli.scheduler_steps import Trial
    from orchestrator.scheduler.configuration import Access

_MARKS = {"passed": "✓", "failed": "✗", "not tried": "·"}
_TIME_WIDTH = 9
SPEC = "`orchestrator config -q` tells what is wrong in services.yaml"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the result; ``duration_s`` is None for what was not tried."""

    name: str
    result: str
    text: str = ""
    fix: str | None = None
    duration_s: float | None = None


@click.command(name="check")
@click.option(
    "--timeout", "timeout_s", type=SECONDS, default="15s", help="Patience with a delivery (15s)."
)
@asking
def check_command(asked: Asked, *, timeout_s: float) -> int:
    """Try the whole integration; tell which step fails, and what to do about it.

    Connects, logs in, lists the tools, schedules a text to a callback of its own on loopback,
    waits until it is there, and cancels another. Exit code: 0, or as for the step that failed.
    """
    from orchestrator.cli.scheduler_running import run_to_end

    check = _Check(asked, timeout_s)
    run_to_end(check.run)
    if asked.as_json:
        steps = [asdict(step) for step in check.steps]
        asked.answer({"ok": check.exit_code == 0, "steps": steps}, ())
    return check.exit_code


class _Check:
    """Goes through the steps and tells each as it ends."""

    def __init__(self, asked: Asked, timeout_s: float) -> None:
        self.steps: list[Step] = []
        self.exit_code = 0
        self._asked = asked
        self._timeout_s = timeout_s
        self._clock = SystemClock()
        self._access: Access | None = None

    async def run(self) -> None:
        """Go through the steps up to the first that fails."""
        from orchestrator.cli.scheduler_callback import callback
        from orchestrator.cli.scheduler_steps import STEPS, Trial
        from orchestrator.scheduler.connections import Connections

        await self._step("config", self._configuration)
        if self._access is None:
            self._skip(STEPS)
            return
        connections = Connections()
        async with callback() as receiver:
            trial = Trial(self._access, connections, receiver, self._timeout_s)
            try:
                await self._go_through(trial)
            finally:
                await trial.tidy()
                await connections.aclose()

    async def _go_through(self, trial: "Trial") -> None:
        from orchestrator.cli.scheduler_steps import STEPS

        names = list(STEPS)
        for done, name in enumerate(names, 1):
            await self._step(name, functools.partial(STEPS[name], trial))
            if trial.token is not None:
                self._asked.keep_secret(trial.token)
            if self.exit_code:
                self._skip(names[done:])
                return

    async def _step(self, name: str, run: Callable[[], Awaitable[str]]) -> None:
        from orchestrator.cli.scheduler_steps import StepFailed, advice

        began = self._clock.monotonic()
        fix = None
        try:
            text = await run()
        except StepFailed as error:
            text, fix, self.exit_code = str(error), error.fix, SchedulerFailed.exit_code
        except SchedulerError as error:
            text, fix = str(error), advice(error)
            self.exit_code = self._asked.failure(error).exit_code
        except SchedulerUnset as error:
            text, fix, self.exit_code = error.problem, error.fix, error.exit_code
        except OrchestratorError as error:
            text, fix = error.message, SPEC
            self.exit_code = error.exit_code
        took_s = round(self._clock.monotonic() - began, 6)
        result = "failed" if self.exit_code else "passed"
        self._tell(Step(name, result, self._asked.line(text), fix, took_s))

    async def _configuration(self) -> str:
        access = self._asked.access()
        self._access = access
        return f"{self._asked.server_name} is at {shown_url(access.url)}"

    def _skip(self, names: Iterable[str]) -> None:
        for name in names:
            self._tell(Step(name, "not tried", "not tried"))

    def _tell(self, step: Step) -> None:
        self.steps.append(step)
        if self._asked.as_json:
            return
        took = "" if step.duration_s is None else f"{step.duration_s * 1000:.0f} ms"
        line = f"{_MARKS[step.result]} {step.name:<13}{took:>{_TIME_WIDTH}}  {step.text}"
        lines = [line, *([f"    {step.fix}"] if step.fix else [])]
        self._asked.answer({}, lines)
