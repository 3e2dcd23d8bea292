"""Commands that probes run: bounded in time, output and processes."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator.system.spawner import Spawner
from orchestrator.system.tree import descendants
from tests.integration.shim.stage import EVIL, until

pytestmark = pytest.mark.anyio

ENV = {"PATH": os.environ["PATH"]}
PYTHON = [sys.executable, "-I", "-S", EVIL]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def left(pid: int) -> list[int]:
    """What lives below the spawner."""
    return descendants(pid)


async def test_a_command_tells_its_code_and_its_words() -> None:
    async with Spawner.start() as spawner:
        argv = ["sh", "-c", "echo out; echo err >&2; pwd; exit 3"]
        result = await spawner.run_probe(argv, ENV, "/tmp", 5)
        assert (result.code, result.signal, result.timed_out) == (3, None, False)
        assert result.output == "out\nerr\n/tmp\n"
        assert result.refused is None
        assert 0 < result.duration_s < 5


async def test_a_command_that_hangs_is_killed_with_all_it_started() -> None:
    async with Spawner.start() as spawner:
        words = ["ignterm", "setsid", "dfork", "print", "waiting", "hang"]
        result = await spawner.run_probe([*PYTHON, *words], ENV, "/", 0.5)
        assert result.timed_out
        assert (result.code, result.output) == (None, "waiting\n")
        assert 0.5 <= result.duration_s < 2
        await until(lambda: left(spawner.pid) == [])


async def test_what_a_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    """A command that is done, but whose orphan keeps the pipe open, is done."""
    async with Spawner.start() as spawner:
        with anyio.fail_after(5):
            result = await spawner.run_probe([*PYTHON, "holdpipe", "exit", "0"], ENV, "/", 60)
        assert result.code == 0
        await until(lambda: left(spawner.pid) == [])


async def test_a_cancelled_probe_leaves_nothing(tmp_path: Path) -> None:
    async with Spawner.start() as spawner:
        marker = tmp_path / "up"
        argv = [*PYTHON, "setsid", "touch", str(marker), "hang"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spawner.run_probe, argv, ENV, "/", 60.0)
            await until(marker.exists)
            tasks.cancel_scope.cancel()
        await until(lambda: left(spawner.pid) == [])


async def test_of_much_output_the_end_is_kept() -> None:
    async with Spawner.start() as spawner:
        words = ["flood", "5000000", "print", "the end"]
        result = await spawner.run_probe([*PYTHON, *words], ENV, "/", 10, 1000)
        assert len(result.output) == 1000
        assert result.output.endswith("x\nthe end\n")
        result = await spawner.run_probe(["echo", "x"], ENV, "/", 10, 0)
        assert result.output == ""


async def test_a_command_that_cannot_start_says_why() -> None:
    async with Spawner.start() as spawner:
        result = await spawner.run_probe(["nonesuch"], {"PATH": "/bin"}, "/", 5)
        assert result.code is None
        assert result.refused is not None
        assert result.refused.errno == 2
        assert "cannot start 'nonesuch'" in result.refused.text


async def test_a_whole_environment_goes_through() -> None:
    async with Spawner.start() as spawner:
        env = ENV | {f"V{number}": "ü" * 1000 for number in range(500)}
        argv = ["sh", "-c", "echo ${#V499}"]
        result = await spawner.run_probe(argv, env, "/", 5)
        assert result.output.strip() in ("1000", "2000")


async def test_many_probes_at_once(tmp_path: Path) -> None:
    async with Spawner.start() as spawner:
        codes = []

        async def probe(code: int) -> None:
            argv = ["sh", "-c", f"exit {code}"]
            codes.append((await spawner.run_probe(argv, ENV, "/", 20)).code)

        async with anyio.create_task_group() as tasks:
            for code in range(40):
                tasks.start_soon(probe, code)
        assert sorted(code for code in codes if code is not None) == list(range(40))
