"""Bytes of a log as lines."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.logs.segments import Log, chunks

PIECE_BYTES = 16 * 1024
"""A longer line comes in pieces, so that no line is ever in memory whole. Source: CRI logs."""

_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line, or a piece of one (``partial``: more of it follows); ``seq`` is its offset."""

    seq: int
    text: bytes
    partial: bool = False
    ended: bool = True
    """Whether a line end follows it, or more of it; false for the last line while it lacks one."""


class Splitter:
    """Cuts bytes that come in any portions into lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._rest_at = 0

    def feed(self, offset: int, data: bytes) -> Iterator[RawLine]:
        """Yield the lines that are complete; the rest is kept for the next portion."""
        if self._rest and offset != self._rest_at + len(self._rest):
            # Bytes in between were pruned before they were read.
            yield RawLine(self._rest_at, self._rest)
            self._rest = b""
        if not self._rest:
            self._rest_at = offset
        *whole, self._rest = (self._rest + data).split(b"\n")
        for text in whole:
            yield from self._pieces(text, ended=True)
            self._rest_at += 1
        while len(self._rest) > PIECE_BYTES:
            yield RawLine(self._rest_at, self._rest[:PIECE_BYTES], partial=True)
            self._rest_at += PIECE_BYTES
            self._rest = self._rest[PIECE_BYTES:]

    def flush(self, *, partial: bool = False) -> Iterator[RawLine]:
        """Yield what is left as a line without an end."""
        if self._rest:
            rest, at = self._rest, self._rest_at
            self._rest, self._rest_at = b"", at + len(rest)
            yield RawLine(at, rest, partial=partial, ended=False)

    @property
    def held(self) -> bytes:
        """The beginning of a line that is kept; empty when there is none."""
        return self._rest

    def _pieces(self, text: bytes, *, ended: bool) -> Iterator[RawLine]:
        while len(text) > PIECE_BYTES:
            yield RawLine(self._rest_at, text[:PIECE_BYTES], partial=True)
            self._rest_at += PIECE_BYTES
            text = text[PIECE_BYTES:]
        yield RawLine(self._rest_at, text, ended=ended)
        self._rest_at += len(text)


def lines(log: Log, begin: int, end: int, starts: Sequence[int] = ()) -> Iterator[RawLine]:
    """Yield the lines between two offsets; the last one also without a line end.

    ``starts`` are the offsets at which runs begin: a line never goes over one.
    """
    splitter = Splitter()
    for offset, data in chunks(log, begin, end):
        yield from feed_runs(splitter, offset, data, starts)
    yield from splitter.flush()


def feed_runs(
    splitter: Splitter, offset: int, data: bytes, starts: Sequence[int]
) -> Iterator[RawLine]:
    """Feed bytes so that the last words of a run are not glued to the first of the next."""
    at = offset
    for start in starts[bisect.bisect_left(starts, offset) :]:
        if start > offset + len(data):
            break
        if start > at:
            yield from splitter.feed(at, data[at - offset : start - offset])
            at = start
        yield from splitter.flush()
    if at < offset + len(data):
        yield from splitter.feed(at, data[at - offset :])


def newest(log: Log, count: int, begin: int, end: int) -> int:
    """Return where the newest ``count`` lines before ``end`` begin, not before ``begin``.

    It is looked for from the end, a block at a time, so an old log costs no more than a young one.
    """
    if count <= 0:
        return end
    seen, at = 0, end
    while at > begin:
        block_at = max(begin, at - _BLOCK_BYTES)
        first, data = _block(log, block_at, at)
        stop = len(data)
        if at == end and data.endswith(b"\n"):
            stop -= 1
        while (found := data.rfind(b"\n", 0, stop)) >= 0:
            seen += 1
            if seen == count:
                return first + found + 1
            stop = found
        if first > block_at and not data:
            return at
        if first > block_at:
            return first
        at = block_at
    return begin


def _block(log: Log, begin: int, end: int) -> tuple[int, bytes]:
    """Return the bytes between two offsets over segments; they begin later if some were pruned."""
    pieces = list(chunks(log, begin, end))
    if not pieces:
        return end, b""
    return pieces[0][0], b"".join(data for _, data in pieces)
