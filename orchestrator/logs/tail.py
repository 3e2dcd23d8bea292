"""The end of a log, and the output of one run, for those who decide by it."""

from pathlib import Path

from orchestrator.logs.clean import clean
from orchestrator.logs.lines import Splitter, lines, newest
from orchestrator.logs.segments import Log, chunks

_LINE_CHARACTERS = 2000


def tail(log_path: Path, count: int) -> list[str]:
    """Return the newest ``count`` lines, harmless and without colours."""
    log = Log(log_path)
    end = log.end()
    begin = newest(log, count, 0, end)
    found = [clean(one.text, colour=False)[:_LINE_CHARACTERS] for one in lines(log, begin, end)]
    return found[-count:]


class RunOutput:
    """Reads what a run wrote since it was last asked, from a global offset on, across rotations."""

    def __init__(self, log_path: Path, log_offset: int) -> None:
        self._log = Log(log_path)
        self._at = log_offset
        self._splitter = Splitter()

    def new_lines(self) -> list[str]:
        """Return the lines that were added, the last one also while it lacks its end.

        A line that grew is returned again, whole.
        """
        found = []
        for offset, data in chunks(self._log, self._at, self._log.end()):
            found += [clean(one.text, colour=False) for one in self._splitter.feed(offset, data)]
            self._at = offset + len(data)
        if self._splitter.held:
            found.append(clean(self._splitter.held, colour=False))
        return found
