"""What this machine offers, by really trying it: the fast paths, and the file systems."""

import contextlib
import fcntl
import os
import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.shim import tiers
from orchestrator.system.sock_diag import dump

_FALLBACKS = {
    "pidfd": "SIGCHLD and waitpid",
    "splice": "read and write; a killed shim can lose what it holds at that moment",
    "tee": "read and write when a log is rotated",
    "subreaper": "processes are found by session, output and cookie",
    "posix_spawn": "fork and exec",
    "procfd": "sockets by path: at most 107 bytes",
    "sock_diag": "/proc/net/tcp, at most twice a second",
}


@dataclass(frozen=True, slots=True)
class Tier:
    """A mechanism: whether its fast path is used, and what is used instead."""

    name: str
    fast: bool
    instead: str


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that a folder must be able to do; ``problem`` is None where it can."""

    what: str
    problem: str | None


def active_tiers(wanted: Mapping[str, bool]) -> list[Tier]:
    """Return every mechanism as it would be used now; false in ``wanted`` switches one off."""
    found = tiers.chosen(dict(wanted))
    found["sock_diag"] = wanted.get("sock_diag", True) and _has_sock_diag()
    return [Tier(name, fast, _FALLBACKS.get(name, "")) for name, fast in found.items()]


def try_runtime_folder(folder: Path) -> list[Trial]:
    """Try in the folder what the runtime folder must do; nothing of it is left there."""
    return [
        _tried("flock", lambda: _flock(folder)),
        _tried("FIFO", lambda: _fifo(folder)),
        _tried("unix socket", lambda: _unix_socket(folder)),
    ]


def try_log_folder(folder: Path) -> list[Trial]:
    """Try in the folder what a folder of logs must do; nothing of it is left there."""
    return [_tried("splice into a file", lambda: _splice(folder))]


def _tried(what: str, trial: Callable[[], None]) -> Trial:
    try:
        trial()
    except OSError as error:
        return Trial(what, (error.strerror or str(error)).lower())
    return Trial(what, None)


def _name(folder: Path) -> Path:
    return folder / f".doctor-{os.getpid()}-{secrets.token_hex(4)}"


def _flock(folder: Path) -> None:
    path = _name(folder)
    try:
        first = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raise OSError("locks do not exclude each other here")
        finally:
            os.close(first)
            os.close(second)
    finally:
        path.unlink(missing_ok=True)


def _fifo(folder: Path) -> None:
    path = _name(folder)
    try:
        os.mkfifo(path, 0o600)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        os.close(reader)
    finally:
        path.unlink(missing_ok=True)


def _unix_socket(folder: Path) -> None:
    path = _name(folder)
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            by_descriptor = Path(f"/proc/self/fd/{folder_fd}")
            server.bind(str((by_descriptor if by_descriptor.exists() else folder) / path.name))
    finally:
        os.close(folder_fd)
        path.unlink(missing_ok=True)


def _splice(folder: Path) -> None:
    path = _name(folder)
    reader, writer = os.pipe()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(writer, b"x")
            if os.splice(reader, fd, 1) != 1:
                raise OSError("splice moved nothing")
        finally:
            os.close(fd)
    finally:
        os.close(reader)
        os.close(writer)
        path.unlink(missing_ok=True)


def _has_sock_diag() -> bool:
    try:
        dump(socket.AF_INET)
    except (OSError, struct.error):
        return False
    return True
