"""The control socket, where cleaners of temporary files are about."""

import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestrator.control.presence import serve_at
from orchestrator.control.server import bind
from tests.fakes import FakeClock


async def serve(server: socket.socket) -> None:
    """Hold the socket open, as a server does, until cancelled."""
    with server:
        await anyio.sleep_forever()


@asynccontextmanager
async def served(path: Path, clock: FakeClock) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_at, path, bind(path), serve, clock)
        await anyio.wait_all_tasks_blocked()
        yield
        tasks.cancel_scope.cancel()


def is_there(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def sweep(path: Path) -> None:
    path.unlink()


def seen(path: Path) -> os.stat_result:
    return path.stat()


def mode(path: Path) -> int:
    return stat.S_IMODE(seen(path).st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # A socket's path has 107 bytes at most, for those who connect by it.
    folder = tmp_path / "r"
    folder.mkdir(mode=0o700)
    return folder / "control.sock"


async def test_a_swept_socket_is_bound_again_within_a_minute(path: Path) -> None:
    clock = FakeClock()
    async with served(path, clock):
        sweep(path)
        await clock.advance(60)
        assert is_there(path)
        assert mode(path) == 0o600
        sweep(path)
        await clock.advance(60)
        assert is_there(path)


async def test_a_swept_folder_is_made_again_for_this_user_alone(path: Path) -> None:
    clock = FakeClock()
    async with served(path, clock):
        shutil.rmtree(path.parent)
        await clock.advance(60)
        assert is_there(path)
        assert mode(path.parent) == 0o700


async def test_who_is_connected_already_stays_connected(path: Path) -> None:
    clock = FakeClock()
    async with served(path, clock):
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(path))
            sweep(path)
            await clock.advance(60)
            early.setblocking(False)
            with pytest.raises(BlockingIOError):
                early.recv(1)


async def test_a_socket_that_is_there_stays_and_is_kept_young(path: Path) -> None:
    clock = FakeClock()
    async with served(path, clock):
        before = seen(path)
        os.utime(path, (1, 1))
        await clock.advance(60)
        after = seen(path)
        assert after.st_ino == before.st_ino
        assert after.st_mtime >= before.st_mtime


async def test_a_folder_that_cannot_be_made_is_tried_again(path: Path) -> None:
    clock = FakeClock()
    async with served(path, clock):
        shutil.rmtree(path.parent)
        path.parent.write_text("in the way")
        await clock.advance(60)
        assert not is_there(path)
        sweep(path.parent)
        await clock.advance(60)
        assert is_there(path)
