"""The index beside a log: which byte arrived when, and where runs begin and end."""

import bisect
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_RECORD = struct.Struct("<QqqIBBH")
_KIND_AT = 28
_UNKNOWN_EXIT = 0xFFFF


class Kind(IntEnum):
    """What a record says."""

    DATA = 0
    START = 1
    EXIT = 2
    GAP = 3
    ROTATED = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One record: at ``wall_s`` (since the epoch), at ``offset`` of all that was written."""

    offset: int
    wall_s: float
    run: int
    kind: Kind
    code: int | None = None
    signal: int | None = None
    detail: int = 0


class Index:
    """Reads an index; what a crash left out makes a time less exact, never wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = b""
        self._inode = 0
        self.refresh()

    def __len__(self) -> int:
        return len(self._data) // _RECORD.size

    def __getitem__(self, number: int) -> Record:
        return self._record(number)

    def has_mark(self, number: int) -> bool:
        """Return whether a record from ``number`` on is not about data."""
        return any(kind != Kind.DATA for kind in self._data[number * 32 + _KIND_AT :: 32])

    def refresh(self) -> None:
        """Read what was added; all of it if the file is another one."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._data = b""
            return
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if found.st_ino != self._inode or found.st_size < len(self._data):
                self._inode, self._data = found.st_ino, b""
            if found.st_size > len(self._data):
                file.seek(len(self._data))
                self._data += file.read()
        # A record being written, or torn by a crash, is not there yet.
        self._data = self._data[: len(self) * _RECORD.size]

    def marks(self) -> Iterator[Record]:
        """Yield every record that is not about data, oldest first."""
        kinds = self._data[_KIND_AT :: _RECORD.size]
        for number, kind in enumerate(kinds):
            if kind != Kind.DATA and kind <= max(Kind):
                yield self._record(number)

    def starts(self) -> list[int]:
        """Return the offsets at which runs begin, in order."""
        return [one.offset for one in self.marks() if one.kind is Kind.START]

    def wall_at(self, offset: int) -> float | None:
        """Return when the byte at ``offset`` arrived; None where nothing is known of it."""
        number = bisect.bisect_right(range(len(self)), offset, key=self._offset_of) - 1
        if len(self) == 0:
            return None
        return self._record(max(0, number)).wall_s

    def run_at(self, offset: int) -> int:
        """Return the run that wrote the byte at ``offset``; 0 where that is not known."""
        number = bisect.bisect_right(range(len(self)), offset, key=self._offset_of) - 1
        return self._record(number).run if number >= 0 else 0

    def offset_at(self, wall_s: float) -> int | None:
        """Return where the first byte that arrived at or after ``wall_s`` is; None: none did.

        The clock may have jumped back in between: the first place that fits is meant.
        """
        for number in range(len(self)):
            if _wall_of(self._data, number) >= wall_s:
                return self._offset_of(number)
        return None

    def run_range(self, run: int) -> tuple[int, int | None] | None:
        """Return where a run's output begins and ends (None: it goes on); None: no such run."""
        begin, end = None, None
        for one in self.marks():
            if one.kind is Kind.START and one.run == run:
                begin, end = one.offset, None
            elif one.kind is Kind.EXIT and one.run == run:
                end = one.offset
        return None if begin is None else (begin, end)

    def last_run(self) -> int:
        """Return the highest number of a run; 0 where there is none."""
        return max((one.run for one in self.marks()), default=0)

    def _offset_of(self, number: int) -> int:
        return int.from_bytes(self._data[number * 32 : number * 32 + 8], "little")

    def _record(self, number: int) -> Record:
        offset, wall_ns, _, run, kind, a, b = _RECORD.unpack_from(self._data, number * 32)
        code, signal_number = None, None
        if kind == Kind.EXIT and b != _UNKNOWN_EXIT:
            code, signal_number = (None, b) if b else (a, None)
        known = Kind(kind) if kind <= max(Kind) else Kind.DATA
        return Record(offset, wall_ns / 1e9, run, known, code, signal_number, b)


def _wall_of(data: bytes, number: int) -> float:
    return int.from_bytes(data[number * 32 + 8 : number * 32 + 16], "little", signed=True) / 1e9
