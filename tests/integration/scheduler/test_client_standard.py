"""`SchedulerClient` over standard MCP: the older era, both forms of answers, a hanging server."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from orchestrator.scheduler import (
    NotFound,
    Rejected,
    SchedulerClient,
    Status,
    TimedOut,
    Unreachable,
)
from tests.integration.scheduler.stage import API_KEY, Process, free_port, running, wait_until

pytestmark = pytest.mark.anyio
WHERE = "http://127.0.0.1:9/x"
NOBODY = "00000000-0000-0000-0000-000000000000"
SERVER = Path(__file__).with_name("legacy_server.py")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def make(folder: Path, port: int, form: str) -> Process:
    command = [sys.executable, str(SERVER), str(port), form]
    return Process(command, folder / "legacy.log")


@pytest.fixture(params=["json", "stream"])
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    with running(make(tmp_path, free_port(), request.param)) as process:
        wait_until(lambda: is_open(process.port))
        yield process


def is_open(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_the_older_era_is_spoken_where_the_server_knows_no_other(legacy: Process) -> None:
    async with SchedulerClient(f"{legacy.url}/mcp", "me", "k") as client:
        assert await client.check() == "standard MCP (initialize)"
        assert len(await client.tools()) == 3
        made = await client.schedule("x", later(), WHERE)
        assert await client.status(made) is Status.SCHEDULED
        assert await client.cancel(made) is True
        assert await client.cancel(made) is False
        with pytest.raises(NotFound):
            await client.status(NOBODY)
        with pytest.raises(Rejected) as error:
            await client.schedule("x", "2020-01-01", WHERE)
        assert (
            error.value.words == "Scheduled time must be in the future (Parameter 'scheduledTime')"
        )


async def test_a_restart_loses_its_sessions_and_not_the_client(
    legacy: Process, tmp_path: Path
) -> None:
    async with SchedulerClient(f"{legacy.url}/mcp", "me", "k") as client:
        assert await client.schedule("x", later(), WHERE)
        port = legacy.port
        legacy.child.kill()
        await anyio.to_thread.run_sync(legacy.ends)
        with pytest.raises(Unreachable):
            await client.status(NOBODY)
        with running(make(tmp_path, port, legacy.command[-1])):
            await anyio.to_thread.run_sync(wait_until, lambda: is_open(port))
            made = await client.schedule("x", later(), WHERE)
            assert await client.status(made) is Status.SCHEDULED


async def test_fifty_at_once_work_in_the_older_era_too(legacy: Process) -> None:
    made: list[str] = []

    async def one() -> None:
        made.append(await client.schedule("x", later(), WHERE))

    url = f"{legacy.url}/mcp"
    async with (
        SchedulerClient(url, "me", "k", timeout_s=30) as client,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(50):
            tasks.start_soon(one)
    assert len(set(made)) == 50


async def test_a_server_that_hangs_times_out_and_is_used_again(scheduler: Process) -> None:
    url = f"{scheduler.url}/mcp"
    async with SchedulerClient(url, "me", API_KEY) as patient:
        await patient.check()  # the server has imported the SDK
    async with SchedulerClient(url, "me", API_KEY, timeout_s=1.0) as client:
        assert await client.check() == "standard MCP (2026-07-28)"
        scheduler.child.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(TimedOut) as error:
                await client.schedule("x", later(), WHERE)
            assert error.value.may_have_happened
            assert time.monotonic() - started < 3
        finally:
            scheduler.child.send_signal(signal.SIGCONT)
        made = await client.schedule("y", later(), WHERE)
        assert await client.status(made) is Status.SCHEDULED
