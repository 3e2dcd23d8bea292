"""The conversations on disk: one SQLite file, every change synced before it is answered.

Callers that come at the same time share a transaction, so fifty of them cost one sync.
"""

import fcntl
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.server import statements
from orchestrator.scheduler.server.records import Record
from orchestrator.scheduler.values import Status

BUSY_TIMEOUT_S = 1.0
TRUSTED_S = 5.0
T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]


class StoreFailed(Exception):
    """The store could not be read or written; the text is the reason, without any content."""


class StoreTaken(Exception):
    """Another scheduler works on the same file."""


@dataclass(eq=False, slots=True)
class _Job(Generic[T]):
    operation: Operation[T]
    results: list[T] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            self.results.append(self.operation(connection))
        except (ValueError, OverflowError) as error:
            # A value that SQLite cannot take is the fault of this caller, not of the batch.
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        self.results.clear()
        self.error = error

    def outcome(self) -> T:
        if isinstance(self.error, sqlite3.Error):
            raise StoreFailed(str(self.error)) from self.error
        if self.error is not None:
            raise self.error
        return self.results[0]


class Store:
    """Opened by `open`, closed by `close`; used from one event loop."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._trusted_until_s = 0.0
        self._lock_file = path.with_name(path.name + ".lock")
        self._turn = anyio.Lock()
        self._waiting: list[_Job[object]] = []
        self._closing = ExitStack()

    def open(self) -> None:
        """Open or make the file, and make due again what a kill caught on its way.

        Raises:
            StoreTaken: another process has it open.
            StoreFailed: it cannot be opened, or is no database of ours.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take()
            self._path.touch(mode=0o600)
            self._identity = _identity(self._path)
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._closing.callback(self._connection.close)
            statements.prepare(self._connection)
        except (sqlite3.Error, OSError) as error:
            self.close()
            problem = f"cannot open {str(self._path)!r}: {error}"
            raise StoreFailed(problem) from error

    def close(self) -> None:
        """Close the file; all that was answered is in it already. Twice is fine."""
        self._closing.close()

    async def add(self, record: Record) -> None:
        """Keep a new conversation."""
        await self._perform(lambda connection: statements.insert(connection, record))

    async def find(self, conversation_id: str) -> Record | None:
        """Return the conversation, or None."""
        return await self._perform(lambda connection: statements.find(connection, conversation_id))

    async def page(
        self, status_number: int | None, number: int, size: int
    ) -> tuple[list[Record], int]:
        """Return page ``number`` (from 1), newest created first, and how many there are in all."""
        offset = (number - 1) * size
        return await self._perform(
            lambda connection: statements.page(connection, status_number, size, offset)
        )

    async def cancel(self, conversation_id: str, now_ticks: int) -> bool:
        """Cancel it if it is still scheduled, and tell whether it was."""
        return await self._perform(
            lambda connection: statements.cancel(connection, conversation_id, now_ticks)
        )

    async def claim(self, now_ticks: int, limit: int) -> tuple[list[Record], int | None]:
        """Take up to ``limit`` due conversations, and tell when the next one is due, if any."""
        return await self._perform(
            lambda connection: statements.claim(connection, now_ticks, limit)
        )

    async def finish(self, conversation_id: str, status: Status, now_ticks: int) -> None:
        """Write down how a delivery ended."""
        await self._perform(
            lambda connection: statements.finish(connection, conversation_id, status, now_ticks)
        )

    async def postpone(self, conversation_id: str, due_ticks: int) -> None:
        """Have a conversation that is being delivered tried again at ``due_ticks``."""
        await self._perform(
            lambda connection: statements.postpone(connection, conversation_id, due_ticks)
        )

    async def check(self) -> None:
        """Return if the store can be read and written; a write that worked counts for 5 s.

        Raises:
            StoreFailed: with the reason.
        """
        self._check_identity()
        if self._clock.monotonic() >= self._trusted_until_s:
            await self._perform(statements.check)

    async def _perform(self, operation: Operation[T]) -> T:
        job = _Job(operation)
        self._waiting.append(job)  # type: ignore[arg-type] # a list of jobs of all kinds
        try:
            async with self._turn:
                if not job.is_done:
                    batch, self._waiting = self._waiting, []
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(self._commit, batch)
        finally:
            if job in self._waiting:
                self._waiting.remove(job)  # type: ignore[arg-type]
        return job.outcome()

    def _commit(self, batch: list[_Job[object]]) -> None:
        try:
            self._check_identity()
            self._connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                job.run(self._connection)
            self._connection.execute("COMMIT")
            self._trusted_until_s = self._clock.monotonic() + TRUSTED_S
        except BaseException as error:  # noqa: BLE001 - every waiting caller gets it
            self._trusted_until_s = 0.0
            for job in batch:
                job.fail(error)
            with suppress(sqlite3.Error):
                self._connection.rollback()

    def _check_identity(self) -> None:
        # What is written to a file that was deleted is lost, however well it was synced.
        try:
            is_ours = _identity(self._path) == self._identity
        except OSError as error:
            raise StoreFailed(f"the database file is gone: {error.strerror}") from error
        if not is_ours:
            raise StoreFailed("the database file was replaced")

    def _take(self) -> None:
        # A lock beside the database: SQLite's own would keep people from looking into it.
        held = self._closing.enter_context(self._lock_file.open("a"))
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            problem = f"cannot open {str(self._path)!r}: another scheduler works on it"
            raise StoreTaken(problem) from error


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
