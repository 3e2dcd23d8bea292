"""Where the bytes go: rotation, damage from outside, full disks, and every byte as it was."""

import contextlib
import ctypes
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.shim.index import GAP, GAP_TRUNCATED, ROTATED, START
from orchestrator.system.identity import is_alive
from orchestrator.system.shims import ShimUnreachable
from tests.integration.shim.stage import assert_numbers, read_text, record, staged, until

pytestmark = pytest.mark.anyio

TIERS = pytest.mark.parametrize(
    "tiers", [{}, {"tee": False}, {"splice": False}], ids=["splice", "no tee", "no splice"]
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def segments(stage: Any) -> list[Path]:
    found = list(stage.log_path.parent.glob("web.*.log"))
    return sorted(found, key=lambda path: int(path.name.split(".")[1]))


def assert_contiguous(stage: Any) -> None:
    """Every segment begins where the one before ends."""
    end = int(segments(stage)[0].name.split(".")[1])
    for path in segments(stage):
        assert int(path.name.split(".")[1]) == end
        end += path.stat().st_size


def append(path: str, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def rss_kib(pid: int) -> int:
    return int(read_text(f"/proc/{pid}/status").partition("VmRSS:")[2].split()[0])


@TIERS
async def test_every_byte_arrives_as_it_was(tmp_path: Path, tiers: dict[str, bool]) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        await stage.start("binary", "1000", "partial", "no newline", "exit", "0")
        await stage.ended()
        assert stage.log() == bytes(range(256)) * 1000 + b"no newline"
        await stage.start("print", "next", "exit", "0")
        await stage.ended()
        # Not glued together for a reader: the index says where the next run begins.
        starts = [offset for offset, _, kind, *_ in stage.index() if kind == START]
        assert starts == [0, 256_010]
        assert stage.log().endswith(b"no newlinenext\n")


async def test_stdout_and_stderr_keep_their_order(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("alternate", "2000")
        await stage.ended()
        assert_numbers(stage.log(), 2000)


@TIERS
async def test_a_huge_line_needs_no_memory(tmp_path: Path, tiers: dict[str, bool]) -> None:
    size = 100 << 20
    async with staged(tmp_path, tiers=tiers, max_size_bytes=None) as stage:
        await stage.start("print", "first", "exit", "0")
        await stage.ended()
        before = rss_kib(stage.shim.pid)
        await stage.start("longline", str(size))
        await stage.ended(within_s=30)
        assert stage.log_path.stat().st_size == size + 1 + 6
        assert rss_kib(stage.shim.pid) - before < 5 * 1024


@TIERS
async def test_rotation_cuts_at_line_ends_and_loses_nothing(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers, max_size_bytes=100_000, keep=1000) as stage:
        await stage.start("numbered", "300000")
        await stage.ended(within_s=20)
        assert_numbers(stage.log(), 300_000)
        assert len(segments(stage)) >= 15
        assert_contiguous(stage)
        for path in segments(stage):
            assert path.read_bytes().endswith(b"\n")
            assert path.stat().st_size < 100_000 + 200
        begun = [offset for offset, _, kind, *_ in stage.index() if kind == ROTATED]
        assert begun[:-1] == [int(path.name.split(".")[1]) for path in segments(stage)][1:]


async def test_a_line_that_never_ends_is_cut_nevertheless(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=1 << 20, keep=100) as stage:
        await stage.start("longline", str(10 << 20))
        await stage.ended(within_s=20)
        assert len(stage.log()) == (10 << 20) + 1
        assert all(path.stat().st_size <= 4 << 20 for path in segments(stage))


async def test_old_segments_are_pruned_and_forgotten(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=50_000, keep=3) as stage:
        await stage.start("numbered", "300000")
        event = await stage.ended(within_s=20)
        assert len(segments(stage)) == 3
        assert_contiguous(stage)
        oldest = int(segments(stage)[0].name.split(".")[1])
        await until(lambda: stage.index()[-1][2] == 2)
        index = stage.index()
        assert [kind for offset, _, kind, *_ in index if offset < oldest] == [START]
        assert event["log_offset"] == sum(len(b"%d\n" % n) for n in range(300_000))
        assert [offset for offset, *_ in index] == sorted(offset for offset, *_ in index)
        # The offsets go on for the next shim.
        hello = (await stage.reopen()).hello
        assert hello["last_run"] == 1
        spawned = await stage.order_start("exit", "0")
        assert spawned["log_offset"] == event["log_offset"]


async def test_no_segment_kept_keeps_the_offsets(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=50_000, keep=0) as stage:
        await stage.start("numbered", "100000")
        offset = (await stage.ended())["log_offset"]
        assert segments(stage) == []
        await stage.reopen()
        assert (await stage.order_start("exit", "0"))["log_offset"] == offset


@pytest.mark.parametrize("point", ["rotate.after_rename", "rotate.after_open"])
async def test_a_death_in_the_middle_of_a_rotation_loses_nothing(
    tmp_path: Path, point: str
) -> None:
    async with staged(
        tmp_path, max_size_bytes=100_000, keep=100, failpoints={point: "kill"}
    ) as stage:
        await stage.start("numbered", "1000000")
        await stage.shim.closed.wait()
        for _ in range(3):
            # It may die before it can greet, and is tried three times then.
            with contextlib.suppress(ShimUnreachable):
                await stage.open()
                await stage.shim.closed.wait()
        await stage.open(failpoints={})
        await stage.ended(within_s=20)
        assert_numbers(stage.log(), 1_000_000)
        assert_contiguous(stage)


@TIERS
async def test_a_removed_log_folder_is_made_again(tmp_path: Path, tiers: dict[str, bool]) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        go = tmp_path / "go"
        await stage.start("print", "before", "wait_file", str(go), "print", "after", "exit", "0")
        await stage.text(b"before")
        shutil.rmtree(stage.log_path.parent)
        go.touch()
        event = await stage.ended()
        assert stage.log() == b"after\n"
        assert stage.log_path.parent.stat().st_mode & 0o777 == 0o700
        assert event["log_offset"] == 13
        await until(lambda: stage.index()[-1][2] == 2)
        assert (7, 1, ROTATED, 0, 0) in stage.index()
        await stage.reopen()
        assert (await stage.order_start("exit", "0"))["log_offset"] == 13


async def test_removing_the_log_under_load_loses_no_later_line(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("numbered", "400000")
        await until(lambda: stage.log_path.stat().st_size > 100_000)
        os.unlink(stage.log_path)
        await stage.ended(within_s=20)
        lines = stage.log().split(b"\n")
        assert lines[-2:] == [b"399999", b""]
        numbers = [int(line) for line in lines[1:-1]]
        assert numbers == list(range(numbers[0], 400_000))


async def test_a_log_moved_away_is_left_to_its_owner(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("numbered_slowly", "200", "0.002", "exit", "0")
        await stage.text(b"\n20\n")
        aside = stage.log_path.with_name("web.log.1")
        os.rename(stage.log_path, aside)
        await stage.ended()
        assert_numbers(aside.read_bytes() + stage.log_path.read_bytes(), 200)
        assert stage.log_path.stat().st_size > 0


async def test_a_log_truncated_from_outside_goes_on_without_holes(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        go = tmp_path / "go"
        await stage.start("binary", "4", "wait_file", str(go), "print", "after", "exit", "0")
        await until(lambda: stage.log_path.stat().st_size == 1024)
        os.truncate(stage.log_path, 0)
        go.touch()
        event = await stage.ended()
        assert stage.log() == b"after\n"
        assert event["log_offset"] == 1030
        await until(lambda: stage.index()[-1][2] == 2)
        assert (1024, 1, GAP, 0, GAP_TRUNCATED) in stage.index()
        await stage.reopen()
        assert (await stage.order_start("exit", "0"))["log_offset"] == 1030


async def test_a_truncation_while_no_shim_lives_is_seen(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("binary", "4", "exit", "0")
        await stage.ended()
        await until(lambda: stage.index()[-1][2] == 2)
        stage.kill_shim()
        await stage.shim.closed.wait()
        os.truncate(stage.log_path, 10)
        await stage.open()
        assert (await stage.order_start("exit", "0"))["log_offset"] == 1034
        assert (1024, 1, GAP, 0, GAP_TRUNCATED) in stage.index()


async def test_a_torn_index_is_repaired(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("print", "x", "exit", "0")
        await stage.ended()
        await until(lambda: stage.index()[-1][2] == 2)
        stage.kill_shim()
        await stage.shim.closed.wait()
        whole = stage.index()
        append(stage.request.index_path, b"torn")
        assert (await stage.open()).hello["last_run"] == 1
        await stage.start("exit", "0")
        assert stage.index()[: len(whole)] == whole
        assert stage.index()[len(whole)][2] == START


async def test_a_log_that_cannot_be_written_makes_the_service_wait_not_lose(
    tmp_path: Path,
) -> None:
    """The service starts nevertheless; its output stands in the pipe until the log can be had."""
    (tmp_path / "logs").write_text("in the way")
    async with staged(tmp_path, opened=False) as stage:
        await stage.open()
        problem = (await stage.event("log"))["problem"]
        assert "logs" in problem
        go = tmp_path / "done"
        await stage.start("numbered", "1000", "touch", str(go), "hang")
        await until(go.exists)
        os.unlink(tmp_path / "logs")
        await until(lambda: stage.events[-1] == {"event": "log", "problem": None, "lossless": True})
        await stage.text(b"999\n")
        assert_numbers(stage.log(), 1000)


async def test_an_end_is_reported_though_the_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    async with staged(tmp_path, opened=False) as stage:
        await stage.open()
        await stage.start("print", "hello", "exit", "5")
        assert (await stage.ended())["code"] == 5
        os.unlink(tmp_path / "logs")
        await stage.text(b"hello\n")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Any:
    """A file system of 1 MiB at logs/."""
    folder = tmp_path / "logs"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=1m,mode=0700"):
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


@TIERS
async def test_a_full_disk_makes_the_service_wait_and_loses_nothing(
    tmp_path: Path, tiny_disk: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers, max_size_bytes=None) as stage:
        filler = tiny_disk / "filler"
        filler.write_bytes(b"f" * 700_000)
        pid = await stage.start("numbered", "140000", "exit", "0")
        assert "ENOSPC" in (await stage.event("log"))["problem"]
        assert is_alive(pid, record(stage, "service.json")["starttime"])
        filler.unlink()
        await stage.ended()
        assert stage.events[-2]["problem"] is None
        assert_numbers(stage.log(), 140_000)


async def test_a_full_disk_costs_the_oldest_segments_first(tmp_path: Path, tiny_disk: Path) -> None:
    async with staged(tmp_path, max_size_bytes=100_000, keep=100) as stage:
        await stage.start("numbered", "400000", "exit", "0")
        await stage.ended(within_s=20)
        assert [event for event in stage.events if event["event"] == "log"] == []
        assert_contiguous(stage)
        assert stage.log().endswith(b"399999\n")


async def test_an_inherited_file_size_limit_is_lifted_for_the_log_alone(tmp_path: Path) -> None:
    import json
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        async with staged(tmp_path, max_size_bytes=None) as stage:
            await stage.start("self", "flood", str(3 << 20), "exit", "0")
            await stage.ended()
            assert stage.log_path.stat().st_size > 3 << 20
            assert json.loads(stage.log().partition(b"\n")[0])["fsize"] == [1 << 20, before[1]]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_flood_is_held_back_to_what_the_disk_takes(tmp_path: Path) -> None:
    async with staged(tmp_path, max_size_bytes=1 << 20, keep=2) as stage:
        await stage.start("flood", "0")
        await until(lambda: len(segments(stage)) == 2)
        stage.shim.send({"op": "kill", "run": 1})
        assert (await stage.ended())["signal"] == 9
        assert sum(path.stat().st_size for path in stage.log_path.parent.glob("web*")) < 6 << 20


async def test_what_one_run_does_to_its_output_does_not_reach_the_next(tmp_path: Path) -> None:
    """O_NONBLOCK belongs to the open file description, which every run has for itself."""
    async with staged(tmp_path) as stage:
        await stage.start("nonblock", "print", "set", "hang")
        await stage.text(b"set")
        os.kill(record(stage, "service.json")["pid"], signal.SIGKILL)
        await stage.ended()
        await stage.start(argv=["seq", "0", "199999"])
        await stage.ended(within_s=10)
        assert_numbers(stage.log().removeprefix(b"set\n"), 200_000)


async def test_stdout_never_turns_readable(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("watched", "2000", "exit", "0")
        await stage.ended(within_s=10)
        assert_numbers(stage.log(), 2000)


async def test_the_service_can_reopen_its_output(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        shutil.rmtree(stage.service_dir)
        shell = "echo one > /dev/stdout; echo two > /dev/stderr; echo three >> /proc/self/fd/1"
        await stage.start(argv=["/bin/sh", "-c", shell])
        await stage.ended()
        assert stage.log() == b"one\ntwo\nthree\n"


async def test_shell_idioms_on_high_descriptors_work(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        shell = "exec 200>lock 255>other && echo fine"
        await stage.start(argv=["bash", "-c", shell])
        await stage.ended()
        assert stage.log() == b"fine\n"
