"""What a `dotnet` program says it has, asked once, and why it cannot say it."""

import contextlib
import errno
import os
import platform
import re
import signal
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DOWNLOAD = "https://dotnet.microsoft.com/download/dotnet"

_LISTED = re.compile(r"^(\S+) (\S+) \[", re.MULTILINE)
_LIBRARY = re.compile(
    r"error while loading shared libraries: (\S+?):|Error loading shared library (\S+?):"
)
_PACKAGES = {"libstdc++": "libstdc++6 or libstdc++", "libgcc": "libgcc-s1 or libgcc"}
# Source: elf(5), e_machine in elf.h; the names are those of uname(1).
_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 258: "loongarch64"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a .NET app or its host, and what to do.

    ``may_come``: something that is started before the app may yet make what is missing.
    """

    problem: str
    fix: str
    may_come: bool = False

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Host:
    """A `dotnet` program: the frameworks it has, or why it cannot run. Neither: no answer."""

    program: str
    frameworks: Mapping[str, tuple[str, ...]] | None = None
    fault: Fault | None = None


class Hosts:
    """Asks each `dotnet` once. Safe to ask in a thread while the loop looks at what is known."""

    def __init__(self, answer_s: float = 5.0) -> None:
        self._answer_s = answer_s
        self._known: dict[tuple[str, str], Host] = {}

    def known(self, program: str, environ: Mapping[str, str]) -> Host | None:
        """Return what was answered before; None: nothing was asked yet. Never waits."""
        return self._known.get(_key(program, environ))

    def ask(self, program: str, environ: Mapping[str, str]) -> Host:
        """Return what the program answers, or answered before; waits ``answer_s`` at most."""
        key = _key(program, environ)
        if key not in self._known:
            self._known[key] = _asked(program, environ, self._answer_s)
        return self._known[key]

    def forget(self) -> None:
        """Have everything asked anew: a runtime may have been installed meanwhile."""
        self._known = {}


def _key(program: str, environ: Mapping[str, str]) -> tuple[str, str]:
    return program, environ.get("LD_LIBRARY_PATH", "")


def _asked(program: str, environ: Mapping[str, str], answer_s: float) -> Host:
    quiet = {**environ, "DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1"}
    try:
        asked = subprocess.Popen(  # noqa: S603  the program that the service is started with
            [program, "--list-runtimes"],
            env=quiet,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # A group, not a session: what is in another session is taken for an orphan.
            process_group=0,
        )
    except OSError as error:
        return Host(program, fault=_cannot_run(program, error))
    with asked:
        try:
            out, err = asked.communicate(timeout=answer_s)
        except subprocess.TimeoutExpired:
            _end(asked)
            return Host(program)
    if asked.returncode:
        return Host(program, fault=_failed(program, asked.returncode, err or out))
    found: dict[str, tuple[str, ...]] = {}
    for name, version in _LISTED.findall(out):
        found[name] = (*found.get(name, ()), version)
    return Host(program, found)


def _end(asked: "subprocess.Popen[str]") -> None:
    """Kill the whole group, and reap what of it falls to us once its first process is gone."""
    os.killpg(asked.pid, signal.SIGKILL)
    asked.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-asked.pid, 0)


def _cannot_run(program: str, error: OSError) -> Fault:
    """Tell a program for another processor, or another C library, from one that is not there."""
    own, made_for = platform.machine(), _machine(program)
    fix = f"install the .NET runtime for {own}: {DOWNLOAD}"
    if made_for is not None and made_for != own:
        return Fault(f"{program!r} is for {made_for}, and this machine is {own}", fix)
    if error.errno == errno.ENOENT and Path(program).exists():
        why = "its loader is not there: it is for another C library (glibc or musl)"
        return Fault(f"{program!r} cannot be started: {why}", fix)
    why = (error.strerror or str(error)).lower()
    return Fault(f"{program!r} cannot be started: {why}", fix)


def _machine(program: str) -> str | None:
    """Return the processor that an ELF program is made for; None if it is no such program."""
    try:
        with Path(program).open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    (number,) = struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])
    return _MACHINES.get(number, f"another processor (ELF machine {number})")


def _failed(program: str, code: int, said: str) -> Fault:
    missing = _LIBRARY.search(said)
    if missing is not None:
        library = missing[1] or missing[2]
        package = next((p for start, p in _PACKAGES.items() if library.startswith(start)), "")
        fix = f"install {package or 'the package with ' + library} with the system's package tool"
        return Fault(f"{program!r} cannot be started: {library} is missing", fix)
    first = next((line.strip() for line in said.splitlines() if line.strip()), "")
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    told = f"{how}: {first[:200]}" if first else how
    return Fault(
        f"{program!r} --list-runtimes ended with {told}", f"install the .NET runtime: {DOWNLOAD}"
    )
