"""Two names of a folder change places in one step, or a name is taken only while it is free."""

import ctypes
import errno
import os
from enum import IntEnum
from pathlib import Path

_AT_FDCWD = -100
# The kernel, the C library or the file system has no such thing.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class How(IntEnum):
    """The flags of renameat2."""

    NOREPLACE = 1
    EXCHANGE = 2


def rename(source: Path, target: Path, how: How) -> bool:
    """Rename as ``how`` says. False where this system can't, and then nothing has happened.

    Raises:
        OSError: As rename does; FileExistsError for a name that is taken (NOREPLACE).

    Source: renameat2(2), Linux 3.15, glibc 2.28.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    arguments = (_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target))
    if renameat2(*arguments, int(how)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))
