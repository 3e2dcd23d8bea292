"""What must be true of a stack after every scenario, whatever was done to it.

Each check raises AssertionError with all that is wrong. ``judge`` is for every scenario, and
``tests.stack.stack`` calls it; the others are for those that have something to check: numbered
lines, a config.json with foreign keys, canary secrets, growth.
"""

import base64
import json
import os
import stat
import struct
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.processes import (
    cmdline_of,
    fds_of,
    is_alive,
    listening_ports,
    rss_bytes,
    wait_until,
    zombies_of,
)

if TYPE_CHECKING:
    from tests.stack import Ran, Stack

RECORD = struct.Struct("<QqqIBBH")
KINDS = DATA, START, EXIT, GAP, ROTATED = range(5)


# Every scenario.


def judge(stack: "Stack") -> None:
    """Assert all that is true at the end of any scenario, before and after a last `down`."""
    if stack.answers():
        while_up(stack)
    stack.run("down", "-t", "0")
    after_down(stack, stack.ports())


def while_up(stack: "Stack") -> None:
    """Assert what is true of a stack at any moment at which its supervisor lives."""
    _fail([*_instances(stack), *_disagreements(stack), *_modes(stack), *_indexes(stack)])
    no_zombies(stack)


def after_down(stack: "Stack", ports: Iterable[int] = ()) -> None:
    """Assert that nothing of the stack lives, and that its files are in order.

    ``ports`` are those on which nobody may listen any more.
    """
    left = stack.survivors()
    listening = sorted(set(ports) & listening_ports())
    sockets = [path for path in stack.runtime_dir.rglob("*.sock") if path.is_socket()]
    wrong = [
        *(f"pid {pid} lives: {cmdline_of(pid)!r}" for pid in sorted(left)),
        *(f"somebody listens on port {port}" for port in listening),
        *(f"{path} is left" for path in sockets),
    ]
    _fail([*wrong, *_modes(stack), *_indexes(stack)])


# One instance, and what is said of it.


def _instances(stack: "Stack") -> list[str]:
    """Return what there is more than one of: runs of a service, shims of a service, supervisors."""
    runs, shims = defaultdict(set), defaultdict(set)
    for pid, cookie in stack.cookie_pids().items():
        if is_alive(pid):
            _, name, run = cookie.split("/")
            runs[name].add(int(run))
    for pid, name in stack.shim_pids().items():
        shims[name].add(pid)
    supervisors = {stack.supervisor_pid} | stack.supervisor_pids()
    return [
        *(f"{name}: runs {sorted(found)} live" for name, found in runs.items() if len(found) > 1),
        *(f"{name}: shims {sorted(found)} live" for name, found in shims.items() if len(found) > 1),
        *([f"supervisors {sorted(supervisors)} live"] if len(supervisors) > 1 else []),
    ]


def _disagreements(stack: "Stack") -> list[str]:
    """Return what the supervisor says and the processes do not. Twice asked, once for all true."""
    last: list[str] = []

    def agrees() -> bool:
        last[:] = _said_wrongly(stack)
        return not last

    try:
        wait_until(agrees, within_s=5)
    except AssertionError:
        return last
    return []


def _said_wrongly(stack: "Stack") -> list[str]:
    wrong, at_rest = [], {"stopped", "completed", "exited", "failed", "pending", "backoff"}
    items = {item["name"]: item for item in stack.snapshot()["services"]}
    for name, item in items.items():
        pid = item["pid"]
        if pid is not None and not is_alive(pid):
            wrong.append(f"{name}: its pid {pid} is not alive")
        if item["state"] in at_rest and pid is not None:
            wrong.append(f"{name}: {item['state']}, and has pid {pid}")
        if item["state"] == "running" and pid is None:
            wrong.append(f"{name}: running without a pid")
    for pid, cookie in stack.cookie_pids().items():
        _, name, run = cookie.split("/")
        if is_alive(pid) and name in items and items[name]["state"] in at_rest:
            wrong.append(f"{name}: {items[name]['state']}, and pid {pid} of run {run} lives")
        elif is_alive(pid) and name in items and items[name]["run"] != int(run):
            wrong.append(f"{name}: run {items[name]['run']}, and pid {pid} of run {run} lives")
    return wrong


def no_zombies(stack: "Stack", within_s: float = 2.0) -> None:
    """Assert that every ended child of the supervisor and its shims is waited for in time."""
    parents = {stack.supervisor_pid, *stack.shim_pids()}
    wait_until(lambda: not zombies_of(parents), within_s, f"no zombies of {sorted(parents)}")


# Logs.


def numbered_lines(stack: "Stack", name: str, count: int | None = None) -> int:
    """Assert that the log holds the numbers from 0 on, each once, in order; return how many.

    With ``count`` all of them; without it the last line may be a torn one. One run's output only.
    """
    lines = stack.log(name).split(b"\n")
    torn, whole = lines[-1], lines[:-1]
    for number, line in enumerate(whole):
        if line != b"%d" % number:
            before = whole[max(0, number - 2) : number]
            raise AssertionError(f"{name}: line {number} is {line[:80]!r}, after {before}")
    if count is not None:
        assert (len(whole), torn) == (count, b""), (
            f"{name}: {len(whole)} lines of {count}, {torn!r}"
        )
    assert str(len(whole)).encode().startswith(torn), f"{name}: ends with {torn!r}"
    return len(whole)


def _indexes(stack: "Stack") -> list[str]:
    folder = stack.folder / "logs" / ".index"
    return [one for path in sorted(folder.glob("*")) for one in _index(stack, path)]


def _index(stack: "Stack", path: Path) -> list[str]:
    """Return what is wrong with a service's segments, and with the index beside them."""
    name, wrong, data = path.name, [], path.read_bytes()
    records = list(RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]))
    segments = stack.segments(name)
    starts = [int(one.name.split(".")[-2]) for one in segments[:-1]]
    ends = [start + one.stat().st_size for start, one in zip(starts, segments, strict=False)]
    has_gaps = any(one[4] == GAP for one in records)
    wrong += [
        f"{name}: a segment ends at {end} and the next begins at {start}"
        for end, start in zip(ends, starts[1:], strict=False)
        if end > start or (end < start and not has_gaps)
    ]
    offsets, runs = [one[0] for one in records], [one[3] for one in records]
    if offsets != sorted(offsets):
        wrong.append(f"{name}: the offsets of its index go back")
    if runs != sorted(runs):
        wrong.append(f"{name}: the runs of its index go back")
    if not {one[4] for one in records} <= set(KINDS):
        wrong.append(f"{name}: its index has records of no known kind")
    ended = [run for run, kind in ((one[3], one[4]) for one in records) if kind == EXIT]
    if len(ended) != len(set(ended)):
        wrong.append(f"{name}: a run ended twice: {ended}")
    return wrong


# Files.


def _modes(stack: "Stack") -> list[str]:
    """Return what others can read or write and must not, and what stands where nothing may."""
    wrong = []
    for folder in (stack.state_dir, stack.runtime_dir):
        wrong += _wrong_folder(folder)
        for path in sorted(folder.rglob("*")):
            wrong += _wrong_private(path)
    for path in sorted((stack.folder / "logs").rglob("*")):
        if path.is_file() and _mode(path) != 0o600:
            wrong.append(f"{path}: mode {_mode(path):o}, not 600")
    home = Path(stack.environ["HOME"])
    wrong += [f"{path} is in the home folder" for path in sorted(home.rglob("*"))]
    return wrong


def _wrong_folder(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return [] if _mode(path) == 0o700 else [f"{path}: mode {_mode(path):o}, not 700"]


def _wrong_private(path: Path) -> list[str]:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return []
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        return _wrong_folder(path)
    if stat.S_ISFIFO(found.st_mode):
        # A service that became another user opens it anew to write: it must not read it.
        return [] if mode == 0o622 else [f"{path}: mode {mode:o}, not 622"]
    secret = stat.S_ISSOCK(found.st_mode) or path.name in {"secrets.json", "redact.json"}
    if secret and mode & 0o177:
        return [f"{path}: mode {mode:o}, not 600"]
    return [f"{path}: others may write it"] if mode & 0o022 else []


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@dataclass(frozen=True)
class Kept:
    """A config.json as it was, but for the servers that are ours."""

    path: Path
    mode: int
    owner: tuple[int, int]
    link: str | None
    foreign: str

    @classmethod
    def of(cls, path: Path, ours: Iterable[str] = ()) -> "Kept":
        """Remember the file; ``ours`` are the names of the servers that we publish."""
        found = path.stat()
        link = os.readlink(path) if path.is_symlink() else None
        owner = (found.st_uid, found.st_gid)
        return cls(path, stat.S_IMODE(found.st_mode), owner, link, _foreign(path, set(ours)))

    def check(self, ours: Iterable[str] = ()) -> None:
        """Assert that it is valid, and that all that is not ours is as it was, in its order."""
        now = Kept.of(self.path, ours)
        assert now == self, f"{self.path} was changed: {self} became {now}"


def _foreign(path: Path, ours: set[str]) -> str:
    content = json.loads(path.read_bytes())
    servers = content.get("mcp", {}).get("mcp_servers") if isinstance(content, dict) else None
    if isinstance(servers, list):
        content["mcp"]["mcp_servers"] = [one for one in servers if _name(one) not in ours]
    return json.dumps(content)


def _name(server: object) -> object:
    return server.get("name") if isinstance(server, Mapping) else None


# Secrets.


def no_secret(stack: "Stack", secrets: Iterable[str], *shown: "Ran | str | bytes") -> None:
    """Assert that no secret stands where it may be seen: in arguments, in files, in what was shown.

    It may stand in the file that declares it, in the files for it (0600), in config.json, and in
    the logs, which hold what a service wrote as it is. Encoded, it is a secret still.
    """
    hidden = {form: secret for secret in secrets for form in _forms(secret)}
    sinks = {f"the arguments of pid {pid}": cmdline_of(pid) for pid in stack.survivors()}
    sinks |= {str(path): path.read_bytes() for path in _sinks(stack)}
    for number, one in enumerate(shown):
        sinks[f"output {number}"] = _bytes(one)
    wrong = [
        f"{place} shows {hidden[form]!r} as {form!r}"
        for place, content in sinks.items()
        for form in hidden
        if form in content
    ]
    _fail(wrong)


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    encoded = {base64.b64encode(raw), base64.urlsafe_b64encode(raw), raw.hex().encode()}
    quoted = {urllib.parse.quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    return {raw, *(form.rstrip(b"=") for form in encoded), *quoted}


def _sinks(stack: "Stack") -> list[Path]:
    allowed = {"services.yaml", ".env", "config.json", "secrets.json", "redact.json"}
    services = {path.name for path in (stack.folder / "logs" / ".index").glob("*")}
    logs = {segment for name in services for segment in stack.segments(name)}
    return [
        path
        for path in sorted(stack.folder.rglob("*"))
        if path.is_file() and path.name not in allowed and path not in logs
    ]


def _bytes(shown: "Ran | str | bytes") -> bytes:
    if isinstance(shown, bytes):
        return shown
    text = shown if isinstance(shown, str) else f"{shown.out}\n{shown.err}"
    return text.encode(errors="surrogateescape")


# Growth.


@dataclass(frozen=True)
class Watermark:
    """What the supervisor had open, and how big it was."""

    stack: "Stack"
    pid: int
    fds: int
    rss_bytes: int

    @classmethod
    def of(cls, stack: "Stack") -> "Watermark":
        """Measure the supervisor that lives now."""
        pid = stack.supervisor_pid
        return cls(stack, pid, len(fds_of(pid)), rss_bytes(pid))

    def check(self, more_fds: int = 2, more_bytes: int = 20 * 1024 * 1024) -> None:
        """Assert that the same supervisor lives and has not grown by more than this."""

        def few() -> Any:
            return len(fds_of(self.pid)) <= self.fds + more_fds

        assert self.stack.supervisor_pid == self.pid, "another supervisor lives"
        wait_until(few, what=f"{len(fds_of(self.pid))} descriptors, {self.fds} before")
        grown = rss_bytes(self.pid) - self.rss_bytes
        assert grown <= more_bytes, f"the supervisor grew by {grown} bytes"


def _fail(wrong: list[str]) -> None:
    if wrong:
        raise AssertionError("\n".join(wrong))
