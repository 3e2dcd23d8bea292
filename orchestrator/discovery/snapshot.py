"""A file as it was at one moment: its bytes, who may read it, and how to see that it changed."""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 5 * 1024 * 1024

# Inode, time of change in ns, size: different as soon as anybody wrote the file.
Signature = tuple[int, int, int]


class Untouchable(Exception):
    """A file that we leave alone, whatever is in it; the text says why."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file held. ``xattrs`` has its extended attributes; the access list is one of them."""

    data: bytes
    stat: os.stat_result
    xattrs: dict[str, bytes]

    @property
    def signature(self) -> Signature:
        """Its signature when it was read."""
        return signature_of(self.stat)


def signature_of(status: os.stat_result) -> Signature:
    """Return the signature of a file whose status is known."""
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def signature(path: Path) -> Signature | None:
    """Return the signature of the file that ``path`` leads to; None if there is none to see."""
    try:
        return signature_of(path.stat())
    except OSError:
        return None


def read(target: Path) -> Snapshot | None:
    """Return the file as it is now; None if there is none.

    Raises:
        Untouchable: It is no regular file, another user's, over 5 MB, or marked read-only.
        OSError: It can't be opened or read.
    """
    try:
        # Not blocking: opening a FIFO would wait for a writer.
        fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        _refuse(status)
        with open(fd, "rb", closefd=False) as file:
            return Snapshot(file.read(MAX_BYTES + 1), status, xattrs(fd))
    finally:
        os.close(fd)


def xattrs(fd: int) -> dict[str, bytes]:
    """Return the extended attributes of an open file; none where the system has no such thing."""
    if sys.platform != "linux":  # pragma: no cover
        return {}
    try:
        names = os.listxattr(fd)
    except OSError:
        return {}
    return {name: os.getxattr(fd, name) for name in names}


def _refuse(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise Untouchable(f"it is {kind}")
    # Root may write everybody's file, and gives it back to its owner: containers live like that.
    if os.geteuid() not in (0, status.st_uid):
        raise Untouchable(f"it belongs to another user (uid {status.st_uid})")
    if status.st_size > MAX_BYTES:
        raise Untouchable(f"it has {status.st_size} bytes, more than {MAX_BYTES}")
    # Also for root, and although the folder would let us replace it: somebody meant it.
    if not status.st_mode & stat.S_IWUSR:
        mode = stat.S_IMODE(status.st_mode)
        raise Untouchable(f"it is marked read-only (mode {mode:04o}; chmod u+w lets us write)")
