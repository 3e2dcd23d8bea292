"""A service's place on the disk: its lock, its runtime folder, the FIFO and the records in it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat as modes
import time
from _socket import AF_UNIX, SOCK_STREAM, socket

from orchestrator.shim import files, identity, sys_linux, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOCK_TRIES_S = 1.0
# 1 MiB for the first sixteen services of a user, then what the kernel's quota leaves.
PIPE_SIZES = (1 << 20, 1 << 18, 1 << 16)
SOCKET_NAME, FIFO_NAME = "shim.sock", "out"
RUN_RECORD, EXIT_RECORD = "service.json", "exit.json"


class Locked(Exception):
    """Another shim of this service lives; ``holder`` says who, as far as it told."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class Lock:
    """The lock of one service: an flock, so that the kernel frees it with its holder.

    What stands in the file is information only, but for one thing: how the leader ended, noted
    before it is reaped, so that a death of the shim in between loses no exit code.
    """

    def __init__(self, path: str) -> None:
        """Take the lock, trying for a second. Raises Locked or OSError."""
        self._path = path
        files.make(files.parent(path))
        deadline = time.monotonic() + LOCK_TRIES_S
        while not self._take():
            if time.monotonic() > deadline:
                raise Locked(self._holder())
            time.sleep(0.01)
        self.note = self._read_note()

    def _take(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.fd = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours, there = os.fstat(self.fd), os.stat(self._path)
            if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(self.fd)
        return False

    def _holder(self) -> str:
        try:
            return str(wire.decoded_object(files.read(self._path))["holder"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"

    def _read_note(self) -> dict[str, Any]:
        try:
            found = wire.decoded_object(os.pread(self.fd, 4096, 0))
            return dict(found.get("ended") or {})
        except (ValueError, TypeError):
            return {}

    def write(self, ended: dict[str, Any] | None) -> None:
        """Say who holds the lock and how the last leader ended. A full disk stops nothing."""
        text = wire.encoded({"holder": f"pid {os.getpid()}", "ended": ended})
        try:
            os.pwrite(self.fd, text, 0)
            os.ftruncate(self.fd, len(text))
        except OSError:
            return

    def release(self) -> None:
        """Let go of the lock. The file stays: to remove it would be a race."""
        os.close(self.fd)


class Home:
    """The runtime folder of one service, and what is in it."""

    def __init__(self, folder: str, *, by_procfd: bool) -> None:
        """Open or make the folder and the FIFO. Raises OSError."""
        self._folder = folder
        self._by_procfd = by_procfd
        self._dir = self._open_folder()
        self.fifo = self._open_fifo()
        sys_linux.enlarge_pipe(self.fifo, PIPE_SIZES)
        self._socket_inode: int | None = None

    @property
    def fifo_inode(self) -> tuple[int, int]:
        """Device and inode of the FIFO."""
        stat = os.fstat(self.fifo)
        return stat.st_dev, stat.st_ino

    @property
    def output_path(self) -> str:
        """A path at which the service opens its output.

        Through our own descriptor: the folder may have been swept since.
        """
        if self._by_procfd:
            return f"/proc/self/fd/{self.fifo}"
        return f"{self._folder}/{FIFO_NAME}"

    def _open_folder(self) -> int:
        files.make(self._folder)
        return os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _open_fifo(self) -> int:
        if not self._has(FIFO_NAME):
            os.mkfifo(FIFO_NAME, 0o600, dir_fd=self._dir)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(FIFO_NAME, flags, dir_fd=self._dir)
        if not modes.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a FIFO", f"{self._folder}/{FIFO_NAME}")
        # Others may write, so that a service that gave up its user can reopen /dev/stdout, but
        # not read: the output could be stolen.
        os.fchmod(fd, 0o622)
        return fd

    def _has(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._dir, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def listen(self) -> socket:
        """Bind the socket over a stale one, which only the lock's holder may do."""
        listener = socket(AF_UNIX, SOCK_STREAM)
        listener.settimeout(0)
        self.remove(SOCKET_NAME)
        old_umask = os.umask(0o177)
        try:
            self._bind(listener)
        finally:
            os.umask(old_umask)
        listener.listen(16)
        self._socket_inode = os.stat(SOCKET_NAME, dir_fd=self._dir).st_ino
        return listener

    def _bind(self, listener: socket) -> None:
        """Bind without the limit of 107 bytes to a socket's path."""
        if self._by_procfd:
            listener.bind(f"/proc/self/fd/{self._dir}/{SOCKET_NAME}")
            return
        os.fchdir(self._dir)
        try:
            listener.bind(SOCKET_NAME)
        finally:
            os.chdir("/")

    def was_swept(self) -> bool:
        """Tell whether somebody removed the folder or the socket under us."""
        try:
            return (
                os.fstat(self._dir).st_nlink == 0
                or os.stat(SOCKET_NAME, dir_fd=self._dir).st_ino != self._socket_inode
            )
        except OSError:
            return True

    def restore(self) -> None:
        """Make the folder again. Raises OSError.

        The FIFO in use has no name any more and none can be given to it: the service keeps it,
        and the record of a run says which it is.
        """
        if os.fstat(self._dir).st_nlink == 0:
            os.close(self._dir)
            self._dir = self._open_folder()

    def adopt_fifo(self, path: str) -> bool:
        """Read from the FIFO at ``path`` (a service's own descriptor) from now on."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        os.dup2(fd, self.fifo, inheritable=False)
        os.close(fd)
        return True

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a record, None when it is not there or no record."""
        try:
            return wire.decoded_object(files.read(name, folder=self._dir))
        except (OSError, ValueError):
            return None

    def write(self, name: str, record: dict[str, Any]) -> bool:
        """Replace a record whole; tell whether that could be done. Not fsynced."""
        temporary = f"{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            if os.fstat(self._dir).st_nlink == 0:
                self.restore()
            fd = os.open(temporary, flags, 0o600, dir_fd=self._dir)
            try:
                text = wire.encoded(record)
                is_whole = os.write(fd, text) == len(text)
            finally:
                os.close(fd)
            if not is_whole:
                return False
            os.rename(temporary, name, src_dir_fd=self._dir, dst_dir_fd=self._dir)
        except OSError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a record or the socket, if it is there."""
        try:
            os.unlink(name, dir_fd=self._dir)
        except OSError:
            return


def fresh(record: dict[str, Any] | None) -> bool:
    """Tell whether a record is of this boot and pid namespace: only then do its pids mean much."""
    return (
        record is not None
        and record.get("boot_id") == identity.boot_id()
        and record.get("pidns") == identity.pid_namespace()
    )
