"""How fast output gets into the log files, and for how much CPU, against `cat fifo > file`."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import MIB, Table, bounded, fine_cpu_s, stack, written
from tests.stack import wait_until

# Waits for a word through a FIFO, writes, and says how long the writing took.
WRITER = """
import os, sys, time
count, size, go, told = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
block = (b"x" * 99 + b"\\n") * (size // 100 + 1)
block = block[: size - 1] + b"\\n"
open(go).read()
began = time.monotonic()
left = count * size
for _ in range(count):
    done = os.write(1, block)
    while done < size:
        done += os.write(1, block[done:])
with open(told, "w") as file:
    file.write(repr(time.monotonic() - began))
time.sleep(1000)
"""


@dataclass(frozen=True)
class Load:
    """What is written: ``count`` writes of ``size`` bytes."""

    name: str
    count: int
    size: int

    @property
    def total(self) -> int:
        """All bytes of it."""
        return self.count * self.size


LOADS = (Load("64 KiB writes", 24_000, 65_536), Load("a write a line", 2_000_000, 100))


@dataclass(frozen=True)
class Figures:
    """What it took: MB/s, and CPU seconds a GB of whoever moved the bytes."""

    mb_s: float
    cpu_s_gb: float


def command(load: Load, go: Path, told: Path) -> list[str]:
    """Return the writer's command."""
    words = (load.count, load.size, go, told)
    return [sys.executable, "-S", "-c", WRITER, *map(str, words)]


def through_cat(load: Load, folder: Path) -> Figures:
    """Measure `cat fifo > file`."""
    out, go, told = folder / "out", folder / "go", folder / "told"
    os.mkfifo(out)
    os.mkfifo(go)
    with (folder / "copy").open("wb") as copy, open(out, "r+b", buffering=0, opener=_both) as pipe:
        cat = subprocess.Popen(["cat", str(out)], stdout=copy)
        writer = subprocess.Popen(command(load, go, told), stdout=pipe)
        try:
            go.write_text("go")
            wait_until(told.exists, 120, "the writer's end")
            wait_until(lambda: os.fstat(copy.fileno()).st_size == load.total, 10, "all bytes")
            cpu = fine_cpu_s(cat.pid)
        finally:
            for process in (writer, cat):
                process.kill()
                process.wait()
    return Figures(load.total / 1e6 / _seconds(told), cpu / (load.total / 1e9))


def _both(path: str, _: int) -> int:
    # For reading, too: opening it would wait for a reader.
    return os.open(path, os.O_RDWR)


def through_us(load: Load, folder: Path, table: Table) -> Figures:
    """Measure a service's log, with rotation as it is by default."""
    go, told = folder / "go2", folder / "told2"
    os.mkfifo(go)
    with stack({"writer": {"command": command(load, go, told)}}) as made:
        made.up()
        (shim,) = made.shim_pids()
        supervisor = made.supervisor_pid
        before, idle = fine_cpu_s(shim), fine_cpu_s(supervisor)
        began = time.monotonic()
        go.write_text("go")
        wait_until(told.exists, 120, "the writer's end")
        wait_until(lambda: written(made, "writer") >= load.total, 10, "all bytes")
        cpu = fine_cpu_s(shim) - before
        share = (fine_cpu_s(supervisor) - idle) / (time.monotonic() - began) * 100
        table.row(f"{load.name}: the supervisor's CPU meanwhile", share, "%", most=1)
        if written(made, "writer") != load.total:
            table.over.append("bytes that nobody wrote")
    return Figures(load.total / 1e6 / _seconds(told), cpu / (load.total / 1e9))


def _seconds(told: Path) -> float:
    return float(wait_until(told.read_text, 1))


def main() -> int:
    """Run the benchmark."""
    table = Table("Log throughput, rotation on (10 MiB, 10 segments kept)")
    for load in LOADS:
        with bounded(150), tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
            cat = through_cat(load, Path(name))
            (Path(name) / "copy").unlink()
            ours = through_us(load, Path(name), table)
        table.note(f"{load.name}, {load.total / MIB:.0f} MiB")
        table.row("  cat", cat.mb_s, "MB/s")
        table.row("  ours", ours.mb_s, "MB/s")
        table.row("  ours against cat", ours.mb_s / cat.mb_s, "x", least=1)
        table.row("  CPU of cat", cat.cpu_s_gb, "s/GB")
        table.row("  CPU of the shim", ours.cpu_s_gb, "s/GB", most=cat.cpu_s_gb)
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
