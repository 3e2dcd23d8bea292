"""A stage for one service: a real spawner, a real shim, and nothing left when the curtain falls."""

import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from orchestrator.shim.index import RECORD
from orchestrator.shim.tree import all_stats, carries, holds_output
from orchestrator.system.identity import become_subreaper, open_pidfd, read_stat
from orchestrator.system.shims import Shim, connect_shim
from orchestrator.system.spawner import ShimRequest, Spawner
from orchestrator.system.tree import Orphan, descendants, reap_orphans

EVIL = str(Path(__file__).parents[2] / "evil.py")
ALL_TIERS = ("pidfd", "splice", "tee", "subreaper", "posix_spawn", "procfd")
WAIT_S = 5.0


@dataclass
class Stage:
    """One service's folder, the shim in use, and every event it sent."""

    folder: Path
    spawner: Spawner
    request: ShimRequest
    token: str
    events: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    runs: int = 0
    shim: Shim = field(init=False)
    shims: list[tuple[int, int]] = field(default_factory=list)
    orphans: list[Orphan] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)

    @property
    def service_dir(self) -> Path:
        return Path(self.request.service_dir)

    @property
    def log_path(self) -> Path:
        return Path(self.request.log_path)

    def log(self) -> bytes:
        """All segments in the order of their offsets, then the current one."""
        stem = self.log_path.name.removesuffix(".log")
        rotated = [
            path for path in self.log_path.parent.glob(f"{stem}.*.log") if path != self.log_path
        ]
        rotated.sort(key=lambda path: int(path.name.split(".")[-2]))
        return b"".join(path.read_bytes() for path in [*rotated, self.log_path])

    def index(self) -> list[tuple[int, ...]]:
        """Records as (offset, run, kind, a, b)."""
        data = Path(self.request.index_path).read_bytes()
        whole = data[: len(data) // RECORD.size * RECORD.size]
        return [(at, run, kind, a, b) for at, _, _, run, kind, a, b in RECORD.iter_unpack(whole)]

    def on_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
        self._news.set()
        self._news = anyio.Event()

    async def open(self, **changes: Any) -> Shim:
        """Start a shim, as asked but for ``changes``."""
        self.request = replace(self.request, **changes)
        self.shim = await self.spawner.shim(self.request, self.on_event)
        self.shims.append((self.shim.pid, self.shim.hello["starttime"]))
        return self.shim

    async def reopen(self, **changes: Any) -> Shim:
        """Kill the shim and start another."""
        self.kill_shim()
        return await self.open(**changes)

    def kill_shim(self) -> None:
        os.kill(self.shim.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Do as the supervisor does with what fell to it."""
        self.orphans += reap_orphans({self.spawner.pid})

    async def start(self, *words: str, argv: list[str] | None = None, **order: Any) -> int:
        """Order a run of the evil service and wait until it is spawned; return its pid."""
        event = await self.order_start(*words, argv=argv, **order)
        assert event["event"] == "spawned", event
        return int(event["pid"])

    async def order_start(
        self,
        *words: str,
        argv: list[str] | None = None,
        env: dict[str, str] | None = None,
        **order: Any,
    ) -> dict[str, Any]:
        self.runs += 1
        run = self.runs
        cookie = {"ORCH_COOKIE": f"{self.token}/{self.request.service}/{run}"}
        self.shim.send(
            {
                "op": "start",
                "run": run,
                "argv": argv or [sys.executable, "-I", "-S", EVIL, *words],
                "env": ({"PATH": os.environ["PATH"]} if env is None else env) | cookie,
                "cwd": str(self.folder),
                "umask": None,
                "nofile": None,
                "stop_signal": 15,
                "spec": {"words": list(words)},
            }
            | order
        )
        return await self.event("spawned", "refused", "busy", run=run)

    async def event(self, *kinds: str, within_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """Return the newest event of one of ``kinds`` with these fields, waiting for it."""

        def matches(event: dict[str, Any]) -> bool:
            wanted = {"run": self.runs} | fields
            known = {key: value for key, value in wanted.items() if key in event}
            fits = all(event[key] == value for key, value in known.items())
            # A busy names the run that lives, not the one that was asked for.
            return bool(event["event"] in kinds and (fits or event["event"] == "busy"))

        with anyio.fail_after(within_s):
            while True:
                found: dict[str, Any] | None = next(filter(matches, reversed(self.events)), None)
                if found is not None:
                    return found
                await self._news.wait()

    async def ended(self, within_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        return await self.event("exit", within_s=within_s, **fields)

    async def text(self, wanted: bytes, within_s: float = WAIT_S) -> None:
        """Wait until the log holds ``wanted``."""
        await until(lambda: self.log_path.exists() and wanted in self.log(), within_s)

    def members(self) -> set[int]:
        """Every process that still carries our cookie or holds our output."""
        stat = os.stat(self.service_dir / "out")
        inode = stat.st_dev, stat.st_ino
        return {
            one.pid
            for one in all_stats().values()
            if one.state not in "ZX"
            and (
                holds_output(one.pid, inode)
                or any(
                    carries(
                        one.pid, f"ORCH_COOKIE={self.token}/{self.request.service}/{n}".encode()
                    )
                    for n in range(1, self.runs + 1)
                )
            )
        }

    def clear(self) -> None:
        """Leave no process behind."""
        for pid, starttime in self.shims:
            below = descendants(pid) if read_stat(pid) else []
            _kill(pid, starttime)
            for one in below:
                stat = read_stat(one)
                if stat:
                    _kill(one, stat.starttime)
        while (self.service_dir / "out").exists() and (left := self.members()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _kill(pid: int, starttime: int) -> None:
    pidfd = open_pidfd(pid, starttime)
    if pidfd is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


async def until(condition: Callable[[], object], within_s: float = WAIT_S) -> None:
    """Wait until ``condition`` holds, for what nothing else can tell of."""
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 nobody else would tell
            await anyio.sleep(0.002)


def stage_request(folder: Path, service: str = "web", **changes: Any) -> ShimRequest:
    request = ShimRequest(
        stack="stage",
        service=service,
        service_dir=str(folder / "run" / service),
        lock_path=str(folder / "locks" / f"{service}.lock"),
        log_path=str(folder / "logs" / f"{service}.log"),
        index_path=str(folder / "logs" / ".index" / service),
        max_size_bytes=10 << 20,
        keep=10,
    )
    return replace(request, **changes)


@contextlib.asynccontextmanager
async def staged(folder: Path, *, opened: bool = True, **changes: Any) -> AsyncIterator[Stage]:
    """Set a stage with a shim in place; afterwards nothing of it lives."""
    become_subreaper()
    async with Spawner.start() as spawner:
        stage = Stage(folder, spawner, stage_request(folder, **changes), uuid.uuid4().hex)
        # As the supervisor does: one more reading end, so that a dead shim harms no writer.
        holder = None
        try:
            if opened:
                await stage.open()
                out = stage.service_dir / "out"
                holder = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
            yield stage
        finally:
            if holder is not None:
                os.close(holder)
            stage.clear()
            if hasattr(stage, "shim"):
                await stage.shim.aclose()
            reap_orphans({spawner.pid})


async def connected(stage: Stage) -> tuple[Shim, list[dict[str, Any]]]:
    """Return a second client and the list of what it hears."""
    heard: list[dict[str, Any]] = []
    return await connect_shim(str(stage.service_dir), heard.append), heard


def record(stage: Stage, name: str) -> dict[str, Any]:
    return dict(json.loads((stage.service_dir / name).read_text()))


def read_text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def assert_numbers(data: bytes, count: int) -> None:
    """All numbers from 0 to ``count`` - 1, in order, none missing, none twice."""
    wanted = b"".join(b"%d\n" % number for number in range(count))
    if data != wanted:
        lines = data.split(b"\n")
        wrong = next(
            (n for n, line in enumerate(lines) if line != b"%d" % n), min(len(lines), count)
        )
        raise AssertionError(
            f"{len(data)} bytes instead of {len(wanted)}; line {wrong}: {lines[wrong:][:3]}"
        )
