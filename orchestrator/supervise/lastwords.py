"""What a run that died wrote last, read for the reason."""

from pathlib import Path

from orchestrator.core.reasons import may_tell, reason_in
from orchestrator.logs.clean import clean
from orchestrator.logs.segments import Log, chunks

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
        written = b"".join(data for _, data in chunks(log, begin, end))
    except OSError:
        return ""
    finally:
        log.index.close()
    # Most say nothing, and a restart waits for this.
    if not may_tell(written):
        return ""
    return reason_in([clean(line, colour=False) for line in written.split(b"\n")])
