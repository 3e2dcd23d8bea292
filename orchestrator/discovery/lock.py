"""The lock of a file that is replaced: beside it, because the file itself becomes another one."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.001


class Busy(Exception):
    """Others had the file for all of the time that we wait for it; trying again later may help."""


@contextmanager
def locked(target: Path, wait_s: float) -> Iterator[None]:
    """Hold `.<name>.lock` in the folder of ``target``; the lock file stays, for the next one.

    For a worker thread: it blocks, ``wait_s`` seconds at most.

    Raises:
        Busy: Somebody holds it for longer.
        OSError: The lock file can't be made or opened.

    Source: flock(2); cooperating tools take the same lock.
    """
    path = target.with_name(f".{target.name}.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _take(fd, path, time.monotonic() + wait_s)
        yield
    finally:
        os.close(fd)


def _take(fd: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(f"another process holds {path}") from None
        else:
            return
        # flock takes no deadline.
        time.sleep(_LOOK_S)  # noqa: TID251  a worker thread's
