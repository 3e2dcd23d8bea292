"""What the benchmarks share: a stack for a while, the kernel's figures of a process, a table."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.stack import Stack, wait_until

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


def program() -> list[str]:
    """Return the command of the installed program: beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name("orchestrator")
    found = str(beside) if beside.exists() else shutil.which("orchestrator")
    if found is None:
        sys.exit("orchestrator is not installed here; python -m pip install -e . does that")
    return [found]


class Installed(Stack):
    """A stack that is run with the installed program, as a user does."""

    def __init__(self, folder: Path, services: Mapping[str, Any], **keys: Any) -> None:
        super().__init__(folder, services, **keys)
        # The tests ask for every warning; a user does not.
        self.environ.pop("PYTHONWARNINGS", None)

    def command(self, *words: object) -> list[str]:
        return [*program(), *(str(word) for word in words)]

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the control API and return its answer."""
        with contextlib.closing(self._connection()) as connection:
            text = json.dumps(body or {})
            connection.request(method, path, text, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Yield what happens, as it happens; the snapshot first."""
        with contextlib.closing(self._connection()) as connection:
            connection.request("GET", "/v1/events")
            answer = connection.getresponse()
            # readline() would wait for a full buffer's worth of chunks.
            yield map(json.loads, _lines(answer))

    def _connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        folder = os.open(self.runtime_dir, os.O_RDONLY)
        try:
            connection.sock.connect(f"/proc/self/fd/{folder}/control.sock")
        finally:
            os.close(folder)
        return connection

    @property
    def spawner_pid(self) -> int | None:
        """The pid of the process that forks the shims; None if it is not to be seen."""
        shims = set(self.shim_pids())
        for pid in children(self.supervisor_pid):
            if pid not in shims:
                return pid
        return None


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    held = b""
    while chunk := answer.read1(65536):
        *lines, held = (held + chunk).split(b"\n")
        yield from (line for line in lines if line)


@contextlib.contextmanager
def stack(services: Mapping[str, Any], **keys: Any) -> Iterator[Installed]:
    """Make a stack in a temporary folder; nothing of it lives, or is left on disk, afterwards."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        made = Installed(Path(name) / "project", services, **keys)
        try:
            yield made
        finally:
            made.destroy()


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after ``seconds``, so that it cleans up and ends."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"the benchmark took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Table:
    """Figures as they come in, each with its budget beside it."""

    title: str
    over: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        print(f"\n{self.title}")
        print(f"  {'':<46} {'measured':>12}   budget", flush=True)

    def row(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        """Print one figure; ``most`` and ``least`` are its budget."""
        fine = (most is None or value <= most) and (least is None or value >= least)
        budget = f"≤ {most:.4g} {unit}" if most is not None else ""
        budget = f"≥ {least:.4g} {unit}" if least is not None else budget
        mark = "" if most is None and least is None else ("ok" if fine else "OVER")
        if not fine:
            self.over.append(what)
        print(f"  {what:<46} {value:>9.4g} {unit:<4} {budget:<14} {mark}", flush=True)

    def note(self, text: str) -> None:
        """Print a remark among the figures."""
        print(f"  {text}", flush=True)

    def end(self) -> int:
        """Return the exit code of the benchmark: 1 if a budget was not kept."""
        return 1 if self.over else 0


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 90th percentile."""
    return statistics.median(values), sorted(values)[int(len(values) * 0.9)]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, itself; 0 when it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) * TICK_S


def fine_cpu_s(pid: int) -> float:
    """Return the same from the scheduler's count, in nanoseconds where the kernel has it."""
    try:
        return (
            sum(
                int(path.read_text().split()[0])
                for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
            )
            / 1e9
        )
    except (OSError, ValueError, IndexError):
        return cpu_s(pid)


def memory_bytes(pid: int, key: str) -> int:
    """Return Pss (smaps_rollup), VmRSS or VmHWM (status) of a process in bytes."""
    name = "smaps_rollup" if key == "Pss" else "status"
    for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found.extend(int(word) for word in path.read_text().split())
    return found


def gone(pids: Iterable[int], within_s: float) -> float:
    """Wait until none of the processes is alive; return how long that took.

    A zombie is dead: when PID 1 reaps the supervisor is not ours.
    """
    began = time.monotonic()
    left = set(pids)
    while left:
        left = {pid for pid in left if _is_alive(pid)}
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"{len(left)} processes are still alive after {within_s:g} s")
        time.sleep(0.002)
    return time.monotonic() - began


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


def timed(command: Sequence[str], **keys: Any) -> float:
    """Run a command, which must succeed, and return how long it took in seconds."""
    began = time.monotonic()
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30, **keys
    )
    return time.monotonic() - began


def written(stack: Installed, service: str) -> int:
    """Return the length of all that a service has written, over all segments, kept or not."""
    folder, end = stack.folder / "logs", 0
    for path in folder.glob(f"{service}.*.log"):
        end = max(end, int(path.name.split(".")[-2]) + path.stat().st_size)
    current = folder / f"{service}.log"
    return end + (current.stat().st_size if current.exists() else 0)


def wait_all_running(stack: Installed, count: int, within_s: float = 60) -> list[dict[str, Any]]:
    """Return the services once ``count`` of them are running."""

    def look() -> list[dict[str, Any]]:
        services: list[dict[str, Any]] = stack.snapshot()["services"]
        running = [one for one in services if one["state"] == "running"]
        return services if len(running) >= count else []

    return wait_until(look, within_s, f"{count} services running")
