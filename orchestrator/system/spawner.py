"""Starts shims and probes' commands through the spawner, which is started again when it dies."""

import array
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio

import orchestrator
from orchestrator.system.shims import Shim, ShimUnreachable

# What ps shows of a shim is written over the spawner's arguments: this long it can be.
PADDING = "-" * 200
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from orchestrator.shim.spawner import main; main(int(sys.argv[2]))"
)
HELLO_TIMEOUT_S = 10.0
TRIES = 3
REQUESTS_AT_ONCE = 8
OUTPUT_LIMIT_BYTES = 4096
ANSWER_LIMIT_BYTES = 1 << 16
# Where a shim that breaks leaves its last words.
PANIC_NAME = "panic"


@dataclass(frozen=True, slots=True)
class ShimRequest:
    """What a shim is to hold. Paths are absolute; ``max_size_bytes`` None: the log never rotates.

    ``ended`` tells how processes of the service ended that fell to us (``Orphan.as_ended``).
    ``tiers`` switches mechanisms off, ``failpoints`` is for tests.
    """

    stack: str
    service: str
    service_dir: str
    lock_path: str
    log_path: str
    index_path: str
    max_size_bytes: int | None
    keep: int
    tiers: Mapping[str, bool] = field(default_factory=dict)
    failpoints: Mapping[str, str] = field(default_factory=dict)
    ended: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the system would not start a command; ``errno`` is its number."""

    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What became of a command. ``code`` and ``signal`` are None when it was killed by us.

    ``output`` is the tail of stdout and stderr together.
    """

    code: int | None
    signal: int | None
    timed_out: bool
    refused: Refusal | None
    output: str
    duration_s: float


class SpawnerGone(ConnectionError):
    """The spawner died, perhaps with a request of ours in its hands."""


class Spawner:
    """One small process that forks ours, so that no fork is ever made beside threads.

    Killed, it is started again by the next request; the shims do not notice.
    """

    def __init__(self, nofile: tuple[int, int] | None = None) -> None:
        self._nofile = nofile
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._answers: deque[asyncio.Future[dict[str, Any]]] = deque()
        # The kernel bounds how many descriptors of a user may be under way in sockets.
        self._limit = anyio.Semaphore(REQUESTS_AT_ONCE)

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, nofile: tuple[int, int] | None = None) -> AsyncIterator["Spawner"]:
        """Start the spawner; it ends with the block, its shims do not.

        ``nofile``: the soft and hard limit of descriptors of the probes' commands.
        """
        spawner = cls(nofile)
        spawner._launched()
        try:
            yield spawner
        finally:
            spawner._close()

    @property
    def pid(self) -> int:
        """The spawner's pid; 0 while there is none."""
        return self._process.pid if self._process else 0

    async def shim(self, request: ShimRequest, on_event: Callable[[dict[str, Any]], None]) -> Shim:
        """Fork a shim and return it after its hello. Events come in the event loop's thread.

        Raises:
            ShimLocked: Another shim of this service lives.
            ShimUnreachable: It died or could not be forked.
        """
        message = {"op": "shim", **asdict(request)}
        for _ in range(TRIES):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            shim = Shim(ours, on_event)
            try:
                # Dead, it may have forked before: then a hello comes, else the end of file.
                with contextlib.suppress(SpawnerGone):
                    await self._ask(message, theirs)
                return await shim.greeted(HELLO_TIMEOUT_S)
            except ShimUnreachable as error:
                if not error.never_said_hello:
                    raise
            finally:
                if not shim.hello:
                    await shim.aclose()
        where = f"{request.service_dir}/{PANIC_NAME}"
        problem = f"cannot start a shim for {request.service!r}: it died at once; see {where}"
        raise ShimUnreachable(problem)

    async def run_probe(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        timeout_s: float,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
    ) -> ExecResult:
        """Run a command to its end and return what became of it.

        When it returns, or is cancelled, nothing that the command started is alive for long: its
        whole tree is killed. Raises ShimUnreachable when the runner itself dies.
        """
        order = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": cwd,
            "timeout_s": timeout_s,
            "nofile": self._nofile,
            "output_limit_bytes": output_limit_bytes,
        }
        for _ in range(TRIES):
            with contextlib.suppress(SpawnerGone):
                return await self._run(order)
        raise ShimUnreachable(f"cannot run {argv[0]!r}: the spawner died again and again")

    async def _run(self, order: dict[str, Any]) -> ExecResult:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # To close our end kills the command and all it started.
        with ours:
            ours.settimeout(0)
            await self._ask({"op": "exec"}, theirs)
            await loop.sock_sendall(ours, json.dumps(order).encode() + b"\n")
            read = b""
            while not read.endswith(b"\n"):
                piece = await loop.sock_recv(ours, ANSWER_LIMIT_BYTES)
                if not piece:
                    raise ShimUnreachable(f"cannot run {order['argv'][0]!r}: its runner died")
                read += piece
        return _exec_result(json.loads(read))

    async def _ask(self, message: dict[str, Any], theirs: socket.socket) -> None:
        """Send one request with one descriptor, closed here, and wait for its answer."""
        with theirs:
            async with self._limit:
                told = await self._exchange(json.dumps(message).encode(), theirs)
        if "pid" not in told:
            raise ShimUnreachable(str(told.get("error")))

    async def _exchange(self, text: bytes, theirs: socket.socket) -> dict[str, Any]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
            # So few are under way that there is always room.
            self._launched().sendmsg([text], [rights])
        except OSError as error:
            self._lose()
            raise SpawnerGone("the spawner is gone") from error
        theirs.close()
        self._answers.append(answer)
        return await answer

    def _launched(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        root = str(Path(orchestrator.__file__).resolve().parent.parent)
        fd = theirs.fileno()
        flags = ["-I", "-S", "-X", "utf8"]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 our own program, fixed words
                [sys.executable, *flags, "-c", PROGRAM, root, str(fd), PADDING],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[fd],
                start_new_session=True,
                cwd="/",
                env={},
            )
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read, ours)
        return ours

    def _read(self, requests: socket.socket) -> None:
        try:
            text = requests.recv(ANSWER_LIMIT_BYTES)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self._lose()
            return
        answer = self._answers.popleft()
        if not answer.done():
            answer.set_result(json.loads(text))

    def _lose(self) -> None:
        """Let go of a dead spawner; who waits for an answer is told."""
        self._close()
        while self._answers:
            answer = self._answers.popleft()
            if not answer.done():
                answer.set_exception(SpawnerGone("the spawner died"))

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._process is not None:
            # It ends with its socket; if it is stuck it goes the hard way.
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _exec_result(answer: dict[str, Any]) -> ExecResult:
    refused = answer["refused"]
    return ExecResult(
        code=answer["code"],
        signal=answer["signal"],
        timed_out=answer["timed_out"],
        refused=Refusal(**refused) if refused else None,
        output=answer["output"],
        duration_s=answer["duration_s"],
    )
