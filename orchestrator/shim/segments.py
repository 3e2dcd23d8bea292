"""The files of one log: the current one, the rotated ones beside it, and what others do to them."""

from __future__ import annotations

import errno
import os
import stat as modes
import time

from orchestrator.shim import failpoints, files
from orchestrator.shim.index import GAP, GAP_LOST, GAP_TRUNCATED, ROTATED, Index

LOOK_EVERY_S = 0.05


class Segments:
    """Owns the current segment. Offsets are global: they count over all segments and runs.

    ``base`` is the global offset of the current file's first byte, ``position`` the place in it
    where the next byte goes.
    """

    def __init__(self, path: str, max_size_bytes: int | None, keep: int, index: Index) -> None:
        self._folder, _, self._name = path.rpartition("/")
        self._path = path
        self._max_size_bytes = max_size_bytes
        self._keep = keep
        self._index = index
        self._looked_s = 0.0
        self._checked_to = 0
        self.fd = -1
        self.base = 0
        self.position = 0

    @property
    def offset(self) -> int:
        """The global offset of the next byte."""
        return self.base + self.position

    @property
    def room(self) -> int | None:
        """Bytes until the size at which to rotate, 0 or less when reached; None for no limit."""
        if self._max_size_bytes is None:
            return None
        return self._max_size_bytes - self.position

    def open(self) -> None:
        """Open the log and find out where it stands. Raises OSError; may be called again.

        Whatever a death left half done is carried on: a rotation without its new file or its
        record, a truncation nobody saw.
        """
        self._index.open()
        base = self._found_base()
        self._open_file()
        self.base = base
        known = self._index.last_offset()
        if self.offset < known:
            self.base = known
            self._index.note(known, GAP, 0, GAP_TRUNCATED)
        elif base > known:
            self._index.note(base, ROTATED)
        self._prune()

    def close(self) -> None:
        """Close the current file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def verify(self) -> None:
        """Look at what others did to the file, before each move. Raises OSError.

        Removed: begin anew in a folder that is made again. Truncated: go on at its end. Moved
        away: leave it to its new owner and reopen ours.
        """
        stat = os.fstat(self.fd)
        if stat.st_nlink == 0:
            self._begin_anew(lost=True)
        elif stat.st_size < self.position:
            self._restart_at(stat.st_size)
        elif stat.st_size > self.position:
            self.position = stat.st_size
        now = time.monotonic()
        if now - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now
            self._look_around(stat)

    def moved(self, count: int) -> None:
        """Take note of ``count`` bytes that were put at the position."""
        self._index.data(self.offset)
        self.position += count

    def rotate(self) -> None:
        """Rename the current file after its first offset and begin a new one. Raises OSError.

        Single renames and no counters: a death at any point is repaired by ``open``. Nothing is
        fsynced: the page cache survives every death but the machine's.
        """
        self._find_holes()
        os.rename(self._path, self._rotated_path(self.base))
        failpoints.reach("rotate.after_rename")
        end = self.offset
        self._open_file()
        failpoints.reach("rotate.after_open")
        self.base = end - self.position
        self._index.note(end, ROTATED)
        self._prune()

    def finish(self) -> None:
        """Do what is done when output pauses: look for holes and write waiting records."""
        if self.fd >= 0:
            self._find_holes()
        self._index.flush()

    def drop_oldest(self) -> bool:
        """Remove the oldest rotated segment to make room; tell whether there was one."""
        rotated = self.rotated()
        if not rotated:
            return False
        try:
            os.unlink(self._rotated_path(rotated[0]))
        except OSError:
            return False
        self._forget(rotated[1:])
        return True

    def rotated(self) -> list[int]:
        """Return the first offsets of the rotated segments, oldest first."""
        stem, tail = _rotated_words(self._name)
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        found = [
            name[len(stem) : len(name) - len(tail)]
            for name in names
            if name.startswith(stem) and name.endswith(tail) and len(name) > len(stem) + len(tail)
        ]
        return sorted(int(word) for word in found if word.isascii() and word.isdigit())

    def _rotated_path(self, base: int) -> str:
        stem, tail = _rotated_words(self._name)
        return f"{self._folder}/{stem}{base}{tail}"

    def _open_file(self) -> None:
        # Not O_APPEND: splice(2) refuses it.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = files.open_in(self._path, flags)
        stat = os.fstat(fd)
        if not modes.S_ISREG(stat.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", self._path)
        self.close()
        self.fd = fd
        self.position = stat.st_size
        self._checked_to = stat.st_size

    def _found_base(self) -> int:
        base = 0
        for first in self.rotated():
            try:
                base = max(base, first + os.stat(self._rotated_path(first)).st_size)
            except OSError:
                base = max(base, first)
        begun = self._index.newest(((ROTATED, 0), (GAP, GAP_TRUNCATED)), base)
        return base if begun is None else begun

    def _begin_anew(self, *, lost: bool) -> None:
        end = self.offset
        self._open_file()
        # Bytes that already stand in the file we find count as output, so that offsets only grow.
        self.base = end
        if lost:
            self._index.note(end, GAP, 0, GAP_LOST)
        self._index.note(end, ROTATED)

    def _restart_at(self, size: int) -> None:
        end = self.offset
        self.base, self.position, self._checked_to = end, size, size
        self._index.note(end, GAP, 0, GAP_TRUNCATED)

    def _look_around(self, ours: os.stat_result) -> None:
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            self._begin_anew(lost=False)
            return
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) and ours.st_nlink > 0:
            self._begin_anew(lost=False)
        else:
            self._find_holes()

    def _find_holes(self) -> None:
        """Note places that a truncation between look and move left without bytes."""
        while self._checked_to < self.position:
            try:
                hole = os.lseek(self.fd, self._checked_to, os.SEEK_HOLE)
                if hole >= self.position:
                    break
                data = os.lseek(self.fd, hole, os.SEEK_DATA)
            except OSError:
                break
            self._index.note(self.base + hole, GAP, 0, GAP_LOST)
            self._checked_to = data
        self._checked_to = self.position

    def _prune(self) -> None:
        rotated = self.rotated()
        surplus = rotated[: max(0, len(rotated) - self._keep)]
        for first in surplus:
            try:
                os.unlink(self._rotated_path(first))
            except OSError:
                continue
        if surplus:
            self._forget(rotated[len(surplus) :])

    def _forget(self, left: list[int]) -> None:
        try:
            self._index.forget(left[0] if left else self.base)
        except OSError:
            # The index only stays longer than it must.
            return


def _rotated_words(name: str) -> tuple[str, str]:
    """Return what stands before and after the offset in a rotated segment's name."""
    if name.endswith(".log"):
        return f"{name[:-4]}.", ".log"
    return f"{name}.", ""
