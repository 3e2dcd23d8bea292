"""The index beside a log: times, runs and events as fixed records, so that no byte is touched."""

from __future__ import annotations

import os
import struct
import time

from orchestrator.shim import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = struct.Struct("<QqqIBBH")
SIZE = RECORD.size
DATA, START, EXIT, GAP, ROTATED = range(5)
GAP_LOST, GAP_TRUNCATED = 1, 2
UNKNOWN_END = 0xFFFF
DATA_EVERY_S = 0.01
CHUNK_RECORDS = 2048


class Index:
    """Appends records of 32 bytes; a torn one at the end is cut off when opening.

    Data records may be lost while the disk is full; the others are kept and written later.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._end = 0
        self._waiting: list[bytes] = []
        self._newest = 0
        self._last_data_s = 0.0
        self.run = 0

    def open(self) -> None:
        """Open or create the file. Raises OSError."""
        self.close()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = files.open_in(self._path, flags)
        size = os.fstat(self._fd).st_size
        self._end = size - size % SIZE
        if self._end != size:
            os.ftruncate(self._fd, self._end)
        last = self._read(self._end - SIZE, 1) if self._end else b""
        if last:
            self._newest, _, _, run, *_ = RECORD.unpack(last)
            self.run = max(self.run, run)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def data(self, offset: int) -> None:
        """Note that bytes from ``offset`` on arrive now; at most one record in 10 ms."""
        now = time.monotonic()
        if now - self._last_data_s >= DATA_EVERY_S:
            self._last_data_s = now
            if not self._write(self._packed(offset, DATA, 0, 0)):
                self._last_data_s = 0.0

    def note(self, offset: int, kind: int, a: int = 0, b: int = 0) -> None:
        """Append a record that must not be lost.

        Offsets in the index only grow, so that it can be searched: a hole that is found late
        stands at the place where it was found.
        """
        self._waiting.append(self._packed(offset, kind, a, b))
        self.flush()

    def flush(self) -> None:
        """Write what could not be written before, as far as it goes."""
        while self._waiting:
            record = self._waiting[0]
            if RECORD.unpack(record)[0] < self._newest:
                record = RECORD.pack(self._newest, *RECORD.unpack(record)[1:])
            if not self._write(record):
                return
            del self._waiting[0]

    def newest(self, kinds: tuple[tuple[int, int], ...], down_to: int) -> int | None:
        """Return the offset of the newest record of one of ``kinds``, as (kind, b).

        None when there is none, or records with offsets below ``down_to`` are reached first.
        """
        for _, record in self._backwards(self._end):
            if record[0] < down_to:
                return None
            if (record[4], record[6]) in kinds:
                return int(record[0])
        return None

    def last_offset(self) -> int:
        """Return the offset in the last record, 0 without one."""
        return self._newest

    def forget(self, oldest: int) -> None:
        """Drop what is about bytes before ``oldest``, except the newest start of a run there.

        Raises OSError when the new file can't be written; the old one then stays.
        """
        cut = self._first_at(oldest)
        keep = self._start_before(cut)
        if cut == 0 or (cut == SIZE and keep):
            return
        temporary = f"{self._path}.new"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if keep:
                os.write(fd, keep)
            _copy(self._fd, fd, cut, self._end)
            os.rename(temporary, self._path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd = fd
        self._end = len(keep) + self._end - cut

    def _packed(self, offset: int, kind: int, a: int, b: int) -> bytes:
        return RECORD.pack(offset, time.time_ns(), time.monotonic_ns(), self.run, kind, a, b)

    def _write(self, record: bytes) -> bool:
        """Append one record whole or not at all."""
        if not self._is_ours():
            return False
        try:
            written = os.pwrite(self._fd, record, self._end)
        except OSError:
            return False
        if written == SIZE:
            self._end += SIZE
            self._newest = RECORD.unpack(record)[0]
        return written == SIZE

    def _is_ours(self) -> bool:
        """Make sure that the file is there and as long as we left it."""
        try:
            if self._fd < 0:
                self.open()
            stat = os.fstat(self._fd)
            if stat.st_nlink == 0:
                self.open()
            elif stat.st_size < self._end:
                self._end = stat.st_size - stat.st_size % SIZE
        except OSError:
            return False
        return True

    def _read(self, start: int, records: int) -> bytes:
        return os.pread(self._fd, records * SIZE, start)

    def _backwards(self, end: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        while end > 0:
            start = max(0, end - CHUNK_RECORDS * SIZE)
            found = self._read(start, (end - start) // SIZE)
            for at in range(len(found) - SIZE, -1, -SIZE):
                yield start + at, RECORD.unpack_from(found, at)
            end = start

    def _first_at(self, offset: int) -> int:
        """Return the place of the first record at ``offset`` or later; offsets only grow."""
        low, high = 0, self._end // SIZE
        while low < high:
            middle = (low + high) // 2
            if RECORD.unpack(self._read(middle * SIZE, 1))[0] < offset:
                low = middle + 1
            else:
                high = middle
        return low * SIZE

    def _start_before(self, end: int) -> bytes:
        for place, record in self._backwards(end):
            if record[4] == START:
                return self._read(place, 1)
        return b""


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        sent = os.sendfile(target, source, start, end - start)
        if sent == 0:
            break
        start += sent
