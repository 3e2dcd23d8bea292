"""A file replaced whole: a reader sees the old or the new one, and nobody's edit is lost."""

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.discovery.snapshot import (
    Signature,
    Snapshot,
    read,
    signature,
    signature_of,
    xattrs,
)
from orchestrator.discovery.swap import How, rename

_NEW = ".new"
_OLD = ".old"


class _Unkeepable(Exception):
    """Owner, mode or attributes can't be given to another file, so the file itself is written."""


def replace(target: Path, snapshot: Snapshot | None, data: bytes) -> Signature | None:
    """Put ``data`` in the place of what ``snapshot`` holds; return the new file's signature.

    None: somebody else wrote in the meantime, and what they wrote stands; look again. On return the
    file is on disk. Mode, owner, access list and extended attributes are kept. A file with several
    names, or one that is mounted by itself, is written in place: it is not atomic for readers then,
    but a death in the middle is mended by `tidy`. To be called under the lock.

    Raises:
        OSError: The file or its folder can't be written; the file is as it was.
    """
    with _temporary(target, data) as (path, fd):
        if snapshot is None:
            return _create(target, path, fd)
        try:
            _keep_metadata(fd, snapshot)
            if snapshot.stat.st_nlink == 1:
                return _exchange(target, path, snapshot)
        except _Unkeepable:
            pass
        except OSError as error:
            # A file that is mounted by itself can't be renamed over.
            if error.errno != errno.EBUSY:
                raise
        return _overwrite(target, path, snapshot, data)


def tidy(target: Path) -> None:
    """Remove what a killed writer left beside ``target``, and mend what it left half written.

    Only under the lock: then nobody is using these files any more.
    """
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9]+\.[0-9a-f]{{16}}(\.new|\.old)")
    beside = [path for path in target.parent.iterdir() if ours.fullmatch(path.name)]
    left = [path for path in beside if stat.S_ISREG(path.lstat().st_mode)]
    for path in left:
        if path.suffix == _OLD and path.with_suffix(_NEW) in left:
            _mend(target, old=path.read_bytes(), new=path.with_suffix(_NEW).read_bytes())
    for path in left:
        path.unlink(missing_ok=True)


def _mend(target: Path, old: bytes, new: bytes) -> None:
    """Give the file its old bytes back if it begins with the new ones and ends with the old ones.

    Otherwise the write was done, or not begun, or somebody has mended it already.
    """
    snapshot = read(target)
    if snapshot is None or snapshot.data in (old, new):
        return
    now = snapshot.data
    shared = min(len(now), len(new))
    begun = next((at for at in range(shared) if now[at] != new[at]), shared)
    if now[begun:] == old[begun:]:
        fd = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _fill(fd, old)
        finally:
            os.close(fd)


@contextmanager
def _temporary(target: Path, data: bytes) -> Iterator[tuple[Path, int]]:
    """Yield a new file beside ``target`` that holds ``data`` and is on disk; it goes at the end."""
    name = f".{target.name}.{os.getpid()}.{secrets.token_hex(8)}{_NEW}"
    path = target.with_name(name)
    fd = _new_file(path)
    try:
        _fill(fd, data)
        yield path, fd
    finally:
        os.close(fd)
        with suppress(OSError):
            path.unlink()


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _fill(fd: int, data: bytes) -> None:
    """Make ``data`` all that the file holds, on disk."""
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], written)
    os.ftruncate(fd, len(data))
    os.fsync(fd)


def _keep_metadata(fd: int, snapshot: Snapshot) -> None:
    """Give the new file the old one's owner, mode, access list and attributes."""
    before = os.fstat(fd)
    wanted = snapshot.stat
    try:
        if (before.st_uid, before.st_gid) != (wanted.st_uid, wanted.st_gid):
            os.fchown(fd, wanted.st_uid, wanted.st_gid)
        _keep_xattrs(fd, snapshot, wanted.st_mode)
    except OSError as error:
        raise _Unkeepable from error


def _keep_xattrs(fd: int, snapshot: Snapshot, mode: int) -> None:
    if sys.platform != "linux":  # pragma: no cover
        os.fchmod(fd, stat.S_IMODE(mode))
        return
    # The folder may have given the new file an access list that the old one has not.
    for name in [name for name in set(xattrs(fd)) - set(snapshot.xattrs) if not _is_label(name)]:
        os.removexattr(fd, name)
    os.fchmod(fd, stat.S_IMODE(mode))
    for name, value in snapshot.xattrs.items():
        try:
            os.setxattr(fd, name, value)
        except OSError:
            # Labels are the system's: it has given the new file the ones that belong here.
            if not _is_label(name):
                raise


def _is_label(name: str) -> bool:
    return name.startswith("security.")


def _create(target: Path, path: Path, fd: int) -> Signature | None:
    try:
        if not rename(path, target, How.NOREPLACE):
            path.rename(target)
    except FileExistsError:
        return None
    _sync_dir(target.parent)
    return signature_of(os.fstat(fd))


def _exchange(target: Path, path: Path, snapshot: Snapshot) -> Signature | None:
    """Swap the two files, and look at what came out: it must be what we read."""
    ours = signature(path)
    if signature(target) != snapshot.signature:
        return None
    if not rename(path, target, How.EXCHANGE):
        path.replace(target)
    elif signature_of(path.lstat()) != snapshot.signature or path.read_bytes() != snapshot.data:
        _swap_back(target, path, ours)
        return None
    _sync_dir(target.parent)
    return ours


def _swap_back(target: Path, path: Path, ours: Signature | None) -> None:
    """Put back what somebody wrote between our look and our swap."""
    with suppress(FileNotFoundError):
        rename(path, target, How.EXCHANGE)
        if signature(path) != ours:
            # And once more in between: the last one who wrote is right.
            rename(path, target, How.EXCHANGE)


def _overwrite(target: Path, path: Path, snapshot: Snapshot, data: bytes) -> Signature | None:
    """Write into the file itself, with its old bytes on disk beside it until that is done."""
    fd = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    backup = path.with_suffix(_OLD)
    try:
        backup_fd = _new_file(backup)
        try:
            _fill(backup_fd, snapshot.data)
        finally:
            os.close(backup_fd)
        _sync_dir(target.parent)
        if signature_of(os.fstat(fd)) != snapshot.signature:
            return None
        _fill_or_restore(fd, data, snapshot.data)
        return signature_of(os.fstat(fd))
    finally:
        os.close(fd)
        with suppress(OSError):
            backup.unlink()


def _fill_or_restore(fd: int, data: bytes, old: bytes) -> None:
    try:
        _fill(fd, data)
    except OSError:
        _fill(fd, old)
        raise


def _sync_dir(folder: Path) -> None:
    """Bring the folder's names to disk, where its file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
