"""How long it takes to stop services that obey: the slowest one, and what we add to it."""

import sys
import time

from benchmarks.common import Table, bounded, gone, stack, wait_all_running

# Ends so many seconds after TERM; a line tells that it is ready to be told.
OBEYS = """
import signal, sys, time
def end(number, frame):
    time.sleep(float(sys.argv[1]))
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    time.sleep(1000)
"""
COUNTS = (1, 20, 60)
SLOWEST_S = 1.0


def measure(count: int, table: Table) -> None:
    """Stop a stack of ``count`` services that take between nothing and the slowest one's time."""
    delays = [SLOWEST_S * (n + 1) / count for n in range(count)]
    services = {
        f"s{n:02}": {
            "command": [sys.executable, "-S", "-c", OBEYS, str(delay_s)],
            "health": {"log": "ready"},
        }
        for n, delay_s in enumerate(delays)
    }
    with stack(services) as made:
        made.up("--wait")
        items = wait_all_running(made, count)
        shims, supervisor = list(made.shim_pids()), made.supervisor_pid
        made.request("POST", "/v1/down")
        services_s = gone([item["pid"] for item in items], 30)
        began = time.monotonic()
        gone([*shims, supervisor], 30)
        after_s = time.monotonic() - began
    most = SLOWEST_S + 0.2
    table.row(f"{count} services, slowest {SLOWEST_S:g} s: gone after", services_s, "s", most=most)
    table.row("  and shims and supervisor after another", after_s, "s")


def main() -> int:
    """Run the benchmark."""
    table = Table("Stopping services that obey: the slowest one plus 0.2 s")
    with bounded(90):
        for count in COUNTS:
            measure(count, table)
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
