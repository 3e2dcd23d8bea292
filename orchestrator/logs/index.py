"""The index beside a log: which byte arrived when, and where runs begin and end."""

import math
import os
import re
import struct
import sys
from array import array
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_RECORD = struct.Struct("<QqqIBBH")
_SIZE = _RECORD.size
_KIND_AT = 28
_UNKNOWN_EXIT = 0xFFFF
_TRUNCATED = 2
_PAGE = 2048
"""Records read at once: an index may be larger than one wants in memory."""

_MARK = re.compile(rb"[^\0]")


class Kind(IntEnum):
    """What a record says."""

    DATA = 0
    START = 1
    EXIT = 2
    GAP = 3
    ROTATED = 4


class Record(NamedTuple):
    """One record: at ``wall_s`` (since the epoch), at ``offset`` of all that was written."""

    offset: int
    wall_s: float
    run: int
    kind: Kind
    code: int | None = None
    signal: int | None = None
    detail: int = 0

    @property
    def begins_file(self) -> bool:
        """Whether the current file's first byte has this offset from here on."""
        return self.kind is Kind.ROTATED or (self.kind is Kind.GAP and self.detail == _TRUNCATED)


class _Near(NamedTuple):
    """What one record says, and the ``number`` of the next."""

    number: int
    begin: int
    end: float
    wall_s: float | None
    run: int


_NOTHING = _Near(0, 0, 0, None, 0)


class Index:
    """Reads an index; what a crash left out makes a time less exact, never wrong.

    Records have numbers that stay theirs for this object, also when the shim drops old ones. The
    file is kept open, so that what is read belongs together; it is the caller's to close, or
    Python's with the object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._inode = (0, 0)
        self._first = 0
        self._count = 0
        self._last = b""
        self._page_at, self._page = 0, b""
        self._near = _NOTHING
        self._base: tuple[int, int | None] = (0, None)
        self.refresh()

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> int:
        """The number of the oldest record."""
        return self._first

    @property
    def end(self) -> int:
        """The number that the next record will have."""
        return self._first + self._count

    def close(self) -> None:
        """Close the file and keep nothing of it in memory; the next refresh opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._inode = -1, (0, 0)
        self._page_at, self._page = 0, b""

    def refresh(self) -> None:
        """Take in what was added; a file that is gone leaves what is known of it."""
        try:
            found = self._path.stat()
            if (found.st_dev, found.st_ino) != self._inode:
                self._open()
                found = os.fstat(self._fd)
        except OSError:
            if self._fd < 0:
                self._renumber(0)
            return
        # A record being written, or torn by a crash, is not there yet.
        count = found.st_size // _SIZE
        if count == self._count:
            return
        if count < self._count:
            self._renumber(count)
        else:
            self._count = count
            self._last = os.pread(self._fd, _SIZE, (count - 1) * _SIZE)
        self._near = _NOTHING

    def record(self, number: int) -> Record:
        """Return a record by its number."""
        offset, wall_ns, _, run, kind, a, b = _RECORD.unpack(self._raw(number))
        code, signal_number = None, None
        if kind == Kind.EXIT and b != _UNKNOWN_EXIT:
            code, signal_number = (None, b) if b else (a, None)
        known = Kind(kind) if kind <= max(Kind) else Kind.DATA
        return Record(offset, wall_ns / 1e9, run, known, code, signal_number, b)

    def marks(self) -> Iterator[Record]:
        """Yield every record that is not about data, oldest first."""
        return (one for _, one in self.marks_from(self._first))

    def marks_from(self, number: int, end: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield the records that are not about data from a number on, each with its own."""
        end = self.end if end is None else min(end, self.end)
        number = max(number, self._first)
        while number < end:
            page_end = min(end, self._page_end(number))
            kinds = self._slice(number, page_end)[_KIND_AT::_SIZE]
            for found in _MARK.finditer(kinds):
                record = self.record(number + found.start())
                if record.kind is not Kind.DATA:
                    yield number + found.start(), record
            number = page_end

    def breaks(self, begin: int, end: int) -> list[int]:
        """Return where, between two offsets, one line never goes on behind another's end.

        A run begins or ends there, or bytes are missing.
        """
        found: list[int] = []
        for _, one in self.marks_from(self.number_at(begin - 1)):
            if one.offset >= end:
                break
            if one.offset > begin and one.kind is not Kind.ROTATED and one.offset not in found[-1:]:
                found.append(one.offset)
        return found

    def number_at(self, offset: int) -> int:
        """Return the number of the first record that is about bytes after ``offset``."""
        low, high = self._around(offset)
        while low < high:
            middle = (low + high) // 2
            if self._offset(middle) <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def arrival(self, offset: int) -> tuple[float | None, int]:
        """Return when the byte at ``offset`` arrived, and of which run it is.

        It arrived then or later, but before the next record. None and 0 where nothing is known.
        """
        near = self._near
        if not near.begin <= offset < near.end:
            near = self._near = self._find(offset)
        return near.wall_s, near.run

    def wall_at(self, offset: int) -> float | None:
        """Return when the byte at ``offset`` arrived; None where nothing is known of it."""
        return self.arrival(offset)[0]

    def run_at(self, offset: int) -> int:
        """Return the run that wrote the byte at ``offset``; 0 where that is not known."""
        return self.arrival(offset)[1]

    def offset_at(self, wall_s: float) -> int | None:
        """Return where the first byte that arrived at or after ``wall_s`` is; None: none did.

        The clock may have jumped back in between, so that times can't be bisected: the first
        place that fits is meant.
        """
        wanted = wall_s * 1e9
        number = self._first
        while number < self.end:
            walls = self._walls(number)
            if max(walls) >= wanted:
                fits = next(place for place, wall in enumerate(walls) if wall >= wanted)
                return self._offset(number + fits)
            number += len(walls)
        return None

    def offset_before(self, wall_s: float) -> int | None:
        """Return where what arrived before ``wall_s`` ends, at most; None: with the log."""
        wanted = wall_s * 1e9
        end = self.end
        while end > self._first:
            begin = max(self._first, self._page_end(end - 1) - _PAGE)
            walls = self._walls(begin)[: end - begin]
            if min(walls) < wanted:
                last = max(place for place, wall in enumerate(walls) if wall < wanted)
                after = begin + last + 1
                return self._offset(after) if after < self.end else None
            end = begin
        return self._offset(self._first) if self._count else None

    def run_range(self, run: int) -> tuple[int, int | None] | None:
        """Return where a run's output begins and ends (None: it goes on); None: no such run."""
        begin, end = None, None
        for _, one in self.marks_from(self._first_of(run)):
            if one.run > run:
                # Its exit may have been lost with a shim: it ended before the next began.
                return None if begin is None else (begin, one.offset if end is None else end)
            if one.kind is Kind.START and one.run == run:
                begin, end = one.offset, None
            elif one.kind is Kind.EXIT and one.run == run:
                begin = self._offset(self._first) if begin is None else begin
                end = one.offset
        return None if begin is None else (begin, end)

    def last_run(self) -> int:
        """Return the highest number of a run; 0 where there is none."""
        return self._number_in(self.end - 1, 24, 28) if self._count else 0

    def base(self) -> int:
        """Return the newest offset with which a file began; 0 where nothing tells of one."""
        seen, base = self._base
        end = self.end
        lowest = max(self._first, seen)
        while end > lowest:
            begin = max(lowest, self._page_end(end - 1) - _PAGE)
            found = [one.offset for _, one in self.marks_from(begin, end) if one.begins_file]
            if found:
                base = found[-1]
                break
            end = begin
        self._base = (self.end, base)
        return base or 0

    def _open(self) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._fd = fd
        found = os.fstat(fd)
        self._inode = (found.st_dev, found.st_ino)
        self._renumber(found.st_size // _SIZE)
        self._near = _NOTHING

    def _renumber(self, count: int) -> None:
        """Give the records of another file the numbers that they had, and new ones to the new."""
        end, last = self.end, self._last
        self._page_at, self._page = 0, b""
        self._first, self._count = 0, count
        place = self._place_of(last) if last else None
        self._first = end if place is None else end - 1 - place
        self._last = os.pread(self._fd, _SIZE, (count - 1) * _SIZE) if count else b""

    def _place_of(self, raw: bytes) -> int | None:
        offset = int.from_bytes(raw[:8], "little")
        place = self.number_at(offset) - 1
        while place >= 0 and self._offset(place) == offset:
            if self._raw(place) == raw:
                return place
            place -= 1
        return None

    def _first_of(self, run: int) -> int:
        """Return the number of the first record of a run; their runs only grow."""
        low, high = self._first, self.end
        while low < high:
            middle = (low + high) // 2
            if self._number_in(middle, 24, 28) < run:
                low = middle + 1
            else:
                high = middle
        return low

    def _find(self, offset: int) -> "_Near":
        """Return what is known of the bytes around an offset."""
        near, number = self._near, self._near.number
        is_next = near is not _NOTHING and near.end <= offset and number < self.end
        if not is_next or self._end_of(number) <= offset:
            number = self.number_at(offset) - 1
        end = self._end_of(number)
        if number >= self._first:
            begin, wall_ns, _, run, *_ = _RECORD.unpack(self._raw(number))
            return _Near(number + 1, begin, end, wall_ns / 1e9, run)
        wall_s = self.record(self._first).wall_s if self._count else None
        return _Near(number + 1, 0, end, wall_s, 0)

    def _end_of(self, number: int) -> float:
        """Return where the bytes end that a record is about."""
        return self._offset(number + 1) if number + 1 < self.end else math.inf

    def _around(self, offset: int) -> tuple[int, int]:
        """Return numbers between which to look for an offset; near the page first.

        Who reads a log from end to end asks for one place after the other.
        """
        low = self._first + self._page_at // _SIZE
        if not self._page or self._offset(low) > offset:
            return self._first, self.end
        step = len(self._page) // _SIZE - 1
        while low + step < self.end and self._offset(low + step) <= offset:
            low += step
            step = _PAGE if step < _PAGE else step * 2
        return low, min(self.end, low + step)

    def _offset(self, number: int) -> int:
        return self._number_in(number, 0, 8)

    def _number_in(self, number: int, begin: int, end: int) -> int:
        return int.from_bytes(self._raw(number)[begin:end], "little")

    def _walls(self, number: int) -> "array[int]":
        """Return the times in nanoseconds from a record to the end of its page."""
        values = array("q", self._slice(number, min(self.end, self._page_end(number))))
        if sys.byteorder == "big":
            values.byteswap()
        return values[1::4]

    def _raw(self, number: int) -> bytes:
        place = (number - self._first) * _SIZE - self._page_at
        if not 0 <= place < len(self._page):
            self._load(number)
            place = (number - self._first) * _SIZE - self._page_at
        return self._page[place : place + _SIZE]

    def _slice(self, number: int, end: int) -> bytes:
        """Return the bytes of some records, all of one page."""
        self._raw(number), self._raw(end - 1)
        place = (number - self._first) * _SIZE - self._page_at
        return self._page[place : place + (end - number) * _SIZE]

    def _page_end(self, number: int) -> int:
        return self._first + ((number - self._first) // _PAGE + 1) * _PAGE

    def _load(self, number: int) -> None:
        begin = (number - self._first) // _PAGE * _PAGE
        count = min(_PAGE, self._count - begin)
        self._page_at = begin * _SIZE
        self._page = os.pread(self._fd, count * _SIZE, self._page_at)
        # Somebody cut the file meanwhile: what is missing tells nothing.
        self._page = self._page.ljust(count * _SIZE, b"\0")
