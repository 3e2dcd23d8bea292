"""How fast, how evenly and in how little memory the embedded scheduler delivers.

    python -m benchmarks.scheduler_delivery [COUNT]

COUNT conversations (default 10000) fall due at one moment; then single ones, for their lateness.
"""

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.common import MIB, Table, bounded
from benchmarks.scheduler_stage import (
    completed,
    fill,
    free_port,
    healthy,
    login,
    receiving,
    scheduling,
)

ROUNDS = 30


def starts(folder: Path, table: Table) -> None:
    """Measure spawn to first health, and SIGTERM to the end."""
    ready, ended = [], []
    for _ in range(5):
        port = free_port()
        began = time.monotonic()
        with scheduling(folder / "start.sqlite", port) as child:
            ready.append(time.monotonic() - began)
            time.sleep(1.5)  # the MCP SDK is imported
            healthy(port)
            began = time.monotonic()
            child.terminate()
            child.wait()
            ended.append(time.monotonic() - began)
    table.row("from spawn to the first healthy answer", statistics.median(ready), "s", most=1.0)
    table.row("from SIGTERM to the end", statistics.median(ended), "s", most=0.3)


def burst(folder: Path, count: int, table: Table) -> None:
    """Deliver many that are due at once."""
    data, port = folder / "start.sqlite", free_port()
    with receiving() as receiver:
        fill(data, receiver.url, count, 3.0)
        with scheduling(data, port) as child, login(port) as http:
            watched = psutil.Process(child.pid)
            time.sleep(1.5)  # the MCP SDK is imported
            before, most = watched.memory_info().rss, 0
            cpu = watched.cpu_times()
            while completed(http) < count:
                most = max(most, watched.memory_info().rss)
                time.sleep(0.1)
            used = watched.cpu_times()
        report = receiver.report()
    took = report["last"] - report["first"]
    cpu_s = used.user + used.system - cpu.user - cpu.system
    twice = sum(1 for times in report["ids"].values() if times != 1)
    table.row(f"{count} due at once: deliveries a second", count / took, "/s")
    table.row("  CPU a delivery", 1000 * cpu_s / count, "ms")
    table.row("  memory above rest", (most - before) / MIB, "MB", most=30)
    table.row("  lost", count - len(report["ids"]), "", most=0)
    table.row("  more than once", twice, "", most=0)


def lateness(folder: Path, table: Table) -> None:
    """Deliver one at a time and see how late each comes."""
    port = free_port()
    late: list[float] = []
    with scheduling(folder / "late.sqlite", port), login(port) as http:
        time.sleep(1.5)  # the MCP SDK is imported
        for _ in range(ROUNDS):
            with receiving() as receiver:
                due = datetime.now(UTC) + timedelta(seconds=0.1)
                arguments = {
                    "conversationText": "x",
                    "scheduledTime": due.isoformat(),
                    "endpoint": receiver.url,
                }
                body = {"name": "scheduleConversation", "arguments": arguments}
                assert http.post("/api/mcptools/execute", json=body).status_code == 200
                time.sleep(0.2)
                late.append(1000 * (receiver.report()["first"] - due.timestamp()))
    table.row("a single one: lateness, median", statistics.median(late), "ms")
    table.row("  the latest", max(late), "ms", most=1000)
    table.row("  the earliest comes early by", max(0.0, -min(late)), "ms", most=0)


def main() -> int:
    """Run the benchmark."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    table = Table("The embedded scheduler: starts, bursts and lateness")
    with bounded(180), tempfile.TemporaryDirectory() as place:
        starts(Path(place), table)
        burst(Path(place), count, table)
        lateness(Path(place), table)
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
