"""Lines and events of services, chosen by number, time, run and pattern, merged by time."""

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import NamedTuple

from orchestrator.logs.index import Index, Kind, Record
from orchestrator.logs.lines import RawLine, line_end, line_start, lines, newest
from orchestrator.logs.redact import Redactor
from orchestrator.logs.segments import Log
from orchestrator.logs.shown import shown

_WINDOW_BYTES = 1024 * 1024


class Line(NamedTuple):
    """One line, or a piece of one; ``ts`` is seconds since the epoch, None: not known.

    The rest is as in ``RawLine``.
    """

    service: str
    ts: float | None
    run: int
    seq: int
    text: bytes
    partial: bool = False
    ended: bool = True
    before: bytes = b""
    after: bytes = b""


class ServiceEvent(NamedTuple):
    """What happened to the service at this place of its output; never taken from its text."""

    service: str
    ts: float
    run: int
    seq: int
    event: str
    code: int | None = None
    signal: int | None = None


Item = Line | ServiceEvent


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted. Times are seconds since the epoch, ``after`` is a global offset.

    ``count`` None means all. A ``run`` of 0 is the newest, a negative one counts from it: -1 is
    the one before. ``pattern`` must occur in a line as it is shown, secrets hidden.
    """

    count: int | None = 100
    since: float | None = None
    until: float | None = None
    after: int | None = None
    run: int | None = None
    pattern: re.Pattern[str] | None = None
    redactor: Redactor = field(default_factory=lambda: Redactor(()))

    @property
    def is_picky(self) -> bool:
        """Whether what is wanted is not simply all that is in a range of offsets."""
        return self.pattern is not None or self.since is not None or self.until is not None

    def wants(self, item: Item) -> bool:
        """Whether an item is one of those that are wanted, their number aside."""
        if self.after is not None and item.seq <= self.after:
            return False
        if self.run is not None and self.run > 0 and item.run != self.run:
            return False
        if item.ts is not None and not self._is_in_time(item.ts):
            return False
        if self.pattern is None:
            return True
        return isinstance(item, Line) and self._matches(item)

    def _is_in_time(self, ts: float) -> bool:
        late_enough = self.since is None or ts >= self.since
        return late_enough and (self.until is None or ts < self.until)

    def _matches(self, line: Line) -> bool:
        pattern = self.pattern
        return pattern is None or pattern.search(shown(line, self.redactor)) is not None


class Extent(NamedTuple):
    """A part of a log: its bytes from ``begin`` to ``end``, the records before number ``marks``."""

    begin: int
    end: int
    marks: int


def read(logs: Mapping[str, Path], query: Query) -> Iterator[Item]:
    """Yield what the logs of the services hold, merged by time."""
    opened = {name: Log(path) for name, path in logs.items()}
    extents = {}
    for name, log in opened.items():
        begin, end = log.range()
        extents[name] = Extent(begin, end, log.index.end)

    def streams() -> list[Iterator[Item]]:
        return [one_service(name, log, query, extents[name]) for name, log in opened.items()]

    return newest_of(streams, query.count)


def merged(streams: Iterable[Iterator[Item]]) -> Iterator[Item]:
    """Yield the items of several services by time; those of one stay in their order."""
    ordered = [_in_order(stream) for stream in streams]
    return (item for _, item in heapq.merge(*ordered, key=lambda pair: pair[0]))


def newest_of(streams: Callable[[], Sequence[Iterator[Item]]], count: int | None) -> Iterator[Item]:
    """Yield the newest ``count`` lines of several services together, and the events among them.

    Each of the streams has no more than that many. They are gone through twice, as a line may be
    longer than one wants in memory.
    """
    found = streams()
    if len(found) == 1 or count is None:
        yield from found[0] if len(found) == 1 else merged(found)
        return
    surplus = sum(_ends_line(item) for item in merged(found)) - count
    rest = merged(streams())
    while surplus > 0 and (item := next(rest, None)) is not None:
        surplus -= _ends_line(item)
        if surplus == 0:
            rest = _from_line(rest)
    yield from rest


def one_service(name: str, log: Log, query: Query, extent: Extent) -> Iterator[Item]:
    """Yield one service's lines with its events among them, in the order of its output."""
    if query.count == 0:
        return
    query = settled(query, log.index)
    oldest, end = _range(log, query, extent)
    begin = _begin(name, log, query, oldest, end)
    asked = extent._replace(begin=begin, end=end)
    found = filter(query.wants, with_events(name, log.index, lines(log, begin, end), asked))
    yield from _from_line(found) if begin > oldest else found


def bounds(log: Log, query: Query) -> tuple[int, int]:
    """Return the offsets that all of what is wanted lies between, where lines begin and end."""
    begin, end = log.range()
    query = settled(query, log.index)
    begin, end = _range(log, query, Extent(begin, end, log.index.end))
    return _begin("", log, query, begin, end), end


def _begin(name: str, log: Log, query: Query, begin: int, end: int) -> int:
    """Return where the newest ``query.count`` of the lines between two offsets begin."""
    if query.count is None:
        return begin
    if query.is_picky:
        return _newest_wanted(name, log, query, begin, end)
    return newest(log, query.count, begin, end)


def settled(query: Query, index: Index) -> Query:
    """Return the query with the number of a run in place of one counted from the newest."""
    if query.run is None or query.run > 0:
        return query
    run = index.last_run() + query.run
    # There is none: 0 would stand for the newest.
    run = run if run > 0 else 1 << 32
    return replace(query, run=run)


def with_events(name: str, index: Index, raw: Iterable[RawLine], extent: Extent) -> Iterator[Item]:
    """Yield lines with what happened before, between and after them."""
    known = (one for _, one in index.marks_from(index.number_at(extent.begin - 1), extent.marks))
    marks = deque(takewhile(lambda one: one.offset <= extent.end, known))
    for line in raw:
        while marks and marks[0].offset <= line.seq:
            yield from event_of(name, marks.popleft())
        yield line_of(name, index, line)
    for one in marks:
        yield from event_of(name, one)


def line_of(name: str, index: Index, line: RawLine) -> Line:
    """Return a line with its time and run."""
    ts, run = index.arrival(line.seq)
    return Line(name, ts, run, *line)


def event_of(name: str, record: Record) -> Iterator[ServiceEvent]:
    """Yield what a record of the index tells people, if anything: a rotation tells them nothing."""
    if record.kind not in {Kind.DATA, Kind.ROTATED}:
        word = record.kind.name.lower()
        yield ServiceEvent(
            name, record.wall_s, record.run, record.offset, word, record.code, record.signal
        )


def _range(log: Log, query: Query, extent: Extent) -> tuple[int, int]:
    """Return offsets that all of what is wanted lies between, the first one where a line begins."""
    begin, end = extent.begin, extent.end
    index = log.index
    if query.run is not None:
        found = index.run_range(query.run)
        if found is None:
            return end, end
        begin, end = max(begin, found[0]), end if found[1] is None else min(end, found[1])
    if query.until is not None:
        until = index.offset_before(query.until)
        end = end if until is None else line_end(log, until, end)
    since = 0
    if query.since is not None:
        found_at = index.offset_at(query.since)
        since = end if found_at is None else found_at
    if query.after is not None:
        since = max(since, query.after)
    if since > begin:
        begin = line_start(log, min(since, end), begin)
    return begin, max(begin, end)


def _newest_wanted(name: str, log: Log, query: Query, begin: int, end: int) -> int:
    """Return where the newest ``query.count`` lines begin of which something is wanted.

    It goes back window by window and keeps offsets only, so that memory stays flat.
    """
    left = query.count or 0
    window_end = end
    while window_end > begin:
        window_at = line_start(log, max(begin, window_end - _WINDOW_BYTES), begin)
        starts = _wanted_starts(name, log, query, window_at, window_end)
        if len(starts) >= left:
            return starts[-left]
        left -= len(starts)
        window_end = window_at
    return begin


def _wanted_starts(name: str, log: Log, query: Query, begin: int, end: int) -> list[int]:
    """Return where each line begins of which something is wanted."""
    found: list[int] = []
    start, is_new = begin, True
    for raw in lines(log, begin, end):
        start = raw.seq if is_new else start
        is_new = not raw.partial
        if start not in found[-1:] and query.wants(line_of(name, log.index, raw)):
            found.append(start)
    return found


def _ends_line(item: Item) -> bool:
    return isinstance(item, Line) and not item.partial


def _from_line(items: Iterator[Item]) -> Iterator[Item]:
    """Leave out the events before the first line: what they end is not shown."""
    return dropwhile(lambda item: isinstance(item, ServiceEvent), items)


def _in_order(items: Iterator[Item]) -> Iterator[tuple[float, Item]]:
    """Yield items with a time that never goes back, whatever the clock did."""
    newest_ts = 0.0
    for item in items:
        newest_ts = max(newest_ts, item.ts or newest_ts)
        yield newest_ts, item
