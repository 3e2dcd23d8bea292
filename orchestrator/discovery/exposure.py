"""Who else sees the credentials in a file that we wrote: its group, the world, its repository."""

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path


def exposures(shown: Path, target: Path, timeout_s: float = 2.0) -> Iterator[str]:
    """Yield a warning for each way in which others can read ``target``; ``shown`` is its name.

    Nothing is yielded for what can't be found out; git is asked for ``timeout_s`` seconds at most.
    """
    mode = stat.S_IMODE(target.stat().st_mode)
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        who = "every user of this machine" if mode & stat.S_IROTH else "its group"
        yield (
            f"{shown} now holds credentials, and {who} can read it (mode {mode:04o}); "
            f"to keep them to yourself: chmod 600 {shown}"
        )
    if _is_tracked(target, timeout_s):
        yield (
            f"{shown} now holds credentials, and git tracks it: a commit would publish them; "
            f"to stop that: git rm --cached {shown}, and add it to .gitignore"
        )


def _is_tracked(target: Path, timeout_s: float) -> bool:
    """Ask git, where there is a repository around the file at all."""
    if not any((folder / ".git").exists() for folder in target.parents):
        return False
    # No fsmonitor: its hook is a program that the repository names.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(target.parent)]
    command += ["--literal-pathspecs", "ls-files", "--error-unmatch", "--", target.name]
    try:
        done = subprocess.run(  # noqa: S603  the words are ours, and no shell reads them
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    # What it printed, and not the exit code: that one can be lost to another reaper.
    return bool(done.stdout)
