"""Moves what a service writes from its FIFO into the log, without a buffer in between."""

from __future__ import annotations

import errno
import os
import time

from orchestrator.shim import sys_linux
from orchestrator.shim.segments import Segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 1 << 20
READ_BYTES = 1 << 16
# Measured: 0.2-0.3 ms between two splices costs least CPU and fills no pipe of 1 MiB.
REST_S = 0.00025
# Who writes so much within one rest is at full speed.
BUSY_BYTES = 1 << 13
SLICE_S = 0.02
RETRY_S = 0.25
# A line may grow over the size by so much before the file is cut in the middle of it.
OVERSHOOT_BYTES = 1 << 20

EMPTY, ENDED, MORE, BLOCKED = "empty", "ended", "more", "blocked"


class Pump:
    """The one reader of a service's output.

    While the log can't be written nothing is taken from the FIFO: the service waits once the pipe
    is full, and not a byte is lost as long as one of the FIFO's holders lives.
    """

    def __init__(
        self,
        fifo: int,
        segments: Segments,
        tiers: dict[str, bool],
        report: Callable[[str | None], None],
    ) -> None:
        self._fifo = fifo
        self._segments = segments
        self._tiers = tiers
        self._report = report
        self.problem: str | None = None
        self._held = b""
        self._half = sys_linux.pipe_size(fifo) // 2
        self._no_rotation_before = 0.0
        self.retry_at: float | None = None

    @property
    def offset(self) -> int:
        """The global offset of the next byte."""
        return self._segments.offset

    def waiting(self) -> int:
        """Return how many bytes stand in the pipe."""
        return sys_linux.bytes_waiting(self._fifo) + len(self._held)

    def drain(self, slice_s: float = SLICE_S, *, gather: bool = True) -> str:
        """Move what there is, for at most ``slice_s``; gathering rests between two moves.

        Returns EMPTY, ENDED (empty, and nobody has it open for writing), MORE (time is up) or
        BLOCKED (the log can't be written; ``retry_at`` says when to try again).
        """
        deadline = time.monotonic() + slice_s
        moved = 0
        while True:
            if gather and moved < self._half:
                time.sleep(REST_S)
            try:
                moved = self._move()
            except BlockingIOError:
                return EMPTY
            except OSError as error:
                if self._gave_way(error):
                    continue
                return BLOCKED
            if moved == 0:
                return ENDED
            self._recover()
            if gather and not self.waiting() and self._is_idle(moved):
                return EMPTY
            if time.monotonic() > deadline:
                return MORE

    def _is_idle(self, moved: int) -> bool:
        """Tell whether an empty pipe means a pause; a busy writer is only between two writes."""
        if moved < BUSY_BYTES:
            return True
        time.sleep(REST_S)
        return not self.waiting()

    def finish(self) -> None:
        """Write what the index still waits to say."""
        self._segments.finish()

    def _move(self) -> int:
        """Move some bytes; 0 at the end of file. Raises BlockingIOError when there are none."""
        segments = self._segments
        if segments.fd < 0:
            segments.open()
            self._recover()
        segments.verify()
        room = segments.room
        if room is None or room > 0 or time.monotonic() < self._no_rotation_before:
            return self._take(min(room, CHUNK_BYTES) if room and room > 0 else CHUNK_BYTES)
        count, ends_line = self._next_line()
        if count == 0:
            return 0
        moved = self._take(count)
        if moved == count and (ends_line or -room > OVERSHOOT_BYTES):
            self._rotate()
        return moved

    def _take(self, count: int) -> int:
        """Move up to ``count`` bytes to the end of the log; what is held goes first."""
        segments = self._segments
        if self._tiers["splice"] and not self._held:
            moved = os.splice(
                self._fifo,
                segments.fd,
                count,
                offset_dst=segments.position,
                flags=sys_linux.SPLICE_F_MOVE | sys_linux.SPLICE_F_NONBLOCK,
            )
        else:
            self._held = self._held or os.read(self._fifo, min(count, READ_BYTES))
            moved = 0
            if self._held:
                moved = os.pwrite(segments.fd, self._held[:count], segments.position)
                self._held = self._held[moved:]
        if moved:
            segments.moved(moved)
        return moved

    def _next_line(self) -> tuple[int, bool]:
        """Return how many bytes to move next before a rotation, and whether they end a line."""
        if self._tiers["splice"] and self._tiers["tee"] and not self._held:
            ahead = self._look_ahead()
        else:
            self._held = self._held or os.read(self._fifo, READ_BYTES)
            ahead = self._held
        end = ahead.find(b"\n") + 1
        return (end, True) if end else (len(ahead), False)

    def _look_ahead(self) -> bytes:
        """Return the first bytes in the FIFO without taking them."""
        # Made for the moment: a second pipe a service would count against the user's quota.
        reader, writer = os.pipe()
        try:
            count = sys_linux.tee(self._fifo, writer, READ_BYTES)
            return os.read(reader, count) if count else b""
        finally:
            os.close(reader)
            os.close(writer)

    def _rotate(self) -> None:
        try:
            self._segments.rotate()
        except OSError as error:
            # A log that can't be rotated, in a folder made read-only say, is still written.
            self._no_rotation_before = time.monotonic() + 1.0
            self._announce(f"cannot rotate: {_text(error)}")

    def _gave_way(self, error: OSError) -> bool:
        """Answer an error of the log; tell whether to try again at once."""
        if error.errno == errno.EINVAL and self._tiers["splice"] and self._segments.fd >= 0:
            # This file system can't splice.
            self._tiers["splice"] = False
            return True
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full and self._segments.drop_oldest():
            return True
        if not full and error.errno != errno.EFBIG:
            self._segments.close()
        self._announce(_text(error))
        self.retry_at = time.monotonic() + RETRY_S
        return False

    def _recover(self) -> None:
        self.retry_at = None
        if self.problem is not None and time.monotonic() >= self._no_rotation_before:
            self.problem = None
            self._report(None)

    def _announce(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._report(problem)


def _text(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "error")
    where = f" ({error.filename})" if error.filename else ""
    return f"{name}: {(error.strerror or str(error)).lower()}{where}"
