"""What a run that died wrote last, read for the reason."""

from pathlib import Path

from orchestrator.core.reasons import reason_in
from orchestrator.logs.clean import clean
from orchestrator.logs.lines import lines
from orchestrator.logs.segments import Log

_LAST_BYTES = 64 * 1024


def reason_of(log_path: Path, begin: int, end: int) -> str:
    """Return why the run says it died whose output is ``begin`` to ``end``; empty if it does not.

    Offsets are those of the log, over all its files. A log that can't be read tells nothing.
    """
    begin = max(begin, end - _LAST_BYTES)
    if end <= begin:
        return ""
    log = Log(log_path)
    try:
        return reason_in([clean(one.text, colour=False) for one in lines(log, begin, end)])
    except OSError:
        return ""
    finally:
        log.index.close()
