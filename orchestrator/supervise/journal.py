"""The statuses as they were, kept for the supervisor that comes after this one.

A line a change is appended, so keeping costs the same with five services and with five hundred,
and a crash can tear the last line only. The newest readable line of a service counts. A full disk
must not end supervision: what can't be written is only lost for the next supervisor, which then
asks the shims.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from orchestrator.core.status import Cause, CauseKind, Health, State, Status

logger = logging.getLogger(__name__)

VERSION = 1
_COMPACT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one service."""

    status: Status
    port: int | None = None
    ignores_dependencies: bool = False
    boot_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """Appends to and reads one journal file. Losing it costs counters, never a process."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._fd = -1
        self._size = 0
        self._is_torn = False

    def read(self) -> dict[str, Kept]:
        """Return what is kept of each service, of this boot; unreadable lines are left out."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return {}
        kept: dict[str, Kept] = {}
        for line in lines:
            read = _parse(line)
            if read is not None and read[1].boot_id == self._boot_id:
                kept[read[0]] = read[1]
        return kept

    def rewrite(self, kept: Mapping[str, Kept]) -> None:
        """Replace the file by one line a service; where that fails, the old one goes on."""
        content = b"".join(self._line(name, one) for name, one in kept.items())
        temp = self._path.with_name(self._path.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND
        with contextlib.ExitStack() as undo:
            try:
                temp.unlink(missing_ok=True)
                fd = os.open(temp, flags | os.O_EXCL, 0o600)
                undo.callback(temp.unlink, missing_ok=True)
                undo.callback(os.close, fd)
                _write_whole(fd, content)
                temp.rename(self._path)
            except OSError as error:
                logger.warning("cannot write %s: %s", self._path, error.strerror)
                self._size = 0  # not tried again with every line
                if self._fd < 0:
                    with contextlib.suppress(OSError):
                        self._fd = os.open(self._path, flags, 0o600)
                    self._is_torn = True  # who knows how it ends
                return
            undo.pop_all()
        self.close()
        self._fd, self._size, self._is_torn = fd, len(content), False

    def append(self, name: str, kept: Kept) -> bool:
        """Add one line; true if the file has grown so much that it wants a rewrite."""
        line = b"\n" * self._is_torn + self._line(name, kept)
        try:
            _write_whole(self._fd, line)
        except OSError:
            self._is_torn = True
            return False
        self._is_torn = False
        self._size += len(line)
        return self._size > _COMPACT_BYTES

    def close(self) -> None:
        """Close the file; calling twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _line(self, name: str, kept: Kept) -> bytes:
        value = {
            "version": VERSION,
            "boot_id": self._boot_id,
            "service": name,
            "port": kept.port,
            "ignores_dependencies": kept.ignores_dependencies,
            "extra": dict(kept.extra),
            "status": asdict(kept.status),
        }
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _write_whole(fd: int, content: bytes) -> None:
    """Write all of it. Raises OSError, perhaps after a part: a disk can be nearly full."""
    while content:
        content = content[os.write(fd, content) :]


def _parse(line: bytes) -> tuple[str, Kept] | None:
    try:
        value = json.loads(line)
        if value["version"] != VERSION:
            return None
        return str(value["service"]), Kept(
            status=_status(value["status"]),
            port=value["port"],
            ignores_dependencies=bool(value["ignores_dependencies"]),
            boot_id=str(value["boot_id"]),
            extra=dict(value["extra"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _status(value: dict[str, Any]) -> Status:
    known = {one.name for one in fields(Status)}
    values = {key: one for key, one in value.items() if key in known}
    return Status(
        **values
        | {
            "state": State(value["state"]),
            "health": Health(value["health"]),
            "failures": tuple(float(at) for at in value["failures"]),
            "ending": _cause(value["ending"]),
            "cause": _cause(value["cause"]),
        }
    )


def _cause(value: dict[str, Any] | None) -> Cause | None:
    if value is None:
        return None
    return Cause(CauseKind(value["kind"]), str(value["text"]), int(value["run"]))
