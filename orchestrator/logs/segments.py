"""A service's log as one stream of bytes with global offsets, however it is cut into files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator.logs.index import Index

CHUNK_BYTES = 256 * 1024
_TRIES = 20


class Segment(NamedTuple):
    """One file of a log: its bytes are those from ``start`` on, ``size`` of them now."""

    path: Path
    start: int
    size: int
    inode: int

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.start + self.size


class Log:
    """Reads what a shim writes, while it writes, rotates and prunes; takes no lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        has_suffix = path.name.endswith(".log")
        stem = path.name[:-4] if has_suffix else path.name
        self._head, self._tail = f"{stem}.", ".log" if has_suffix else ""
        self.index_path = path.parent / ".index" / stem
        self._index: Index | None = None

    @property
    def index(self) -> Index:
        """What the shim noted of the bytes; opened when first asked for."""
        if self._index is None:
            self._index = Index(self.index_path)
        return self._index

    def segments(self) -> list[Segment]:
        """Return the files that are there now, oldest first; none where nothing was written.

        They are looked at until two looks agree: a rotation, or a truncation by somebody else, in
        the middle of one would give a file's bytes the offsets of another's.
        """
        found: list[Segment] = []
        for _ in range(_TRIES):
            self.index.refresh()
            base = self.index.base()
            names = self._rotated()
            found = self._stat_all(names)
            end = found[-1].end if found else 0
            current = self._current(max(base, end))
            self.index.refresh()
            if names == self._rotated() and len(found) == len(names):
                again = self._current(current.start if current else 0)
                same = (current and current.inode) == (again and again.inode)
                if same and self.index.base() == base:
                    return [*found, current] if current else found
        return found

    def end(self) -> int:
        """Return the offset after the last byte that was written."""
        segments = self.segments()
        return segments[-1].end if segments else 0

    def range(self) -> tuple[int, int]:
        """Return the offsets of the oldest byte that is there, and after the newest."""
        segments = self.segments()
        return (segments[0].start, segments[-1].end) if segments else (0, 0)

    def find(self, offset: int) -> Segment | None:
        """Return the file with the byte at ``offset``, or the first one after it."""
        return next((one for one in self.segments() if one.end > offset), None)

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return up to ``size`` bytes from ``offset`` on, from one segment, and where they begin.

        They begin later than asked where the bytes in between are not there. Empty at the end.
        """
        for _ in range(_TRIES):
            segment = self.find(offset)
            if segment is None:
                return offset, b""
            fd = open_segment(segment)
            if fd is None:
                # It was rotated or pruned between the look and the opening: look again.
                continue
            try:
                begin = max(offset, segment.start)
                skipped, data = read_at(fd, begin - segment.start, size)
            finally:
                os.close(fd)
            self.index.refresh()
            # Only the current file can have been cut and written anew meanwhile.
            if segment.path != self.path or self.index.base() <= segment.start:
                return begin + skipped, data
        return offset, b""

    def _rotated(self) -> dict[int, str]:
        """Return the names of the rotated segments by their first offsets, oldest first."""
        try:
            with os.scandir(self.path.parent) as entries:
                names = [entry.name for entry in entries]
        except OSError:
            return {}
        found = {}
        for name in names:
            if name.startswith(self._head) and name.endswith(self._tail):
                word = name[len(self._head) : len(name) - len(self._tail)]
                if word.isascii() and word.isdigit():
                    found[int(word)] = name
        return dict(sorted(found.items()))

    def _stat_all(self, names: dict[int, str]) -> list[Segment]:
        found = []
        for start, name in names.items():
            path = self.path.parent / name
            try:
                stat = path.stat()
            except OSError:
                continue
            found.append(Segment(path, start, stat.st_size, stat.st_ino))
        return found

    def _current(self, base: int) -> Segment | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return Segment(self.path, base, stat.st_size, stat.st_ino)


def chunks(log: Log, offset: int, end: int, size: int = CHUNK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes from ``offset`` up to ``end`` piece by piece, each with its offset."""
    while offset < end:
        begin, data = log.read(offset, min(size, end - offset))
        data = data[: max(0, end - begin)]
        if not data:
            return
        yield begin, data
        offset = begin + len(data)


def open_segment(segment: Segment) -> int | None:
    """Open a segment; None if its name is gone, or another file's."""
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if os.fstat(fd).st_ino == segment.inode:
        return fd
    os.close(fd)
    return None


def read_at(fd: int, position: int, size: int) -> tuple[int, bytes]:
    """Return up to ``size`` bytes from ``position`` on, and how many were skipped before them.

    Holes, which a truncation by somebody else leaves, are no output.
    """
    data = os.pread(fd, size, position)
    if b"\0" not in data:
        return 0, data
    try:
        begin = os.lseek(fd, position, os.SEEK_DATA)
        end = os.lseek(fd, begin, os.SEEK_HOLE)
    except OSError:
        return 0, data
    if begin >= position + len(data):
        return begin - position, os.pread(fd, min(size, end - begin), begin)
    return begin - position, data[begin - position : end - position]
