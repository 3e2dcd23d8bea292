"""The bytes that are added to a log, while they are added."""

import os

from orchestrator.logs.segments import Log, Segment, open_segment, read_at


class Stream:
    """Reads a log from an offset on, across rotations; the file that it reads stays open.

    So a file that is moved away or pruned under it is read to its end. Not to have anything new
    costs three system calls.
    """

    def __init__(self, log: Log, offset: int) -> None:
        self._log = log
        self._at = offset
        self._fd = -1
        self._segment: Segment | None = None
        self._base = 0

    def __del__(self) -> None:
        self.close()

    @property
    def at(self) -> int:
        """The offset of the next byte."""
        return self._at

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._segment = -1, None

    def has_new(self) -> bool:
        """Whether the open file has bytes that were not read."""
        opened = self._segment
        return opened is not None and os.fstat(self._fd).st_size > self._at - opened.start

    def read(self, size: int) -> tuple[int, bytes]:
        """Return up to ``size`` new bytes and where they begin; empty if there are none now.

        They begin later than where the ones before ended if what was between is gone.
        """
        if self._segment is None and not self._log.path.exists():
            return self._at, b""
        begin, data = self._take(size)
        self._log.index.refresh()
        base = self._log.index.base()
        if self._segment is not None and base == self._base:
            if data or not self._is_left():
                return self._go_on(begin, data)
        elif begin < base and data and self._is_left():
            # It was rotated: what is in the old file up to the new one's begin is still ours.
            return self._go_on(begin, data[: base - begin])
        return self._look(size)

    def _look(self, size: int) -> tuple[int, bytes]:
        """Find where the log goes on; what is left in the open file comes first."""
        segments = self._log.segments()
        found = next((one for one in segments if one.end > self._at), None)
        if found is None and segments and segments[-1].end == self._at:
            found = segments[-1]
        if found is None:
            return self._at, b""
        begin, data = self._take(size)
        if data and begin < found.start and self._is_left():
            return self._go_on(begin, data[: found.start - begin])
        return self._from(found, size)

    def _is_open(self, segment: Segment) -> bool:
        ours = self._segment
        return ours is not None and (ours.start, ours.inode) == (segment.start, segment.inode)

    def _go_on(self, begin: int, data: bytes) -> tuple[int, bytes]:
        self._at = begin + len(data)
        return begin, data

    def _take(self, size: int) -> tuple[int, bytes]:
        if self._segment is None:
            return self._at, b""
        skipped, data = read_at(self._fd, self._at - self._segment.start, size)
        return self._at + skipped, data

    def _is_left(self) -> bool:
        """Whether the log goes on in another file than the open one."""
        try:
            found = self._log.path.stat()
        except OSError:
            return True
        return self._segment is not None and found.st_ino != self._segment.inode

    def _from(self, segment: Segment, size: int) -> tuple[int, bytes]:
        """Go on in a file, if it still is what it was a moment ago; else the next read looks."""
        self._base = self._log.index.base()
        if not self._is_open(segment):
            self.close()
            fd = open_segment(segment)
            if fd is None:
                return self._at, b""
            self._fd, self._segment = fd, segment
        self._at = max(self._at, segment.start)
        begin, data = self._take(size)
        self._log.index.refresh()
        if self._log.index.base() != self._base:
            return self._at, b""
        return self._go_on(begin, data)
