"""kill -9 of the embedded scheduler at random moments, under load: nothing may be lost.

    python -m benchmarks.scheduler_kill [ROUNDS]

Each round (default 100) starts the scheduler on the same data, schedules as fast as it can for a
while, and kills it. Deliveries go on meanwhile. In the end each conversation that was accepted
must have arrived; only those under way at a kill may have come again.
"""

import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2

from benchmarks.common import Table, bounded
from benchmarks.scheduler_stage import completed, free_port, login, receiving, scheduling

SEED = 20261123


def load(http: httpx2.Client, endpoint: str, chance: random.Random, until: float) -> list[str]:
    """Schedule until a moment of the monotonic clock, and return the accepted ids."""
    made = []
    while time.monotonic() < until:
        due = datetime.now(UTC) + timedelta(seconds=0.05 + chance.random() * 0.3)
        arguments = {
            "conversationText": "x",
            "scheduledTime": due.isoformat(),
            "endpoint": endpoint,
        }
        body = {"name": "scheduleConversation", "arguments": arguments}
        answer = http.post("/api/mcptools/execute", json=body)
        if answer.status_code == 200:
            made.append(answer.json()["result"])
    return made


def main() -> int:
    """Run the benchmark."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    chance, made = random.Random(SEED), []
    table = Table(f"The embedded scheduler, killed {rounds} times under load")
    with bounded(60 + 3 * rounds), tempfile.TemporaryDirectory() as place, receiving() as receiver:
        data = Path(place) / "kill.sqlite"
        for _ in range(rounds):
            port = free_port()
            with scheduling(data, port) as child, login(port) as http:
                until = time.monotonic() + 0.1 + chance.random() * 0.5
                made += load(http, receiver.url, chance, until)
                child.kill()
                child.wait()
        port = free_port()
        with scheduling(data, port), login(port) as http:
            deadline = time.monotonic() + 30
            while completed(http) < len(made) and time.monotonic() < deadline:
                time.sleep(0.05)
        counted = receiver.report()["ids"]
    again = sum(1 for one in made if counted.get(one, 0) > 1)
    table.row("conversations accepted", len(made), "")
    table.row("  lost", sum(1 for one in made if one not in counted), "", most=0)
    table.row("  sent again after a kill", again, "", most=64 * rounds)
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
