"""How late we see that a service is ready, alone and among a hundred, and what a chain costs."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Installed, Table, bounded, fine_cpu_s, stack
from tests.stack import free_port

# Waits, listens, tells when it did, and answers every request with 200.
SERVER = """
import os, socket, sys, time
delay_s, port, told = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
time.sleep(delay_s)
server = socket.create_server(("127.0.0.1", port), backlog=64)
with open(told + ".part", "w") as file:
    file.write(repr(time.monotonic()))
os.replace(told + ".part", told)
while True:
    connection = server.accept()[0]
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    connection.close()
"""
WAITS_S = (0.1, 0.3, 1.0, 3.0)
MANY = 100
MANY_WAIT_S = 5.0
CHAIN = 6
LINK_S = 0.4


def server(folder: Path, name: str, delay_s: float, **keys: Any) -> dict[str, Any]:
    """Return a service that becomes ready after ``delay_s``."""
    port = free_port()
    command = [sys.executable, "-S", "-c", SERVER, str(delay_s), str(port), str(folder / name)]
    return {"command": command, "port": port, "health": {"http": "/"}, **keys}


def seen_healthy(made: Installed, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Start the named ones; return of each when it was started and when we heard that it is well.

    The supervisor runs already, and we listen before they start: its own start is no part of it.
    """
    began: dict[str, float] = {}
    well: dict[str, float] = {}
    with made.events() as events:
        next(events)
        made.request("POST", "/v1/start", {"services": names})
        for event in events:
            now, item = time.monotonic(), event.get("item", {})
            name = item.get("name")
            if name in names and item["state"] in ("starting", "running"):
                began.setdefault(name, now - (item["uptime_s"] or 0.0))
                if item["health"] == "healthy":
                    well.setdefault(name, now)
            if len(well) == len(names):
                return {name: (began[name], well[name]) for name in names}
    raise RuntimeError("the stream of events ended early")


@contextlib.contextmanager
def running(services: dict[str, Any]) -> Iterator[Installed]:
    """Run a stack in which only a service that sleeps was started."""
    with stack({"sleeps": {"command": "sleep 1000"}, **services}) as made:
        made.up("sleeps")
        yield made


def lags(table: Table, folder: Path) -> None:
    """Measure services that take different times, one after the other."""
    names = {f"w{n}": wait_s for n, wait_s in enumerate(WAITS_S)}
    services = {name: server(folder, name, wait_s) for name, wait_s in names.items()}
    with running(services) as made:
        for name in names:
            began, well = seen_healthy(made, [name])[name]
            true = float((folder / name).read_text())
            most_ms = 50 * (true - began) + 10
            what = f"seen ready after {true - began:.2f} s"
            table.row(what, (well - true) * 1000, "ms", most=most_ms)


def crowd(table: Table, folder: Path) -> None:
    """Measure a hundred that become ready together: the CPU of waiting, and the lag."""
    services = {f"s{n}": server(folder, f"s{n}", MANY_WAIT_S) for n in range(MANY)}
    with running(services) as made:
        made.request("POST", "/v1/start", {"services": list(services)})
        pid, began = made.supervisor_pid, time.monotonic()
        before_s = fine_cpu_s(pid)
        time.sleep(MANY_WAIT_S * 0.5)
        share = (fine_cpu_s(pid) - before_s) / (time.monotonic() - began) * 100
        table.row(f"CPU while {MANY} are waited for", share, "%", most=50)
        lags_s: dict[str, float] = {}
        while len(lags_s) < MANY:
            items, now = made.snapshot()["services"], time.monotonic()
            for name in {item["name"] for item in items if item["health"] == "healthy"}:
                if name in services and name not in lags_s:
                    lags_s[name] = now - float((folder / name).read_text())
            time.sleep(0.01)
    table.row(f"the last of {MANY} seen ready", max(lags_s.values()) * 1000, "ms")


def chain(table: Table, folder: Path) -> None:
    """Measure services that wait for one another."""
    services = {
        f"c{n}": server(folder, f"c{n}", LINK_S, depends_on=[f"c{n - 1}"] if n else [])
        for n in range(CHAIN)
    }
    with running(services) as made:
        seen = seen_healthy(made, list(services))
    true = [float((folder / f"c{n}").read_text()) for n in range(CHAIN)]
    own_s = sum(true[n] - seen[f"c{n}"][0] for n in range(CHAIN))
    took_s = seen[f"c{CHAIN - 1}"][1] - seen["c0"][0]
    table.row(f"a chain of {CHAIN} against their own times", took_s / own_s, "x", most=1.05)


def main() -> int:
    """Run the benchmark."""
    table = Table("Readiness: budget 5 % of the time waited, plus 10 ms")
    with bounded(150), tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        for part in (lags, crowd, chain):
            part(table, Path(name))
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
