"""Bytes of a log as lines."""

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.logs.segments import Log, chunks

PIECE_BYTES = 16 * 1024
"""A longer line comes in pieces, so that no line is ever in memory whole. Source: CRI logs."""

CONTEXT_BYTES = 4 * 1024
"""What a piece knows of its line's bytes before and after it: a secret may lie across the cut."""

_BLOCK_BYTES = 64 * 1024


class RawLine(NamedTuple):
    """A line, or a piece of one (``partial``: more of it follows); ``seq`` is its offset."""

    seq: int
    text: bytes
    partial: bool = False
    ended: bool = True
    """Whether a line end follows it."""
    before: bytes = b""
    after: bytes = b""


class Splitter:
    """Cuts bytes that come in any portions into lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._rest_at = 0
        self._before = b""

    @property
    def held(self) -> bytes:
        """The beginning of a line that is kept; empty when there is none."""
        return self._rest

    def feed(self, offset: int, data: bytes, breaks: Sequence[int] = ()) -> Iterator[RawLine]:
        """Yield the lines that are complete; the rest is kept for the next portion.

        At the offsets ``breaks``, and where bytes are missing, a line ends without a line end.
        """
        if offset != self._rest_at + len(self._rest):
            yield from self.flush()
            self._rest_at, self._before = offset, b""
        for cut in breaks:
            if offset <= cut <= offset + len(data):
                yield from self._add(data[: cut - offset])
                yield from self.flush()
                offset, data = cut, data[cut - offset :]
                self._before = b""
        yield from self._add(data)

    def flush(self, *, partial: bool = False) -> Iterator[RawLine]:
        """Yield what is left as a line without an end; ``partial``: more of it may come."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._pieces(rest, partial=partial, ended=False)
            self._rest_at += len(rest)

    def _add(self, data: bytes) -> Iterator[RawLine]:
        *whole, rest = data.split(b"\n")
        for text in whole:
            line, self._rest = self._rest + text, b""
            if len(line) > PIECE_BYTES or self._before:
                yield from self._pieces(line, partial=False, ended=True)
                self._before = b""
            else:
                yield RawLine(self._rest_at, line)
            self._rest_at += len(line) + 1
        self._rest += rest
        if len(self._rest) > PIECE_BYTES + CONTEXT_BYTES:
            yield from self._cut()

    def _cut(self) -> Iterator[RawLine]:
        """Yield the pieces of a line that is still growing, those whose neighbours are known."""
        rest, at = self._rest, 0
        while len(rest) - at > PIECE_BYTES + CONTEXT_BYTES:
            text, at = rest[at : at + PIECE_BYTES], at + PIECE_BYTES
            after = rest[at : at + CONTEXT_BYTES]
            yield RawLine(self._rest_at, text, True, False, self._before, after)  # noqa: FBT003
            self._rest_at += PIECE_BYTES
            self._before = text[-CONTEXT_BYTES:]
        self._rest = rest[at:]

    def _pieces(self, text: bytes, *, partial: bool, ended: bool) -> Iterator[RawLine]:
        """Yield a line in pieces; where the whole line is known, no more than it."""
        for at in range(0, max(1, len(text)), PIECE_BYTES):
            piece, end = text[at : at + PIECE_BYTES], at + PIECE_BYTES
            more = end < len(text)
            yield RawLine(
                self._rest_at + at,
                piece,
                more or partial,
                ended and not more,
                self._before,
                text[end : end + CONTEXT_BYTES],
            )
            self._before = (self._before + piece)[-CONTEXT_BYTES:]


def lines(log: Log, begin: int, end: int) -> Iterator[RawLine]:
    """Yield the lines between two offsets; the last one also without a line end.

    A line never goes on over the end of its run, or a place where bytes are missing.
    """
    splitter = Splitter()
    log.index.refresh()
    breaks = log.index.breaks(begin, end)
    for offset, data in chunks(log, begin, end):
        yield from splitter.feed(offset, data, breaks)
    yield from splitter.flush()


def newest(log: Log, count: int, begin: int, end: int) -> int:
    """Return where the newest ``count`` lines before ``end`` begin, not before ``begin``.

    It is looked for from the end, a block at a time, so an old log costs no more than a young one.
    """
    if count <= 0:
        return end
    for start in _starts(log, begin, end):
        if start < end:
            count -= 1
            if count == 0:
                return start
    return begin


def line_start(log: Log, offset: int, begin: int = 0) -> int:
    """Return where the line begins that the byte at ``offset`` belongs to, or would."""
    return next(_starts(log, begin, offset), begin)


def line_end(log: Log, offset: int, end: int) -> int:
    """Return where the line ends that goes on at ``offset``, at ``end`` at the latest."""
    before = max(0, offset - 1)
    for at, data in chunks(log, before, end):
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
    return end


def _starts(log: Log, begin: int, end: int) -> Iterator[int]:
    """Yield where lines begin, from ``end`` back to ``begin``, each once; ``begin`` is one."""
    log.index.refresh()
    breaks = [*reversed(log.index.breaks(begin, end + 1))]
    before = -1
    for start in heapq.merge(_after_line_ends(log, begin, end), breaks, [begin], reverse=True):
        if start != before:
            yield start
        before = start


def _after_line_ends(log: Log, begin: int, end: int) -> Iterator[int]:
    """Yield what comes after line ends and after missing bytes, from ``end`` back to ``begin``."""
    while end > begin:
        block_at = max(begin, end - _BLOCK_BYTES)
        pieces = list(chunks(log, block_at, end))
        while pieces:
            first, data = pieces.pop()
            stop = len(data)
            while (found := data.rfind(b"\n", 0, stop)) >= 0:
                yield first + found + 1
                stop = found
            known = pieces[-1][0] + len(pieces[-1][1]) if pieces else block_at
            if first != known:
                yield first
        end = block_at
