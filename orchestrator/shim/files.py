"""Files and folders by plain system calls.

Python's own file objects cost every shim a fifth of a megabyte: what a forked process touches
becomes its own copy.
"""

from __future__ import annotations

import os

READ_BYTES = 1 << 16


def parent(path: str) -> str:
    """Return the folder of an absolute path."""
    return path.rpartition("/")[0] or "/"


def make(folder: str) -> None:
    """Make a folder and those above it, 0700 each, where they are missing. Raises OSError."""
    try:
        os.mkdir(folder, 0o700)
    except FileNotFoundError:
        make(parent(folder))
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return


def read(path: str, *, folder: int | None = None) -> bytes:
    """Return what stands in a file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def read_all(fd: int) -> bytes:
    """Return what comes from a descriptor until its end. Raises OSError."""
    found = b""
    while piece := os.read(fd, READ_BYTES):
        found += piece
    return found


def write(path: str, data: bytes) -> None:
    """Write into a file that is there, one of the kernel's say. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def open_in(path: str, flags: int) -> int:
    """Open a file, new ones 0600, and make its folder if that is missing. Raises OSError."""
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make(parent(path))
        return os.open(path, flags, 0o600)
