"""Slow imports beside the event loop, in threads that do not hold up the end of the process."""

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

T = TypeVar("T")


class _Outcome(Generic[T]):
    def __init__(self) -> None:
        self.values: list[T] = []
        self.error: BaseException | None = None
        self.done = anyio.Event()


async def in_daemon_thread(name: str, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or raise what it raises.

    Unlike `anyio.to_thread`, neither a cancelled caller nor the interpreter's end waits for it.
    """
    outcome: _Outcome[T] = _Outcome()
    token = anyio.lowlevel.current_token()

    def run() -> None:
        try:
            outcome.values.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.error = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            anyio.from_thread.run_sync(outcome.done.set, token=token)

    threading.Thread(target=run, name=name, daemon=True).start()
    await outcome.done.wait()
    if outcome.error is not None:
        raise outcome.error
    return outcome.values[0]
