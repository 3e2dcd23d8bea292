"""Reading logs while another process writes them, rotates them and drops the oldest."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.logs.follow import Follower
from orchestrator.logs.lines import PIECE_BYTES
from orchestrator.logs.query import Line, Query, ServiceEvent, read
from orchestrator.logs.tail import RunOutput
from tests.logwriter import LogWriter

ROOT = Path(__file__).parents[3]
COUNT = 100_000


@contextlib.contextmanager
def fast_writer(path: Path, *numbers: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that writes numbered lines as fast as it can."""
    words = [sys.executable, "-m", "tests.logwriter", str(path), *map(str, numbers)]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def number_of(line: Line) -> int:
    return int(line.text.removeprefix(b"line "))


@pytest.mark.parametrize("segment_bytes", [20_000, 1_000_000])
def test_a_follower_gets_every_line_once_while_it_is_written(
    tmp_path: Path, segment_bytes: int
) -> None:
    path = tmp_path / "a.log"
    follower = Follower({"a": path})
    seen: list[int] = []
    events: list[str] = []
    with fast_writer(path, COUNT, segment_bytes, 100_000) as process:
        deadline = time.monotonic() + 30
        while "exit" not in events and time.monotonic() < deadline:
            for item in follower.poll():
                if isinstance(item, ServiceEvent):
                    events.append(item.event)
                else:
                    assert (item.run, item.partial) == (1, False)
                    seen.append(number_of(item))
        process.wait(5)
    follower.close()
    assert seen == list(range(COUNT))
    assert events == ["start", "exit"]


def test_history_and_following_make_one_whole_wherever_they_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with fast_writer(path, COUNT, 50_000, 100_000) as process:
        meetings = 0
        while process.poll() is None:
            follower = Follower({"a": path})
            seen = [number_of(one) for one in follower.before(Query(50)) if isinstance(one, Line)]
            for _ in range(3):
                seen += [number_of(one) for one in follower.poll() if isinstance(one, Line)]
            follower.close()
            assert seen == list(range(seen[0], seen[0] + len(seen))) if seen else True
            meetings += 1
    assert meetings > 5


def test_what_is_read_while_segments_come_and_go_is_never_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with fast_writer(path, COUNT, 20_000, 3) as process:
        looks = 0
        while process.poll() is None:
            end = -1
            for item in read({"a": path}, Query(200)):
                if isinstance(item, Line) and item.ended:
                    # What follows a gap may be the end of a line; of all others the offset is
                    # known from the number alone.
                    if item.seq == end:
                        assert item.seq == offset_of(number_of(item))
                    assert item.run == 1
                    end = item.seq + len(item.text) + 1
            looks += 1
    assert looks > 5


def test_the_output_of_a_run_is_read_whole_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    output = RunOutput(path, 0)
    seen = 0
    with fast_writer(path, COUNT, 200_000, 100_000) as process:
        while process.poll() is None or seen < COUNT:
            for line in output.new_lines():
                # A line that grew is told again, whole.
                if line == f"line {seen}":
                    seen += 1
                else:
                    assert f"line {seen}".startswith(line) or line == f"line {seen - 1}"
    assert seen == COUNT


READ_ALL = """
import resource, sys
from pathlib import Path
from orchestrator.logs.follow import Follower
from orchestrator.logs.query import Line, Query, read
from orchestrator.logs.redact import Redactor
from orchestrator.logs.shown import shown
from orchestrator.logs.tail import tail
logs = {"a": Path(sys.argv[1])}
hidden = Redactor(["topsecret"])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sum(1 for _ in read(logs, Query(0)))
before = peak()
lines = size = 0
for one in read(logs, Query(2)):
    lines, size = lines + 1, size + len(shown(one, hidden))
follower, followed = Follower(logs, {"a": 0}), 0
while found := follower.poll():
    followed += len(found)
print(lines, size, followed, tail(logs["a"], 1), peak() - before)
"""


def test_a_line_of_100_mb_is_read_with_flat_memory(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "a.log")
    writer.write(b"short\n")
    with writer.path.open("ab") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    writer.offset += 100_000_000
    writer.write(b"\nafter\n")
    words = [sys.executable, "-c", READ_ALL, str(writer.path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, timeout=20)
    lines, size, followed, last, grown_kb = done.stdout.split()
    pieces = -(-100_000_000 // PIECE_BYTES)
    assert (int(lines), int(size)) == (pieces + 1, 100_000_000 + len("after"))
    assert (int(followed), last) == (pieces + 2, b"['after']")
    assert int(grown_kb) < 12_000


def offset_of(number: int) -> int:
    """Return where "line n" begins when all lines since 0 stand before it."""
    digits, total, low = 1, 0, 0
    while number > (high := 10**digits):
        total += (high - low) * (6 + digits)
        low, digits = high, digits + 1
    return total + (number - low) * (6 + digits)


def test_looking_at_a_quiet_log_costs_a_few_system_calls(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "a.log")
    writer.start()
    writer.write(b"line\n")
    follower = Follower({"a": writer.path}, {"a": 0})
    assert len(follower.poll()) == 1

    def cost_s(look: Callable[[], object]) -> float:
        before = time.process_time()
        for _ in range(5000):
            look()
        return time.process_time() - before

    assert cost_s(follower.poll) < 40 * cost_s(lambda: os.stat(writer.path))
    follower.close()
