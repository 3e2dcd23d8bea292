"""System calls of Linux that Python does not offer."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

from orchestrator.shim import files

PR_SET_CHILD_SUBREAPER = 36
# os.SPLICE_F_* came later than os.splice
SPLICE_F_MOVE = 1
SPLICE_F_NONBLOCK = 2
FIONREAD = 0x541B
F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032
# ioctl _IOWR(0xFF, 11, struct pidfd_info); size of its first published layout: 64 bytes
PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
PIDFD_INFO_BYTES = 64
PIDFD_EXIT_CODE_AT = 60

libc = ctypes.CDLL(None, use_errno=True)
HAS_TEE = hasattr(libc, "tee")
if HAS_TEE:
    libc.tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
    libc.tee.restype = ctypes.c_ssize_t


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    return result


def become_subreaper() -> None:
    """Make every orphan below this process its child. Source: prctl(2). Raises OSError."""
    _checked(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def tee(source: int, target: int, count: int) -> int:
    """Copy up to ``count`` bytes between two pipes without taking them; 0 is end of file.

    Raises BlockingIOError when there is nothing to copy or no room. Source: tee(2).
    """
    return _checked(libc.tee(source, target, count, SPLICE_F_NONBLOCK), "tee")


def bytes_waiting(pipe: int) -> int:
    """Return how many bytes stand in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, FIONREAD, b"\0\0\0\0"))[0])


def pipe_size(pipe: int) -> int:
    """Return a pipe's capacity in bytes; 65536, Linux's default, where it can't be asked."""
    try:
        return fcntl.fcntl(pipe, F_GETPIPE_SZ)
    except OSError:
        return 65536


def enlarge_pipe(pipe: int, sizes: tuple[int, ...]) -> int:
    """Give a pipe the first of ``sizes`` that is granted; return the size it has then.

    A user has a quota of pipe pages; beyond it F_SETPIPE_SZ is EPERM. Source: pipe(7).
    """
    for size in sizes:
        if pipe_size(pipe) >= size:
            break
        try:
            fcntl.fcntl(pipe, F_SETPIPE_SZ, size)
        except OSError:
            continue
        break
    return pipe_size(pipe)


def exit_status(pidfd: int) -> int | None:
    """Return the wait status of a process that somebody else reaped; None if not known.

    Answered since Linux 6.15, and only for a pidfd opened before the reaping.
    Source: linux/pidfd.h.
    """
    asked = bytearray(PIDFD_INFO_BYTES)
    struct.pack_into("<Q", asked, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, asked)
    except OSError:
        return None
    (mask,) = struct.unpack_from("<Q", asked, 0)
    if not mask & PIDFD_INFO_EXIT:
        return None
    return int(struct.unpack_from("<i", asked, PIDFD_EXIT_CODE_AT)[0])


def name_process(comm: str, title: str) -> None:
    """Show as ``comm`` (15 bytes) in top and as ``title`` in ps; silently not where forbidden.

    The title overwrites the argv area that the kernel gave at exec, whose length is the limit.
    Source: proc(5), arg_start and arg_end in /proc/PID/stat.
    """
    try:
        files.write("/proc/self/comm", comm.encode("utf-8", "surrogateescape")[:15])
        start, end = _argument_area()
        words = title.encode("utf-8", "surrogateescape")[: end - start - 1]
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        os.pwrite(memory, words.ljust(end - start, b"\0"), start)
        os.close(memory)
    except (OSError, IndexError, ValueError):
        return


def _argument_area() -> tuple[int, int]:
    """Return where argv stands in memory; fields 48 and 49."""
    fields = files.read("/proc/self/stat").rpartition(b") ")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if not 0 < start < end:
        raise ValueError("no argument area")
    return start, end
