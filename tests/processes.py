"""What /proc tells about processes, for tests that must know who lives and who holds what."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

STEP_S = 0.01
T = TypeVar("T")
Inode = tuple[int, int]


def wait_until(look: Callable[[], T], within_s: float = 5.0, what: str = "") -> T:
    """Return the first true answer of ``look``; fail when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or look}")
        time.sleep(STEP_S)


@dataclass(frozen=True)
class Stat:
    """The identity of a process within this boot, its state letter and its parent."""

    pid: int
    starttime: int
    state: str
    parent: int
    comm: str

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.starttime


def stat_of(pid: int) -> Stat | None:
    """Return what /proc says of a process; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    # The name may hold blanks and brackets: what follows the last bracket is countable.
    head, _, tail = text.rpartition(")")
    words = tail.split()
    return Stat(pid, int(words[19]), words[0], int(words[1]), head.partition("(")[2])


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    found = stat_of(pid)
    return found is not None and found.state not in {"Z", "X"}


def all_pids() -> list[int]:
    """Return the pids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def all_stats() -> list[Stat]:
    """Return all processes."""
    return [found for pid in all_pids() if (found := stat_of(pid)) is not None]


def children_of(parents: Iterable[int]) -> list[Stat]:
    """Return the direct children, zombies as well."""
    wanted = set(parents)
    return [found for found in all_stats() if found.parent in wanted]


def zombies_of(parents: Iterable[int]) -> list[Stat]:
    """Return the ended children that nobody waited for yet."""
    return [child for child in children_of(parents) if child.state == "Z"]


def ancestors(pid: int) -> set[int]:
    """Return a process and all above it."""
    line: set[int] = set()
    while pid > 0 and pid not in line:
        line.add(pid)
        found = stat_of(pid)
        pid = found.parent if found else 0
    return line


def environ_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; empty when it can't be read."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        pairs = (os.fsdecode(word).partition("=") for word in words if b"=" in word)
        return {name: value for name, _, value in pairs}
    return {}


def cmdline_of(pid: int) -> bytes:
    """Return the command line, its words separated by zeros; empty when it can't be read."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def cwd_of(pid: int) -> str:
    """Return the working directory; empty when it can't be read."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return ""


def fds_of(pid: int) -> list[str]:
    """Return what each open descriptor leads to."""
    found = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def rss_bytes(pid: int) -> int:
    """Return the resident size; 0 when there is no such process."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def inodes(paths: Iterable[Path]) -> set[Inode]:
    """Return what the paths lead to, those that lead to something."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            seen = path.stat()
            found.add((seen.st_dev, seen.st_ino))
    return found


def holders(wanted: set[Inode]) -> set[int]:
    """Return the processes that have one of the files open."""
    return {pid for pid in all_pids() if _holds(pid, wanted)} if wanted else set()


def _holds(pid: int, wanted: set[Inode]) -> bool:
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{fd}")
                if (found.st_dev, found.st_ino) in wanted:
                    return True
    return False


def lock_owner(path: Path) -> int | None:
    """Return who took the flock on a file, as /proc/locks tells; taking it would disturb."""
    try:
        inode = path.stat().st_ino
    except OSError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "FLOCK" in words and words[-3].endswith(f":{inode}"):
            return int(words[-4])
    return None


def listening_ports() -> set[int]:
    """Return every TCP port that somebody listens on in this network namespace."""
    return {port for table in ("tcp", "tcp6") for port in _listening(Path("/proc/net") / table)}


def _listening(table: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                yield int(words[1].rpartition(":")[2], 16)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
