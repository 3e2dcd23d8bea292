"""The end of a log, and the output of one run, for those who decide by it."""

from pathlib import Path

from orchestrator.logs.clean import clean
from orchestrator.logs.lines import Splitter, lines, newest
from orchestrator.logs.segments import CHUNK_BYTES, Log

_LINE_CHARACTERS = 2000
_MOST_BYTES = 1024 * 1024


def tail(log_path: Path, count: int) -> list[str]:
    """Return the newest ``count`` lines, harmless and without colours, secrets not hidden."""
    log = Log(log_path)
    begin, end = log.range()
    begin = newest(log, count, begin, end)
    found = [clean(one.text, colour=False)[:_LINE_CHARACTERS] for one in lines(log, begin, end)]
    return found[-count:]


class RunOutput:
    """Reads what a run wrote since it was last asked, from a global offset on, across rotations.

    It holds no file open between two questions: the supervisor has many of these.
    """

    def __init__(self, log_path: Path, log_offset: int) -> None:
        self._log = Log(log_path)
        self._at = log_offset
        self._splitter = Splitter()
        self._seen: tuple[int, int, int] | None = None
        self._held = b""

    def new_lines(self) -> list[str]:
        """Return the lines that were added, the last one also while it lacks its end.

        A line that grew is returned again, whole. What a flood adds is returned a MiB at a time.
        When nothing was added, that costs one system call.
        """
        now = self._look()
        if now is None or now == self._seen:
            return []
        found = []
        most = self._at + _MOST_BYTES
        while self._at < most:
            offset, data = self._log.read(self._at, CHUNK_BYTES)
            if not data:
                self._seen = now
                break
            found += [clean(one.text, colour=False) for one in self._splitter.feed(offset, data)]
            self._at = offset + len(data)
        self._log.index.close()
        if self._splitter.held not in {b"", self._held}:
            self._held = self._splitter.held
            found.append(clean(self._held, colour=False))
        return found

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._log.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
