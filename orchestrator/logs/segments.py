"""A service's log as one stream of bytes with global offsets, however it is cut into files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Segment:
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
        self._stem = path.name.removesuffix(".log")

    @property
    def index_path(self) -> Path:
        """Where the shim says when which byte arrived."""
        return self.path.parent / ".index" / self._stem

    def segments(self) -> list[Segment]:
        """Return the files that are there now, oldest first; none where nothing was written."""
        rotated, current = self._list()
        for _ in range(_TRIES):
            before = [one.start for one in rotated]
            rotated, current = self._list()
            # A rotation during the look would give the new file the offsets of the old one.
            if [one.start for one in rotated] == before:
                break
        if current is None:
            return rotated
        base = rotated[-1].end if rotated else self._base()
        return [*rotated, Segment(self.path, base, current.st_size, current.st_ino)]

    def _list(self) -> tuple[list[Segment], os.stat_result | None]:
        rotated, current = [], None
        try:
            entries = list(os.scandir(self.path.parent))
        except OSError:
            return [], None
        for entry in entries:
            if not entry.name.startswith(self._stem):
                continue
            try:
                found = entry.stat()
            except OSError:
                continue
            start = self._start_of(entry.name)
            if start is not None:
                rotated.append(Segment(Path(entry.path), start, found.st_size, found.st_ino))
            elif entry.name == self.path.name:
                current = found
        rotated.sort(key=lambda one: one.start)
        return rotated, current

    def end(self) -> int:
        """Return the offset after the last byte that was written."""
        segments = self.segments()
        return segments[-1].end if segments else 0

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return up to ``size`` bytes from ``offset`` on, from one segment, and where they begin.

        They begin later than asked where the bytes in between were pruned. Empty at the end.
        """
        for _ in range(_TRIES):
            segments = self.segments()
            wanted = next((one for one in segments if one.end > offset), None)
            if wanted is None:
                return offset, b""
            begin = max(offset, wanted.start)
            data = _read_at(wanted, begin - wanted.start, size)
            if data is not None:
                return begin, data
            # It was rotated or pruned between the list and the opening: list again.
        return offset, b""

    def _start_of(self, name: str) -> int | None:
        middle = name[len(self._stem) + 1 :].removesuffix(".log")
        return int(middle) if middle.isdigit() else None

    def _base(self) -> int:
        """Return where the current file begins when all before it were pruned."""
        from orchestrator.logs.index import Index, Kind

        found = [one for one in Index(self.index_path).marks() if one.kind is Kind.ROTATED]
        return found[-1].offset if found else 0


def chunks(log: Log, offset: int, end: int, size: int = 64 * 1024) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes from ``offset`` up to ``end`` piece by piece, each with its offset."""
    while offset < end:
        begin, data = log.read(offset, min(size, end - offset))
        if not data:
            return
        yield begin, data[: max(0, end - begin)]
        offset = begin + len(data)


def _read_at(segment: Segment, position: int, size: int) -> bytes | None:
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_ino != segment.inode:
            return None
        return os.pread(fd, size, position)
    finally:
        os.close(fd)
