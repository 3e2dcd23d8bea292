"""The steps of a check, in their order; each proves one thing of a scheduler."""

from collections.abc import Awaitable, Callable, Mapping

import anyio

from orchestrator.cli.scheduler_callback import Callback
from orchestrator.cli.scheduler_login import LOGIN, log_in, wire_to
from orchestrator.cli.scheduler_place import RUNNING, shown_url
from orchestrator.cli.scheduler_schedule import after
from orchestrator.cli.scheduler_tools import lacking
from orchestrator.scheduler.client import SchedulerClient
from orchestrator.scheduler.configuration import Access
from orchestrator.scheduler.connections import Connections
from orchestrator.scheduler.errors import (
    Rejected,
    SchedulerError,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from orchestrator.scheduler.values import Status
from orchestrator.scheduler.wire import Call
from orchestrator.spec.quantities import format_duration

DELAY_S = 1.0
LATER_S = 3600.0
LOOK_S = 0.05
TIDYING_S = 3.0
TEXT = "orchestrator scheduler check"

LOG = "its log has the reason: `orchestrator logs`"
CLOCK = "the .NET service compares clock faces: give it TZ=UTC, and look at both clocks"
LOOPBACK = "it must reach 127.0.0.1 of this machine: does it run in a container or elsewhere?"


class StepFailed(Exception):
    """A step showed a fault; ``fix`` says what to do about it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Trial:
    """Asks one scheduler for everything, and leaves nothing scheduled there."""

    def __init__(
        self, access: Access, connections: Connections, receiver: Callback, timeout_s: float
    ) -> None:
        self._access = access
        self._client = SchedulerClient(
            access.url, access.client_id, access.api_key, connections=connections
        )
        self._wire = wire_to(access, connections)
        self._receiver = receiver
        self._timeout_s = timeout_s
        self._waiting = ""
        self._left: list[str] = []
        self.token: str | None = None

    async def tidy(self) -> None:
        """Cancel what a step that failed left behind, if the scheduler still hears."""
        with anyio.move_on_after(TIDYING_S, shield=True):
            for one in self._left:
                try:
                    await self._client.cancel(one)
                except SchedulerError:
                    return

    async def connect(self) -> str:
        """See whether anybody answers."""
        response = await self._wire.send(Call("GET", "/health"))
        return f"{shown_url(self._access.url)} answers (/health: {response.status_code})"

    async def authenticate(self) -> str:
        """See whether the credentials are taken."""
        login = await log_in(self._wire, self._access)
        self.token = login.token
        if login.token is None:
            raise StepFailed(f"{LOGIN} answers {login.status}: {login.words}", login.advice)
        life = "" if login.life_s is None else f" for {format_duration(login.life_s)}"
        return f"client {self._access.client_id} has a token{life}"

    async def tools(self) -> str:
        """See whether it has the tools of a scheduler."""
        speaks = await self._client.check()
        tools = await self._client.tools()
        missing = lacking(tools)
        if missing:
            problem = f"it speaks {speaks}, and has no {', '.join(missing)}"
            raise StepFailed(problem, "this is another server; choose with --server or --url")
        return f"{speaks}: {', '.join(tool.name for tool in tools)}"

    async def schedule(self) -> str:
        """Schedule a text to the callback."""
        self._waiting = await self._schedule_in(DELAY_S)
        return f"{self._waiting}, due in {format_duration(DELAY_S)}"

    async def deliver(self) -> str:
        """Wait until the text is there and is told as delivered."""
        status = await self._final_status()
        if status is not Status.COMPLETED:
            fix = f"{LOG}; {LOOPBACK}" if status is Status.FAILED else LOOPBACK
            raise StepFailed(f"it is {status.value} {format_duration(self._timeout_s)} later", fix)
        self._left.remove(self._waiting)
        if self._receiver.texts[:1] != [TEXT]:
            raise StepFailed("it is told as Completed, and did not arrive here", LOOPBACK)
        return f"arrived at {self._receiver.url.rpartition('/')[0]}, and is Completed"

    async def cancel(self) -> str:
        """Schedule another for much later, and cancel it."""
        made = await self._schedule_in(LATER_S)
        if not await self._client.cancel(made):
            raise StepFailed(f"it does not cancel {made}", LOG)
        self._left.remove(made)
        status = await self._client.status(made)
        if status is not Status.CANCELLED:
            raise StepFailed(f"{made} is {status.value} after it was cancelled", LOG)
        return f"{made}, due in {format_duration(LATER_S)}, is Cancelled"

    async def _schedule_in(self, seconds: float) -> str:
        made = await self._client.schedule(TEXT, after(seconds), self._receiver.url)
        self._left.append(made)
        return made

    async def _final_status(self) -> Status:
        """Return the status once it is final, or the last one when time is up."""
        status = Status.SCHEDULED
        with anyio.move_on_after(DELAY_S + self._timeout_s):
            while not status.is_final:
                status = await self._client.status(self._waiting)
                await anyio.sleep(LOOK_S)
        return status


STEPS: Mapping[str, Callable[[Trial], Awaitable[str]]] = {
    "connect": Trial.connect,
    "authenticate": Trial.authenticate,
    "tools": Trial.tools,
    "schedule": Trial.schedule,
    "deliver": Trial.deliver,
    "cancel": Trial.cancel,
}


def advice(error: SchedulerError) -> str:
    """Return what to do about an error of the client."""
    if isinstance(error, Unreachable | TimedOut):
        return RUNNING
    if isinstance(error, Rejected) and "in the future" in error.words:
        return CLOCK
    if isinstance(error, ServerFailed) and error.status == 500:
        return f"its database may be gone; {LOG}"
    return LOG
