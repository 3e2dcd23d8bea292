"""Lines and events of services, chosen by number, time, run and pattern, merged by time."""

import heapq
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.logs.index import Index, Kind, Record
from orchestrator.logs.lines import RawLine, lines, newest
from orchestrator.logs.segments import Log


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or a piece of one; ``ts`` is seconds since the epoch, None: not known."""

    service: str
    ts: float | None
    run: int
    seq: int
    text: bytes
    partial: bool = False


@dataclass(frozen=True, slots=True)
class ServiceEvent:
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

    ``count`` None means all. A negative ``run`` counts from the newest: -1 is the one before.
    """

    count: int | None = 100
    since: float | None = None
    until: float | None = None
    after: int | None = None
    run: int | None = None
    pattern: re.Pattern[str] | None = None


def read(logs: Mapping[str, Path], query: Query) -> Iterator[Item]:
    """Yield what the logs of the services hold, merged by time."""
    streams = [_in_order(one_service(name, Log(path), query)) for name, path in logs.items()]
    merged = heapq.merge(*streams, key=lambda pair: pair[0])
    found = (item for _, item in merged)
    # Each stream has its newest lines; of all of them the newest are wanted.
    return found if query.count is None or len(logs) == 1 else _last(found, query.count)


def one_service(name: str, log: Log, query: Query) -> Iterator[Item]:
    """Yield one service's lines with its events among them, in the order of its output."""
    index = Index(log.index_path)
    begin, end = _range(log, index, query)
    if query.pattern is not None:
        found = _matching(name, log, index, begin, end, query)
        yield from _last(found, query.count) if query.count is not None else found
        return
    if query.count is not None:
        begin = newest(log, query.count, begin, end)
    yield from with_events(name, index, lines(log, begin, end, index.starts()), begin, end)


def with_events(
    name: str, index: Index, raw: Iterable[RawLine], begin: int, end: int
) -> Iterator[Item]:
    """Yield lines with what happened between them."""
    marks = deque(one for one in index.marks() if begin <= one.offset <= end)
    for line in raw:
        while marks and marks[0].offset <= line.seq:
            if (event := event_of(name, marks.popleft())) is not None:
                yield event
        yield line_of(name, index, line)
    yield from (event for one in marks if (event := event_of(name, one)) is not None)


def line_of(name: str, index: Index, line: RawLine) -> Line:
    """Return a line with its time and run."""
    ts, run = index.wall_at(line.seq), index.run_at(line.seq)
    return Line(name, ts, run, line.seq, line.text, line.partial)


def event_of(name: str, record: Record) -> ServiceEvent | None:
    """Return what a record of the index tells people; a rotation tells them nothing."""
    if record.kind in {Kind.DATA, Kind.ROTATED}:
        return None
    word = record.kind.name.lower()
    return ServiceEvent(
        name, record.wall_s, record.run, record.offset, word, record.code, record.signal
    )


def _range(log: Log, index: Index, query: Query) -> tuple[int, int]:
    segments = log.segments()
    begin = segments[0].start if segments else 0
    end = segments[-1].end if segments else 0
    if query.run is not None:
        run = query.run if query.run > 0 else index.last_run() + query.run
        found = index.run_range(run)
        if found is None:
            return end, end
        begin, end = max(begin, found[0]), end if found[1] is None else found[1]
    if query.since is not None:
        found_at = index.offset_at(query.since)
        begin = end if found_at is None else max(begin, found_at)
    if query.until is not None:
        found_at = index.offset_at(query.until)
        end = end if found_at is None else min(end, found_at)
    if query.after is not None:
        begin = max(begin, _after(log, query.after, end))
    return begin, max(begin, end)


def _after(log: Log, seq: int, end: int) -> int:
    """Return where the first line after the one at ``seq`` begins."""
    first = next(lines(log, seq, end), None)
    if first is None:
        return end
    return first.seq + len(first.text) + (0 if first.partial or not first.ended else 1)


def _matching(
    name: str, log: Log, index: Index, begin: int, end: int, query: Query
) -> Iterator[Item]:
    pattern = query.pattern
    for line in lines(log, begin, end, index.starts()):
        if pattern is None or pattern.search(line.text.decode("utf-8", "replace")):
            yield line_of(name, index, line)


def _last(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield the newest ``count`` lines, and the events among them."""
    kept: deque[Item] = deque()
    held = 0
    for item in items:
        kept.append(item)
        held += isinstance(item, Line)
        while held > count:
            held -= isinstance(kept.popleft(), Line)
    while kept and held == count and isinstance(kept[0], ServiceEvent):
        kept.popleft()
    yield from kept


def _in_order(items: Iterator[Item]) -> Iterator[tuple[float, Item]]:
    """Yield items with a time that never goes back, whatever the clock did."""
    newest_ts = 0.0
    for item in items:
        newest_ts = max(newest_ts, item.ts or newest_ts)
        yield newest_ts, item
