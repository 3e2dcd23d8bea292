"""The environment of this command, read in one place."""

import os
from collections.abc import Mapping
from pathlib import Path


def environment() -> Mapping[str, str]:
    """Return the environment as this program was given it.

    Python adds LC_CTYPE to its own under LANG=C; services must not inherit that, so the kernel's
    copy is read where there is one.
    """
    own = dict(os.environ)  # noqa: TID251  the one line
    try:
        given = Path("/proc/self/environ").read_bytes()
    except OSError:
        return own
    names = {os.fsdecode(one).partition("=")[0] for one in given.split(b"\0") if one}
    return {name: value for name, value in own.items() if name in names or name != "LC_CTYPE"}
