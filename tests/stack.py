"""A stack for end-to-end tests: the installed program, a project of its own, nothing left behind."""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

EVIL = Path(__file__).parent / "evil.py"
STEP_S = 0.01
T = TypeVar("T")


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str


def evil(*words: object) -> list[str]:
    """Return the command of the scripted misbehaving service."""
    return [sys.executable, "-S", str(EVIL), *(str(word) for word in words)]


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


class Stack:
    """One services.yaml in a folder of its own, with its own state and runtime folders."""

    def __init__(self, folder: Path, services: Mapping[str, Any], **keys: Any) -> None:
        self.folder = folder
        self.file = folder / "services.yaml"
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("ORCH_")
        } | {
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PYTHONWARNINGS": "default",
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        self.write(services, **keys)

    def write(self, services: Mapping[str, Any], **keys: Any) -> None:
        """Write services.yaml anew."""
        content = {"name": "tested", **keys, "services": dict(services)}
        self.file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    # Folders.

    @property
    def id(self) -> str:
        return hashlib.sha256(os.fsencode(os.path.realpath(self.file))).hexdigest()[:12]

    @property
    def state_dir(self) -> Path:
        return self.folder / "state" / "orchestrator" / self.id

    @property
    def runtime_dir(self) -> Path:
        return self.folder / "run" / "orchestrator" / self.id

    def log(self, name: str) -> bytes:
        """Return what the service wrote, over all segments."""
        folder = self.folder / "logs"
        rotated = sorted(
            folder.glob(f"{name}.[0-9]*.log"), key=lambda path: int(path.name.split(".")[-2])
        )
        current = folder / f"{name}.log"
        parts = [*rotated, *([current] if current.exists() else [])]
        return b"".join(path.read_bytes() for path in parts)

    # The program.

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "orchestrator.cli.main", *(str(word) for word in words)]

    def run(self, *words: object, within_s: float = 30.0, **environ: str) -> Ran:
        """Run a command of the program in the project's folder."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
        return Ran(
            done.returncode,
            done.stdout.decode(errors="surrogateescape"),
            done.stderr.decode(errors="surrogateescape"),
        )

    def start(self, *words: object, **keys: Any) -> "subprocess.Popen[bytes]":
        """Start a command of the program and return it running; ended with the test."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environ,
            **({"stdin": subprocess.DEVNULL} | keys),
        )

    def up(self, *words: object, code: int = 0, **environ: str) -> Ran:
        """`up -d`, which must end with ``code``."""
        ran = self.run("up", "-d", *words, **environ)
        assert ran.code == code, ran
        return ran

    def down(self, *words: object) -> Ran:
        """`down`, which must succeed."""
        ran = self.run("down", *words)
        assert ran.code == 0, ran
        return ran

    # What is seen.

    def snapshot(self) -> dict[str, Any]:
        """Return the answer of the control API; raises OSError when nobody answers."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        folder = os.open(self.runtime_dir, os.O_RDONLY)
        try:
            connection.sock.connect(f"/proc/self/fd/{folder}/control.sock")
            connection.request("GET", "/v1/stack")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            os.close(folder)
            connection.close()
        return answer

    def service(self, name: str) -> dict[str, Any]:
        """Return one service as it is now."""
        return next(one for one in self.snapshot()["services"] if one["name"] == name)

    def wait_for(
        self, name: str, reached: Callable[[dict[str, Any]], Any], within_s: float = 5.0
    ) -> dict[str, Any]:
        """Return the service once ``reached`` is true of it."""
        seen: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            seen.update(self.service(name))
            return seen if reached(seen) else None

        try:
            wait_until(look, within_s)
        except AssertionError:
            raise AssertionError(f"{name} did not get there within {within_s} s: {seen}") from None
        return seen

    def wait_for_state(self, name: str, state: str, within_s: float = 5.0) -> dict[str, Any]:
        """Return the service once it is in the state."""
        return self.wait_for(name, lambda one: one["state"] == state, within_s)

    def wait_for_log(self, name: str, text: bytes, within_s: float = 5.0) -> None:
        """Return once the service has written ``text``."""
        wait_until(lambda: text in self.log(name), within_s, f"{text!r} in the log of {name}")

    @property
    def supervisor_pid(self) -> int:
        return int(self.snapshot()["pid"])

    def kill_supervisor(self) -> None:
        """KILL the supervisor, and see it dead."""
        pid = self.supervisor_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), what="the supervisor's end")

    def shim_pids(self) -> dict[int, str]:
        """Return the pids of this stack's shims, with their services."""
        found = {}
        for folder in _folders(self.state_dir / "locks"):
            for pid in _lock_holders(folder):
                found[pid] = folder.stem
        return found

    def cookie_pids(self) -> dict[int, str]:
        """Return every process that carries a cookie of this stack, with the cookie."""
        wanted, found = f"ORCH_COOKIE={self.id}/".encode(), {}
        for pid in _all_pids():
            with contextlib.suppress(OSError):
                environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                for word in environ:
                    if word.startswith(wanted):
                        found[pid] = word.decode().partition("=")[2]
        return found

    def fifo_pids(self) -> set[int]:
        """Return every process that holds an output pipe of this stack."""
        inodes = set()
        for path in _folders(self.runtime_dir):
            with contextlib.suppress(OSError):
                found = (path / "out").stat()
                inodes.add((found.st_dev, found.st_ino))
        return {pid for pid in _all_pids() if _holds(pid, inodes)} if inodes else set()

    # The end.

    def destroy(self) -> None:
        """End whatever lives of this stack, by pid, however broken it is."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("down", "-t", "0", within_s=15)
        for _ in range(50):
            left = self.survivors()
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(STEP_S)

    def survivors(self) -> set[int]:
        """Return the pids of all that lives of this stack: services, shims, supervisor."""
        pids = {*self.shim_pids(), *self.cookie_pids(), *self.fifo_pids()}
        pids |= self._supervisors()
        return {pid for pid in pids if is_alive(pid) and pid != os.getpid()}


    def _supervisors(self) -> set[int]:
        """Return the supervisor's pid as its lock tells, if it is one."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = int(json.loads((self.state_dir / "stack.lock").read_text())["pid"])
            if b"orchestrator" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return {pid}
        return set()


@contextlib.contextmanager
def stack(folder: Path, services: Mapping[str, Any], **keys: Any) -> Iterator[Stack]:
    """Make a stack for the block; nothing of it lives afterwards."""
    made = Stack(folder, services, **keys)
    try:
        yield made
    finally:
        made.destroy()


def _folders(path: Path) -> Sequence[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return ()


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _lock_holders(path: Path) -> list[int]:
    """Return who holds a flock on the file; /proc/locks tells, taking it would disturb."""
    try:
        inode = path.stat().st_ino
    except OSError:
        return []
    holders = []
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "FLOCK" in words and words[-3].endswith(f":{inode}"):
            holders.append(int(words[-4]))
    return holders


def _holds(pid: int, inodes: set[tuple[int, int]]) -> bool:
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{fd}")
                if (found.st_dev, found.st_ino) in inodes:
                    return True
    return False
