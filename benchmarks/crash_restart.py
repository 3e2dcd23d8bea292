"""From the death of a service to the first sign of the next run, with no backoff due."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import Table, bounded, stack, summary

TURNS = 60


def service(fifo: Path) -> list[str]:
    """Return a command whose first act is a line with its pid into ``fifo``."""
    return ["/bin/sh", "-c", 'echo $$ > "$1"; exec sleep 1000', "sh", str(fifo)]


def floor(fifo: Path, reader: int) -> list[float]:
    """Measure what starting it and hearing from it takes without any supervisor."""
    command, took = service(fifo), []
    for _ in range(TURNS):
        began = time.monotonic()
        pid = os.posix_spawn(command[0], command, {"PATH": os.defpath})
        os.read(reader, 64)
        took.append(time.monotonic() - began)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return took


def restarts(fifo: Path, reader: int) -> list[float]:
    """Kill the service again and again, and measure until the next one is heard from."""
    restart = {"backoff": {"initial": 0, "max": 0, "jitter": 0}, "limit": "none"}
    took = []
    # In services.yaml `$$` is a dollar.
    command = [word.replace("$", "$$") for word in service(fifo)]
    with stack({"one": {"command": command, "restart": restart}}) as made:
        made.up()
        pid = int(os.read(reader, 64))
        for _ in range(TURNS):
            time.sleep(0.02)
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            pid = int(os.read(reader, 64))
            took.append(time.monotonic() - began)
    return took


def main() -> int:
    """Run the benchmark."""
    table = Table("Crash to first instruction of the new run")
    with bounded(60), tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        fifo = Path(name) / "heard"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDWR)
        try:
            least, _ = summary(floor(fifo, reader))
            median, high = summary(restarts(fifo, reader))
        finally:
            os.close(reader)
    table.row("start of the program alone, median", least * 1000, "ms")
    table.row("kill -9 to the next run, median", median * 1000, "ms", most=5 + least * 1000)
    table.row("kill -9 to the next run, 90th percentile", high * 1000, "ms")
    table.row("less the program's own start, median", (median - least) * 1000, "ms", most=5)
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
