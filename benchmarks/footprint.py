"""What 2, 50 and 200 sleeping services cost: memory, idle CPU, time to start and to be gone."""

import os
import signal
import sys
import time
from datetime import datetime
from typing import Any

from benchmarks.common import (
    MIB,
    Installed,
    Table,
    bounded,
    fine_cpu_s,
    gone,
    memory_bytes,
    stack,
    wait_all_running,
)

COUNTS = (2, 50, 200)
IDLE_S = 5.0
SLEEP = ["/bin/sleep", "100000"]


def floor(count: int) -> tuple[float, float]:
    """Measure a bare fork and exec of as many, and their end, in seconds."""
    began = time.monotonic()
    pids = [os.posix_spawn(SLEEP[0], SLEEP, {}) for _ in range(count)]
    started_s = time.monotonic() - began
    began = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return started_s, time.monotonic() - began


def started_at(item: dict[str, Any]) -> float:
    """Return when a service was started, in seconds."""
    return datetime.fromisoformat(item["started_at"]).timestamp()


def measure(count: int, made: Installed, table: Table) -> None:
    """Measure one size of stack."""
    most = {200: (1.0, 0.5)}.get(count, (None, None))
    called = time.time()
    began = time.monotonic()
    made.run("up", "-d", within_s=60)
    up_s = time.monotonic() - began
    items = wait_all_running(made, count)
    times = sorted(started_at(item) for item in items)
    least_start, least_end = floor(count)
    table.note(f"{count} services (bare fork and exec: {least_start:.3f} s)")
    table.row("  up -d returned after", up_s, "s")
    table.row("  first service spawned after", times[0] - called, "s", most=0.5)
    table.row("  first to last spawned", times[-1] - times[0], "s", most=most[0])
    supervisor, shims = made.supervisor_pid, list(made.shim_pids())
    ours = [supervisor, *shims, *([made.spawner_pid] if made.spawner_pid else [])]
    time.sleep(0.5)
    before = sum(map(fine_cpu_s, ours))
    time.sleep(IDLE_S)
    idle = (sum(map(fine_cpu_s, ours)) - before) / IDLE_S * 100
    table.row("  idle CPU of all of ours", idle, "%", most=0.5 if count <= 50 else None)
    pss = [memory_bytes(pid, "Pss") / MIB for pid in shims]
    table.row("  memory of a shim (PSS), mean", sum(pss) / len(pss), "MiB", most=1.2)
    table.row("  memory of a shim (PSS), most", max(pss), "MiB")
    resident = memory_bytes(supervisor, "VmRSS") / MIB
    table.row("  memory of the supervisor (RSS)", resident, "MiB", most=60)
    pids = [item["pid"] for item in items]
    made.request("POST", "/v1/down")
    table.row("  all services gone after", gone(pids, 30), "s", most=most[1])
    gone([*shims, supervisor], 30)
    table.note(f"  (a bare kill and wait: {least_end:.3f} s)")


def main() -> int:
    """Run the benchmark."""
    table = Table("Footprint of services that sleep")
    for count in COUNTS:
        services = {f"s{n:03}": {"command": SLEEP} for n in range(count)}
        with bounded(90), stack(services) as made:
            measure(count, made, table)
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
