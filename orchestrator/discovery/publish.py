"""The entries of ready MCP servers into config.json, so carefully that nothing else in it moves."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.discovery.exposure import exposures
from orchestrator.discovery.json_merge import Entry, by_hand, merged
from orchestrator.discovery.json_scan import Unmergeable
from orchestrator.discovery.lock import Busy, locked
from orchestrator.discovery.replace import replace, tidy
from orchestrator.discovery.snapshot import Signature, Untouchable, read, signature
from orchestrator.discovery.watch import needs_republish, remember

__all__ = ["Entry", "Published", "needs_republish", "publish"]

_ROUNDS = 10
_SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it. ``changed`` is whether the file was written; warnings are for people.

    ``stands``: whether all entries stand in the file now.
    """

    changed: bool
    warnings: tuple[str, ...] = ()
    stands: bool = True


def publish(path: Path, entries: Sequence[Entry], wait_s: float = 5.0) -> Published:
    """Write the entries into mcp.mcp_servers of the file at ``path``, and make it if need be.

    For a worker thread: it blocks on the disk, and up to ``wait_s`` seconds on the lock. Nothing is
    written when all stands there already. A file that can't be read, edited or written is left byte
    for byte, and a warning names the reason and what to put there by hand; no fault of a file is
    raised. Credentials are in no warning.
    """
    if not entries:
        return Published(changed=False)
    before = signature(path)
    target = Path(os.path.realpath(path))
    try:
        outcome = _write(target, entries, wait_s)
    except Busy as error:
        return _left_alone(entries, f"cannot write {path}: {error}")
    except (Unmergeable, Untouchable, OSError) as error:
        remember(path, entries, before)
        return _left_alone(entries, _problem(path, target, error))
    remember(path, entries, outcome.signature)
    secret = outcome.changed and any(entry.api_key is not None for entry in entries)
    return Published(outcome.changed, tuple(exposures(path, target)) if secret else ())


def _left_alone(entries: Sequence[Entry], problem: str) -> Published:
    help_text = f"it is left as it is; mend that, or put this into it by hand: {by_hand(entries)}"
    return Published(changed=False, warnings=(f"{problem}; {help_text}",), stands=False)


def _problem(path: Path, target: Path, error: Exception) -> str:
    if isinstance(error, Unmergeable):
        return f"{path}:{error.line}:{error.column}: {error.reason}"
    if isinstance(error, OSError):
        where = "" if error.filename in (None, str(target)) else f" ({error.filename})"
        return f"cannot write {path}: {error.strerror}{where}"
    return f"cannot write {path}: {error}"


@dataclass(frozen=True, slots=True)
class _Outcome:
    changed: bool
    signature: Signature | None


def _write(target: Path, entries: Sequence[Entry], wait_s: float) -> _Outcome:
    try:
        _make_folder(target.parent)
        with locked(target, wait_s):
            tidy(target)
            return _merge_and_replace(target, entries)
    except (OSError, Busy):
        # No fault as long as there is nothing to write: a finished file in a read-only folder.
        snapshot = read(target)
        if snapshot is None or merged(snapshot.data, entries) != snapshot.data:
            raise
        return _Outcome(changed=False, signature=snapshot.signature)


def _merge_and_replace(target: Path, entries: Sequence[Entry]) -> _Outcome:
    """Merge into what stands there, again and again while others write; under the lock."""
    for _ in range(_ROUNDS):
        snapshot = read(target)
        old = None if snapshot is None else snapshot.data
        try:
            new = merged(old, entries)
        except Unmergeable:
            if snapshot is not None and _settles(target, snapshot.signature):
                raise
            continue
        if snapshot is not None and new == old:
            return _Outcome(changed=False, signature=snapshot.signature)
        written = replace(target, snapshot, new)
        if written is not None:
            return _Outcome(changed=True, signature=written)
    raise Busy(f"other programs write it all the time ({_ROUNDS} tries)")


def _settles(target: Path, seen: Signature) -> bool:
    """Tell whether a broken file stays as it is, or was only caught while somebody wrote it."""
    time.sleep(_SETTLE_S)  # noqa: TID251  a worker thread's
    return signature(target) == seen


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o755)
