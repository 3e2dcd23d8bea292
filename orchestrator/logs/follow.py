"""What is added to logs, while it is added: across restarts, rotation and files not there yet."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.logs.index import Kind, Record
from orchestrator.logs.lines import RawLine, Splitter, line_start
from orchestrator.logs.query import (
    Extent,
    Item,
    Query,
    ServiceEvent,
    event_of,
    line_of,
    merged,
    newest_of,
    one_service,
    settled,
)
from orchestrator.logs.segments import CHUNK_BYTES, Log
from orchestrator.logs.stream import Stream

_MOST_BYTES = 2 * CHUNK_BYTES
_HELD_S = 0.3
"""How long a line without an end is kept back, to be shown whole."""


class Follower:
    """Returns what is new in some logs each time it is asked. Looking costs microseconds.

    It polls: what is to be seen is there within the caller's pause, with no thread, no watch that
    a removed folder would end, and no difference between systems.
    """

    def __init__(self, logs: Mapping[str, Path], at: Mapping[str, int] | None = None) -> None:
        """Follow from the offsets ``at``; from the end where none is given."""
        at = at or {}
        self._ones = [_One(name, Log(path), at.get(name)) for name, path in logs.items()]

    def before(self, query: Query, begins: Mapping[str, int] | None = None) -> Iterator[Item]:
        """Yield what is wanted of what was there when following began, from ``begins`` on.

        What ``poll`` returns goes on exactly where this ends, and is what is wanted, too.
        """
        known = begins or {}

        def streams() -> list[Iterator[Item]]:
            return [one.before(query, known.get(one.name, 0)) for one in self._ones]

        return newest_of(streams, query.count)

    def poll(self) -> list[Item]:
        """Return the new lines and events, merged by time; at most half a MiB a service at once.

        The first bytes after a pause may come one call later than they are there.
        """
        found = [items for one in self._ones if (items := one.poll())]
        return found[0] if len(found) == 1 else list(merged(iter(items) for items in found))

    def close(self) -> None:
        """Close the files."""
        for one in self._ones:
            one.close()


class _One:
    """One service's log."""

    def __init__(self, name: str, log: Log, at: int | None) -> None:
        self.name = name
        self._log = log
        self._query = Query(None)
        self._splitter = Splitter()
        self._held_since: float | None = None
        self._is_resting = True
        self._seen_record = 0
        begin, end = log.range()
        log.index.refresh()
        # What is known by now of the place where following begins was before it.
        self._next_mark = log.index.number_at(end if at is None else at)
        # A line that is being written is shown when it is there, whole.
        self._at = line_start(log, end, begin) if at is None else at
        self._extent = Extent(begin, self._at, self._next_mark)
        self._is_cut = self._at < end
        self._told_run = log.index.run_at(self._at)
        self._stream = Stream(log, self._at)

    def before(self, query: Query, begin: int) -> Iterator[Item]:
        self._query = settled(query, self._log.index)
        if query.count is not None and self._is_cut:
            # The line that is not finished is one of those asked for.
            query = replace(query, count=max(0, query.count - 1))
        extent = self._extent._replace(begin=max(begin, self._extent.begin))
        return one_service(self.name, self._log, query, extent)

    def close(self) -> None:
        self._stream.close()

    def poll(self) -> list[Item]:
        if self._is_undated():
            return []
        found: list[Item] = []
        read = 0
        while read < _MOST_BYTES:
            begin, data = self._stream.read(CHUNK_BYTES)
            found += filter(self._query.wants, self._taken(begin, data))
            read += len(data)
            if not data:
                break
        found += filter(self._query.wants, self._held(grew=read > 0))
        self._is_resting = read == 0
        self._seen_record = self._log.index.end
        return found

    def _is_undated(self) -> bool:
        """Whether the first bytes after a pause are there, and the record that dates them is not.

        The shim notes it after it moved them. One look later it is there, or it never will be.
        """
        if not self._is_resting or not self._stream.has_new():
            return False
        self._is_resting = False
        self._log.index.refresh()
        return self._log.index.end == self._seen_record

    def _taken(self, begin: int, data: bytes) -> Iterator[Item]:
        marks = self._new_marks(begin + len(data))
        if data and begin > self._at:
            yield from self._missing(begin, marks)
        self._at = begin + len(data)
        breaks = [one.offset for one in marks if one.kind is not Kind.ROTATED]
        raw = self._splitter.feed(begin, data, breaks) if data else self._ended(breaks)
        for line in raw:
            while marks and marks[0].offset <= line.seq:
                yield from self._event(marks.pop(0))
            yield line_of(self.name, self._log.index, line)
        for one in marks:
            yield from self._event(one)

    def _ended(self, breaks: list[int]) -> Iterator[RawLine]:
        return self._splitter.flush() if breaks else iter(())

    def _new_marks(self, up_to: int) -> list[Record]:
        """Return the marks at or before an offset that were not told yet."""
        found: list[Record] = []
        index = self._log.index
        for number, one in index.marks_from(self._next_mark):
            if one.offset > up_to:
                self._next_mark = number
                return found
            found.append(one)
        self._next_mark = index.end
        return found

    def _missing(self, begin: int, marks: list[Record]) -> Iterator[Item]:
        """Say that bytes were gone before they could be read, unless the index says so."""
        for line in self._splitter.flush():
            yield line_of(self.name, self._log.index, line)
        if not any(one.kind is Kind.GAP for one in marks):
            ts, run = self._log.index.wall_at(begin), self._log.index.run_at(begin)
            if ts is not None:
                yield ServiceEvent(self.name, ts, run, begin, "gap")

    def _event(self, record: Record) -> Iterator[ServiceEvent]:
        if record.kind is Kind.START:
            if record.run <= self._told_run:
                # Kept when older records were dropped, so it looks new.
                return
            self._told_run = record.run
        yield from event_of(self.name, record)

    def _held(self, *, grew: bool) -> Iterator[Item]:
        """Yield a line without an end once nothing was added to it for a while."""
        if not self._splitter.held:
            self._held_since = None
            return
        now = time.monotonic()
        if grew or self._held_since is None:
            self._held_since = now
        if now - self._held_since >= _HELD_S:
            for line in self._splitter.flush(partial=True):
                yield line_of(self.name, self._log.index, line)
