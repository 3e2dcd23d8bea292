"""What a line of 100 MB without an end costs in memory: shim, supervisor, and `logs`."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import MIB, Table, bounded, memory_bytes, stack, written
from tests.stack import wait_until

LINE_BYTES = 100_000_000
WRITER = f"""
import os, time
block = b"x" * 65536
open("go").read()
left = {LINE_BYTES}
while left:
    left -= os.write(1, block[:left])
time.sleep(1000)
"""


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory count from now on. Source: proc(5), clear_refs."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def main() -> int:
    """Run the benchmark."""
    table = Table(f"A line of {LINE_BYTES // 1_000_000} MB")
    with bounded(120), stack({"one": {"command": [sys.executable, "-S", "-c", WRITER]}}) as made:
        os.mkfifo(made.folder / "go")
        made.up()
        (shim,) = made.shim_pids()
        before = {}
        for name, pid in (("shim", shim), ("supervisor", made.supervisor_pid)):
            forget_peak(pid)
            before[name] = pid, memory_bytes(pid, "VmRSS")
        (made.folder / "go").write_text("go")
        wait_until(lambda: written(made, "one") >= LINE_BYTES, 60, "the whole line")
        for name, (pid, at_first) in before.items():
            grown = memory_bytes(pid, "VmHWM") - at_first
            table.row(f"the {name}'s memory grew by", grown / MIB, "MiB", most=1)
        reader = made.start("logs", "-n", "1", "one", stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(reader.pid, 0)
        reader.returncode = os.waitstatus_to_exitcode(status)
        if reader.returncode:
            table.over.append("logs")
        table.row("`logs -n 1`: peak memory of the command", usage.ru_maxrss / 1024, "MiB")
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
