"""A stack for end-to-end tests: the real program, a project of its own, nothing left behind."""

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import oracle
from tests.processes import (
    STEP_S,
    all_pids,
    ancestors,
    children_of,
    cwd_of,
    environ_of,
    free_port,
    holders,
    inodes,
    is_alive,
    lock_owner,
    stat_of,
    wait_until,
)

__all__ = ["Ran", "Stack", "evil", "free_port", "is_alive", "stack", "wait_until"]

EVIL = Path(__file__).parent / "evil.py"


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str


def evil(*words: object) -> list[str]:
    """Return the command of the scripted misbehaving service."""
    return [sys.executable, "-S", str(EVIL), *(str(word) for word in words)]


class Stack:
    """One services.yaml in a folder of its own, with its own home, state and runtime folders."""

    def __init__(self, folder: Path, services: Mapping[str, Any], **keys: Any) -> None:
        self.folder = folder
        self.file = folder / "services.yaml"
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("ORCH_")
        } | {
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PYTHONWARNINGS": "default",
        }
        self._started: list[subprocess.Popen[bytes]] = []
        self._hands: set[tuple[int, int]] = set()
        (folder / "home").mkdir(parents=True, exist_ok=True)
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

    def segments(self, name: str) -> list[Path]:
        """Return the service's log files, the rotated ones first, in their order."""
        folder = self.folder / "logs"
        rotated = sorted(
            folder.glob(f"{name}.[0-9]*.log"), key=lambda path: int(path.name.split(".")[-2])
        )
        current = folder / f"{name}.log"
        return [*rotated, *([current] if current.exists() else [])]

    def log(self, name: str) -> bytes:
        """Return what the service wrote, over all segments."""
        return b"".join(path.read_bytes() for path in self.segments(name))

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
        """Start a command of the program and return it running; ended with the stack."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.environ} | keys
        started = subprocess.Popen(self.command(*words), cwd=self.folder, **options)
        self._started.append(started)
        return started

    def up(self, *words: object, code: int = 0, **environ: Any) -> Ran:
        """`up -d`, which must end with ``code``."""
        ran = self.run("up", "-d", *words, **environ)
        assert ran.code == code, ran
        return ran

    def down(self, *words: object) -> Ran:
        """`down`, which must succeed."""
        self._note_hands()
        ran = self.run("down", *words)
        assert ran.code == 0, ran
        return ran

    def ps(self, *words: object) -> dict[str, dict[str, Any]]:
        """Return what `ps -a --format json` prints, by service."""
        ran = self.run("ps", "-a", "--format", "json", *words)
        assert ran.code == 0, ran
        return {item["name"]: item for item in json.loads(ran.out)["services"]}

    # What is seen.

    def snapshot(self) -> dict[str, Any]:
        """Return the answer of the control API; raises OSError when nobody answers."""
        folder = os.open(self.runtime_dir, os.O_RDONLY)
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        try:
            # By the folder's descriptor: a socket's path may have 107 bytes, pytest's are longer.
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

    def answers(self) -> bool:
        """Return whether a supervisor answers."""
        try:
            self.snapshot()
        except OSError:
            return False
        return True

    def ports(self) -> set[int]:
        """Return the ports that services.yaml gives to services, as far as it can be read."""
        try:
            services = yaml.safe_load(self.file.read_text())["services"]
            return {one["port"] for one in services.values() if type(one.get("port")) is int}
        except (OSError, yaml.YAMLError, TypeError, AttributeError, KeyError):
            return set()

    # Who lives.

    @property
    def supervisor_pid(self) -> int:
        return int(self.snapshot()["pid"])

    def kill_supervisor(self) -> None:
        """KILL the supervisor, and see it dead."""
        self._note_hands()
        pid = self.supervisor_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), what="the supervisor's end")

    def shim_pids(self) -> dict[int, str]:
        """Return the pids of this stack's shims, with their services."""
        found = {}
        for path in (self.state_dir / "locks").glob("*.lock"):
            owner = lock_owner(path)
            if owner is not None and is_alive(owner):
                found[owner] = path.stem
        return found

    def supervisor_pids(self) -> set[int]:
        """Return who holds the stack's lock file: the supervisor, and an `up` that becomes it."""
        return holders(inodes([self.state_dir / "stack.lock"]))

    def cookie_pids(self) -> dict[int, str]:
        """Return every process that carries a cookie of this stack, with the cookie."""
        cookies = ((pid, environ_of(pid).get("ORCH_COOKIE", "")) for pid in all_pids())
        return {pid: cookie for pid, cookie in cookies if cookie.startswith(f"{self.id}/")}

    def fifo_pids(self) -> set[int]:
        """Return every process that holds an output pipe of this stack."""
        return holders(inodes(self.runtime_dir.glob("*/out")))

    def survivors(self) -> set[int]:
        """Return the pids of all that lives of this stack: services, shims, supervisor, spawner."""
        pids = {*self.shim_pids(), *self.cookie_pids(), *self.fifo_pids()}
        pids |= self.supervisor_pids() | self._living_hands()
        return {pid for pid in pids if is_alive(pid)} - ancestors(os.getpid())

    def _note_hands(self) -> None:
        """Remember the supervisor's children: its spawner belongs to nobody once it is dead."""
        children = children_of(self.supervisor_pids() - ancestors(os.getpid()))
        self._hands |= {child.identity for child in children}

    def _living_hands(self) -> set[int]:
        found = (stat_of(pid) for pid, _ in self._hands)
        return {one.pid for one in found if one is not None and one.identity in self._hands}

    def _relatives(self) -> set[int]:
        """Return whatever was started from here, by environment and folder."""
        folder, home = str(self.folder), self.environ["HOME"]
        found = set()
        for pid in all_pids():
            cwd = cwd_of(pid)
            if cwd == folder or cwd.startswith(folder + "/") or environ_of(pid).get("HOME") == home:
                found.add(pid)
        return found - ancestors(os.getpid())

    # The end.

    def destroy(self) -> None:
        """End whatever lives of this stack, by pid, however broken it is."""
        self._note_hands()
        if self.survivors():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.run("down", "-t", "0", within_s=15)
        for started in self._started:
            started.kill()
            started.wait()
        deadline = time.monotonic() + 10
        while left := {pid for pid in self.survivors() | self._relatives() if is_alive(pid)}:
            assert time.monotonic() < deadline, f"cannot end {left}"
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(STEP_S)


@contextlib.contextmanager
def stack(
    folder: Path, services: Mapping[str, Any], *, judged: bool = True, **keys: Any
) -> Iterator[Stack]:
    """Make a stack for the block; nothing of it lives afterwards.

    What must be true of every stack is asserted at the end, unless it is not ``judged``.
    """
    made = Stack(folder, services, **keys)
    try:
        yield made
        if judged:
            oracle.judge(made)
    finally:
        made.destroy()
