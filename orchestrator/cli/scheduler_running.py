"""Running what is asynchronous in a command, so that a signal lets it tidy up."""

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

from orchestrator.errors import OrchestratorError
from orchestrator.scheduler.errors import SchedulerError

T = TypeVar("T")
_ENDING = (signal.SIGINT, signal.SIGTERM)


def run_to_end(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what ``ask`` returns. Ctrl-C and SIGTERM cancel it, and then do what they do here.

    Raised from a handler in the middle of the event loop, they would end in a task or be lost.
    """
    results: list[T] = []
    failures: list[SchedulerError | OrchestratorError] = []
    caught: list[int] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_listen, tasks.cancel_scope, caught)
            try:
                results.append(await ask())
            except (SchedulerError, OrchestratorError) as error:
                failures.append(error)
            tasks.cancel_scope.cancel()

    handlers = {number: signal.getsignal(number) for number in _ENDING}
    try:
        anyio.run(main)
    finally:
        for number, handler in handlers.items():  # asyncio leaves the system's own
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(signal.Signals(caught[0]))
    if failures:
        raise failures[0]
    return results[0]


async def _listen(
    scope: anyio.CancelScope,
    caught: list[int],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Cancel the scope at the first signal; what is ignored here stays so."""
    wanted = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*wanted) as signals:
        task_status.started()
        async for number in signals:
            caught.append(number)
            scope.cancel()
