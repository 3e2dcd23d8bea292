"""Whether what we published still stands: another tool may have written an old copy over it."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.discovery.json_merge import Entry, merged
from orchestrator.discovery.json_scan import Unmergeable
from orchestrator.discovery.snapshot import Signature, Untouchable, read, signature

# How each file was when it was last found good, or left alone; None where there was none.
_seen: dict[tuple[Path, tuple[Entry, ...]], Signature | None] = {}


def remember(path: Path, entries: Sequence[Entry], seen: Signature | None) -> None:
    """Take the file with this signature as looked at: it needs nothing, or nothing can be done."""
    for other in [key for key in list(_seen) if key[0] == path]:
        _seen.pop(other, None)
    _seen[path, tuple(entries)] = seen


def needs_republish(path: Path, entries: Sequence[Entry]) -> bool:
    """Tell whether the file has changed since the last look or publish, and lacks an entry.

    One stat while the file is as it was. False for a file that nothing can be done about: one that
    is broken, or could not be written, is looked at again when it has changed.
    """
    now = signature(path)
    key = (path, tuple(entries))
    if key in _seen and _seen[key] == now:
        return False
    if _lacks(path, entries):
        return True
    remember(path, entries, now)
    return False


def _lacks(path: Path, entries: Sequence[Entry]) -> bool:
    try:
        snapshot = read(path.resolve())
        return snapshot is None or merged(snapshot.data, entries) != snapshot.data
    except (Unmergeable, Untouchable, OSError, RuntimeError):
        return False
