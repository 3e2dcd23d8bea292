"""What a service starts, and that none of it gets away."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.system.identity import Stat, read_stat
from orchestrator.system.tree import children, descendants
from tests.integration.shim.stage import read_text, stage_request, staged, until

pytestmark = pytest.mark.anyio

TIERS = pytest.mark.parametrize(
    "tiers", [{}, {"pidfd": False}, {"subreaper": False}], ids=["fast", "no pidfd", "no subreaper"]
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def assert_empty(stage: Any) -> None:
    """Nothing of the run is left, by the kernel's word and by what it carried."""
    assert descendants(stage.shim.pid) == []
    assert stage.members() == set()


def below(stage: Any) -> list[Stat]:
    return [stat for pid in descendants(stage.shim.pid) if (stat := read_stat(pid))]


async def populated(stage: Any, count: int) -> None:
    await until(lambda: len(stage.members()) >= count)


@TIERS
@pytest.mark.parametrize("escapee", ["setsid", "dfork", "dforkenv", "holdpipe", "member"])
async def test_what_a_dead_leader_leaves_is_killed_at_once(
    tmp_path: Path, escapee: str, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start(escapee, "wait_file", str(tmp_path / "go"), "exit", "3")
        await populated(stage, 2)
        (tmp_path / "go").touch()
        event = await stage.ended()
        assert (event["code"], event["by_us"]) == (3, None)
        assert len(event["leftovers"]) == 1
        await assert_empty(stage)


@TIERS
@pytest.mark.parametrize("escapee", ["setsid", "dfork", "dforkenv", "member"])
async def test_a_kill_takes_the_whole_tree(
    tmp_path: Path, escapee: str, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start("ignterm", escapee, escapee, "hang")
        await populated(stage, 3)
        stage.shim.send({"op": "kill", "run": 1})
        assert (await stage.ended())["signal"] == 9
        await assert_empty(stage)


@pytest.mark.parametrize("microseconds", [0, 20, 200, 1000])
async def test_what_hops_from_pid_to_pid_is_caught(tmp_path: Path, microseconds: int) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hopper", str(microseconds), "print", "ready", "hang")
        await stage.text(b"ready")
        stage.shim.send({"op": "kill", "run": 1})
        await stage.ended(within_s=10)
        await assert_empty(stage)


async def test_an_orphan_with_nothing_of_ours_is_caught(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("dforkclean", "wait_file", str(tmp_path / "go"), "exit", "0")
        await until(lambda: "sleep" in [one.comm for one in below(stage)])
        (tmp_path / "go").touch()
        assert [comm for comm, _ in (await stage.ended())["leftovers"]] == ["sleep"]
        await assert_empty(stage)


@TIERS
async def test_term_that_is_ignored_is_followed_by_kill(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start("ignterm", "print", "ready", "hang")
        await stage.text(b"ready")
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        assert (await stage.event("signalled"))["delivered"]
        stage.shim.send({"op": "kill", "run": 1})
        event = await stage.ended()
        assert (event["signal"], event["by_us"]) == (9, "kill")


@TIERS
async def test_a_stop_is_finished_only_when_the_tree_is_empty(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start("leader_quits", "print", "ready", "hang")
        await stage.text(b"ready")
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        assert (await stage.event("leader"))["code"] == 0
        assert "exit" not in [event["event"] for event in stage.events]
        busy = await stage.order_start("exit", "0")
        assert (busy["event"], busy["run"]) == ("busy", 1)
        stage.shim.send({"op": "kill", "run": 1})
        event = await stage.ended(run=1)
        assert (event["code"], event["by_us"], event["leftovers"]) == (0, "kill", [])
        await assert_empty(stage)


async def test_what_outlives_a_stopped_leader_may_end_by_itself(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("member", "member", "on_term", "0", "print", "ready", "hang")
        await stage.text(b"ready")
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        event = await stage.ended()
        assert (event["code"], event["by_us"]) == (0, "signal")


async def test_a_stopped_process_gets_the_signal(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("on_term", "4", "stop", "hang")
        await until(lambda: (stat := read_stat(pid)) and stat.state == "T")
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        assert (await stage.ended())["code"] == 4


@TIERS
async def test_a_service_that_turns_itself_into_a_daemon_is_ended(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start("daemonize", "ignterm", "hang")
        event = await stage.ended()
        assert event["code"] == 0
        assert 1 <= len(event["leftovers"]) <= 2
        await assert_empty(stage)


async def test_closed_output_is_no_end(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start(
            "print", "bye", "closeall", "touch", str(tmp_path / "closed"), "hang"
        )
        await until((tmp_path / "closed").exists)
        await stage.text(b"bye")
        before = cpu_ticks(stage.shim.pid)
        stage.shim.send({"op": "tree"})
        assert (await stage.event("tree"))["pids"][0][0] == pid
        with anyio.move_on_after(0.5):
            await stage.ended()
        assert cpu_ticks(stage.shim.pid) - before <= 3
        os.kill(pid, signal.SIGKILL)
        assert (await stage.ended())["signal"] == 9


def cpu_ticks(pid: int) -> int:
    fields = read_text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


@TIERS
async def test_a_thousand_orphans_are_reaped(tmp_path: Path, tiers: dict[str, bool]) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start("orphans", "1000", "print", "done", "hang")
        await stage.text(b"done", within_s=30)
        if not tiers.get("subreaper", True):
            stage.reap()
        await until(lambda: len(children(stage.shim.pid)) <= 5, 1)


async def test_an_exit_held_by_a_debugger_is_said_and_reported_later(tmp_path: Path) -> None:
    """A tracer that does not wait keeps the dead from being reaped; the shim must not hang."""
    import ctypes
    import threading

    async with staged(tmp_path) as stage:
        pid = await stage.start("print", "ready", "hang")
        await stage.text(b"ready")
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        seized, leave = threading.Event(), threading.Event()
        outcome: list[int] = []

        def trace() -> None:
            outcome.append(libc.ptrace(0x4206, pid, None, None))  # PTRACE_SEIZE
            seized.set()
            leave.wait(10)
            os.waitpid(pid, 0x40000000)  # __WALL: let the dead go

        thread = threading.Thread(target=trace)
        thread.start()
        try:
            await until(seized.is_set)
            if outcome != [0]:
                pytest.skip("this machine lets nobody trace")
            os.kill(pid, signal.SIGKILL)
            assert (await stage.event("traced"))["pid"] > 0
            stage.shim.send({"op": "tree"})
            await stage.event("tree")
            assert "exit" not in [event["event"] for event in stage.events]
        finally:
            leave.set()
            await anyio.to_thread.run_sync(thread.join)
        assert (await stage.ended())["signal"] == 9


async def test_many_shims_are_asked_for_at_once(tmp_path: Path) -> None:
    async with staged(tmp_path, opened=False) as stage:
        shims = []

        async def one(number: int) -> None:
            request = stage_request(tmp_path, f"s{number}")
            shims.append(await stage.spawner.shim(request, lambda _: None))

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(one, number)
        assert len({shim.pid for shim in shims}) == 60
        for shim in shims:
            shim.send({"op": "quit"})
        for shim in shims:
            await shim.closed.wait()
