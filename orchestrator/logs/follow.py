"""What is added to logs, while it is added: across restarts, rotation and files not there yet."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.logs.index import Index
from orchestrator.logs.lines import RawLine, Splitter, feed_runs
from orchestrator.logs.query import Item, event_of, line_of
from orchestrator.logs.segments import Log

_CHUNK_BYTES = 256 * 1024
_MAX_BYTES = 4 * 1024 * 1024
_HELD_S = 0.3


class Follower:
    """Returns what is new in some logs each time it is asked. Looking costs microseconds."""

    def __init__(self, logs: Mapping[str, Path], at: Mapping[str, int] | None = None) -> None:
        """Follow from the offsets ``at``; from the end where none is given."""
        self._logs = {
            name: _One(name, Log(path), (at or {}).get(name)) for name, path in logs.items()
        }

    def poll(self) -> list[Item]:
        """Return the new lines and events, merged by time; at most some MiB at once a service."""
        found = [item for one in self._logs.values() for item in one.poll()]
        if len(self._logs) > 1:
            found.sort(key=lambda item: item.ts or 0.0)
        return found


class _One:
    def __init__(self, name: str, log: Log, at: int | None) -> None:
        self._name = name
        self._log = log
        self._index = Index(log.index_path)
        self._at = log.end() if at is None else at
        self._marks_at = len(self._index)
        self._splitter = Splitter()
        self._held_since: float | None = None

    def poll(self) -> Iterator[Item]:
        read = 0
        while read < _MAX_BYTES:
            begin, data = self._log.read(self._at, _CHUNK_BYTES)
            if not data:
                break
            if read == 0:
                self._index.refresh()
            read += len(data)
            self._at = begin + len(data)
            yield from self._with_marks(
                feed_runs(self._splitter, begin, data, self._index.starts())
            )
        if read == 0:
            self._index.refresh()
        if read < _MAX_BYTES:
            yield from self._ended_or_held(grew=read > 0)

    def _with_marks(self, raw: Iterator[RawLine]) -> Iterator[Item]:
        for line in raw:
            yield from self._marks(line.seq)
            yield line_of(self._name, self._index, line)

    def _marks(self, up_to: int) -> Iterator[Item]:
        """Yield the events at or before an offset that were not told yet."""
        while self._marks_at < len(self._index):
            record = self._index[self._marks_at]
            if record.offset > up_to:
                return
            self._marks_at += 1
            event = event_of(self._name, record)
            if event is not None:
                yield event

    def _ended_or_held(self, *, grew: bool) -> Iterator[Item]:
        """Show a line without an end once its run is over, or nothing was added for a while."""
        if not self._splitter.held:
            self._held_since = None
        else:
            now = time.monotonic()
            if grew or self._held_since is None:
                self._held_since = now
            over = self._marks_at < len(self._index) and self._index.has_mark(self._marks_at)
            if over or now - self._held_since >= _HELD_S:
                yield from self._with_marks(self._splitter.flush(partial=not over))
        yield from self._marks(self._at)
