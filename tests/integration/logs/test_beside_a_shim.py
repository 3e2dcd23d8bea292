"""The reader and the real shim agree on segments, offsets, times and events."""

import time
from pathlib import Path

import pytest

from orchestrator.logs.follow import Follower
from orchestrator.logs.index import Kind
from orchestrator.logs.query import Item, Line, Query, ServiceEvent, read
from orchestrator.logs.tail import RunOutput, tail
from tests.integration.shim.stage import Stage, staged, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def told(items: list[Item]) -> list[tuple[int, str]]:
    """The run of each item, and its text or event."""
    return [(one.run, one.text.decode() if isinstance(one, Line) else one.event) for one in items]


async def run_twice(stage: Stage) -> None:
    await stage.start("numbered", "3000", "partial", "no end", "exit", "3")
    await stage.ended(run=1)
    await stage.start("numbered", "3000", "hang")
    await until(lambda: stage.log().count(b"\n2999\n") == 2)
    stage.shim.send({"op": "kill", "run": 2})
    # The report of an end comes before its record.
    await until(lambda: [one[1] for one in stage.index() if one[2] == Kind.EXIT] == [1, 2])


EXPECTED = [
    (1, "start"),
    *((1, str(number)) for number in range(3000)),
    (1, "no end"),
    (1, "exit"),
    (2, "start"),
]


async def test_what_a_shim_wrote_is_read_with_its_runs_over_segments(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=4096, keep=100) as stage:
        begun = time.time()
        await run_twice(stage)
        items = list(read({"web": stage.log_path}, Query(None)))
        assert told(items)[: len(EXPECTED)] == EXPECTED
        assert told(items)[-1] == (2, "exit")
        exits = [one for one in items if isinstance(one, ServiceEvent) and one.event == "exit"]
        assert [(one.code, one.signal) for one in exits] == [(3, None), (None, 9)]
        assert all(begun <= (one.ts or 0) <= time.time() for one in items)
        at = 0
        for one in items:
            assert one.seq == at
            if isinstance(one, Line):
                at += len(one.text) + one.ended
        first = [one for one in told(items) if one[0] == 1]
        assert told(list(read({"web": stage.log_path}, Query(None, run=-1)))) == first
        assert tail(stage.log_path, 1) == ["2999"]


async def test_a_follower_goes_with_a_shim_through_runs_and_rotations(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=4096, keep=100) as stage:
        follower = Follower({"web": stage.log_path})
        await run_twice(stage)
        items: list[Item] = []
        while found := follower.poll():
            items += found
        follower.close()
        assert items == list(read({"web": stage.log_path}, Query(None)))


async def test_the_output_of_a_run_begins_where_the_shim_says(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=4096, keep=3) as stage:
        await stage.start("numbered", "5000", "exit", "0")
        await stage.ended(run=1)
        await stage.start("print", "listening", "exit", "0")
        await stage.ended(run=2)
        spawned = [one for one in stage.events if one["event"] == "spawned"]
        output = RunOutput(stage.log_path, spawned[-1]["log_offset"])
        assert output.new_lines() == ["listening"]
