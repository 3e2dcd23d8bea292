"""A killed shim loses nothing: its successor finds the service, its remains, or how it ended."""

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator.shim import sys_linux
from orchestrator.system.identity import Identity, open_pidfd, read_stat
from orchestrator.system.shims import ShimLocked, ShimUnreachable, connect_shim
from orchestrator.system.spawner import Spawner
from tests.integration.shim.stage import assert_numbers, read_text, record, staged, until

pytestmark = pytest.mark.anyio

TIERS = pytest.mark.parametrize(
    "tiers", [{}, {"pidfd": False}, {"procfd": False}], ids=["fast", "no pidfd", "no procfd"]
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@TIERS
async def test_a_live_service_is_adopted(tmp_path: Path, tiers: dict[str, bool]) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        pid = await stage.start("on_term", "6", "print", "ready", "hang")
        await stage.text(b"ready")
        hello = (await stage.reopen()).hello
        assert (hello["run"]["pid"], hello["run"]["run"], hello["run"]["state"]) == (
            pid, 1, "running",
        )  # fmt: skip
        assert (await stage.order_start("exit", "0"))["event"] == "busy"
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        event = await stage.ended(run=1)
        stage.reap()
        assert (event["pid"], event["by_us"]) == (pid, "signal")
        assert event["code"] == 6
        assert stage.log() == b"ready\ngot TERM\n"


async def test_the_shim_killed_at_random_under_a_writer_loses_no_line(tmp_path: Path) -> None:
    dice = random.Random(20)
    async with staged(tmp_path, max_size_bytes=2 << 20, keep=1000) as stage:
        pid = await stage.start("numbered", "9000000", "exit", "23")
        kills = 0
        while kills < 60:
            await anyio.sleep(dice.uniform(0, 0.02))
            hello = (await stage.reopen()).hello
            if hello["run"] is None:
                break
            assert hello["run"]["pid"] == pid
            kills += 1
        event = await stage.ended(within_s=30)
        assert event["code"] == 23
        assert kills >= 50
        assert_numbers(stage.log(), 9_000_000)


async def test_double_kill_of_shim_and_spawner_loses_no_line(tmp_path: Path) -> None:
    dice = random.Random(21)
    async with staged(tmp_path) as stage:
        await stage.start("numbered", "2000000", "exit", "0")
        for _ in range(10):
            await anyio.sleep(dice.uniform(0, 0.02))
            os.kill(stage.spawner.pid, signal.SIGKILL)
            await stage.reopen()
        assert (await stage.ended(within_s=30))["code"] == 0
        assert_numbers(stage.log(), 2_000_000)


async def test_output_outlives_everybody_but_the_service_itself(tmp_path: Path) -> None:
    """Without shim and supervisor the service's own reading end keeps its pipe."""
    async with staged(tmp_path, opened=False) as stage:
        await stage.open()
        go, done = tmp_path / "go", tmp_path / "done"
        words = ("wait_file", str(go), "numbered", "5000", "touch", str(done), "hang")
        await stage.start(*words)
        stage.kill_shim()
        await stage.shim.closed.wait()
        go.touch()
        await until(done.exists)
        await stage.open()
        await stage.text(b"4999\n")
        assert_numbers(stage.log(), 5000)


async def test_the_last_words_are_in_the_log_though_all_die(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("print", "marker", "hang")
        await stage.text(b"marker")
        stage.kill_shim()
        os.kill(pid, signal.SIGKILL)
        await stage.shim.closed.wait()
        assert stage.log() == b"marker\n"
        await stage.open()
        assert (await stage.ended())["signal"] == 9


async def test_a_death_before_the_record_leaves_no_second_copy(tmp_path: Path) -> None:
    """Killed between spawn and record: the run is found by what it holds, and adopted."""
    async with staged(tmp_path, failpoints={"spawn.before_record": "kill"}) as stage:
        with pytest.raises(TimeoutError):
            await stage.event("spawned", within_s=0.01)
        for _ in range(5):
            with pytest.raises(TimeoutError), anyio.fail_after(0.2):
                await stage.order_start("print", "ready", "hang")
            await stage.shim.closed.wait()
            hello = (await stage.open()).hello
            run = hello["run"]
            assert run["run"] == stage.runs
            assert hello["last_run"] == stage.runs
            assert len(stage.members()) == 1
            assert record(stage, "service.json")["pid"] == run["pid"]
            assert record(stage, "service.json")["spec"] == {"words": ["print", "ready", "hang"]}
            stage.shim.send({"op": "kill", "run": stage.runs})
            await stage.ended()
            stage.reap()


@pytest.mark.parametrize("point", ["exit.before_reap", "exit.before_record"])
async def test_a_death_between_an_end_and_its_record_loses_no_code(
    tmp_path: Path, point: str
) -> None:
    async with staged(tmp_path, failpoints={point: "kill"}) as stage:
        await stage.start("exit", "42")
        await stage.shim.closed.wait()
        stage.events.clear()
        hello = (await stage.open(failpoints={})).hello
        assert hello["run"] is None
        assert (await stage.ended())["code"] == 42
        await until(lambda: (stage.service_dir / "exit.json").exists())
        # Told once, and not again by the next one.
        stage.events.clear()
        await stage.reopen()
        stage.shim.send({"op": "tree"})
        await stage.event("tree", run=None)
        assert "exit" not in [event["event"] for event in stage.events]


async def test_an_end_that_nobody_saw_is_told_by_the_zombie(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        go = tmp_path / "go"
        pid = await stage.start("wait_file", str(go), "exit", "9")
        stage.kill_shim()
        await stage.shim.closed.wait()
        go.touch()
        await until(lambda: (stat := read_stat(pid)) and stat.state == "Z")
        await stage.open()
        assert (await stage.ended())["code"] == 9


async def test_an_end_that_the_supervisor_reaped_is_handed_on(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        go = tmp_path / "go"
        pid = await stage.start("wait_file", str(go), "exit", "9")
        stage.kill_shim()
        await stage.shim.closed.wait()
        go.touch()
        await until(lambda: (stat := read_stat(pid)) and stat.state == "Z")
        stage.reap()
        assert read_stat(pid) is None
        await stage.open(ended=[orphan.as_ended() for orphan in stage.orphans])
        assert (await stage.ended())["code"] == 9


async def test_a_code_that_nobody_knows_is_not_invented(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        go = tmp_path / "go"
        pid = await stage.start("wait_file", str(go), "exit", "0")
        stage.kill_shim()
        await stage.shim.closed.wait()
        go.touch()
        await until(lambda: (stat := read_stat(pid)) and stat.state == "Z")
        stage.reap()
        await stage.open()
        event = await stage.ended()
        assert (event["code"], event["signal"]) == (None, None)
        await until(lambda: stage.index()[-1][2:] == (2, 0, 0xFFFF))


async def test_the_code_of_an_adopted_run_survives_a_quick_reaper(tmp_path: Path) -> None:
    """Reaped by its new parent before we look: the kernel still tells through our pidfd."""
    async with staged(tmp_path) as stage:
        go = tmp_path / "go"
        pid = await stage.start("wait_file", str(go), "exit", "11")
        await stage.reopen()
        stat = read_stat(pid)
        assert stat is not None
        pidfd = open_pidfd(pid, stat.starttime)
        assert pidfd is not None
        os.kill(stage.shim.pid, signal.SIGSTOP)
        go.touch()

        def is_reaped() -> bool:
            stage.reap()
            return read_stat(pid) is None

        await until(is_reaped)
        known = sys_linux.exit_status(pidfd)
        os.close(pidfd)
        os.kill(stage.shim.pid, signal.SIGCONT)
        event = await stage.ended()
        assert event["code"] == (11 if known is not None else None)


@TIERS
@pytest.mark.parametrize("escapee", ["setsid", "dfork", "dforkenv", "member", "holdpipe"])
async def test_the_remains_of_an_adopted_run_are_killed(
    tmp_path: Path, escapee: str, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        before, go = tmp_path / "before", tmp_path / "go"
        words = (escapee, "wait_file", str(before), escapee, "wait_file", str(go), "exit", "4")
        await stage.start(*words)
        await until(lambda: len(stage.members()) >= 2)
        await stage.reopen()
        # An orphan made after the shim's death falls to the supervisor, not to the new shim.
        before.touch()
        await until(lambda: len(stage.members()) >= 3)
        go.touch()
        event = await stage.ended()
        assert event["code"] == 4
        assert len(event["leftovers"]) == 2
        assert stage.members() == set()
        stage.reap()


async def test_a_stop_that_a_dead_shim_began_is_still_a_stop(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("leader_quits", "print", "ready", "hang")
        await stage.text(b"ready")
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        await stage.event("leader")
        run = (await stage.reopen()).hello["run"]
        assert (run["state"], run["stopping"]) == ("exiting", True)
        # What outlives the leader keeps its grace: the deadline is the client's.
        with pytest.raises(TimeoutError):
            await stage.event("exit", within_s=0.3)
        stage.shim.send({"op": "kill", "run": 1})
        event = await stage.ended()
        assert (event["code"], event["by_us"]) == (0, "kill")
        assert stage.members() == set()


async def test_a_number_given_to_another_process_is_never_signalled(tmp_path: Path) -> None:
    """In a pid namespace of its own, where a number can be had again at once."""
    script = tmp_path / "reuse.py"
    script.write_text(REUSE)
    argv = ["unshare", "-pf", "--mount-proc", sys.executable, str(script)]
    done = await anyio.run_process(argv, check=False, cwd=Path(__file__).parents[3])
    if b"Operation not permitted" in done.stderr or b"cannot choose" in done.stdout:
        pytest.skip("this user may not choose process numbers")
    assert done.stdout.splitlines() == [b"reused", b"not signalled", b"alive", b"gone"], done.stderr


REUSE = """
import os, sys, time
sys.path.insert(0, os.getcwd())
from orchestrator.shim import identity

def pause():
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid

first = pause()
was = identity.read_stat(first)
os.kill(first, 9)
os.waitpid(first, 0)
time.sleep(0.05)  # identity counts in ticks of 10 ms
try:
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(first - 1))
except OSError:
    print("cannot choose")
    sys.exit()
second = pause()
print("reused" if second == first else "another number")
for by_pidfd in (True, False):
    if identity.send_signal(first, was.starttime, 9, by_pidfd=by_pidfd):
        print("signalled")
print("not signalled")
stat = identity.read_stat(second)
print("alive" if identity.is_alive(second, stat.starttime) else "dead")
print("gone" if not identity.is_alive(first, was.starttime) else "mistaken")
os.kill(second, 9)
"""


async def test_nothing_starts_while_a_remain_of_a_dead_run_lives(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("leader_quits", "print", "ready", "hang")
        await stage.text(b"ready")
        stage.kill_shim()
        await stage.shim.closed.wait()
        os.kill(pid, signal.SIGTERM)
        await until(lambda: (stat := read_stat(pid)) and stat.state == "Z")
        assert len(stage.members()) == 1
        hello = (await stage.open()).hello
        assert hello["run"]["state"] == "exiting"
        event = await stage.ended()
        assert event["code"] == 0
        assert stage.members() == set()


async def test_another_process_with_the_same_number_is_not_the_service(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hang")
        stage.shim.send({"op": "kill", "run": 1})
        await stage.ended()
        await until(lambda: (stage.service_dir / "exit.json").exists())
        stage.shim.send({"op": "quit"})
        await stage.shim.closed.wait()
        stranger = Identity.of(os.getpid())
        assert stranger is not None
        path = stage.service_dir / "service.json"
        kept = json.loads(path.read_text())
        (stage.service_dir / "exit.json").unlink()
        # The number of a process that lives, but with another start time.
        path.write_text(json.dumps(kept | {"pid": stranger.pid}))
        stage.events.clear()
        assert (await stage.open()).hello["run"] is None
        assert (await stage.ended())["pid"] == stranger.pid
        assert not Identity(
            stranger.boot_id, stranger.pidns, stranger.pid, stranger.starttime + 1
        ).is_alive()
        assert not Identity("other", stranger.pidns, stranger.pid, stranger.starttime).is_alive()
        assert stranger.is_alive()


async def test_the_record_of_another_boot_means_nobody(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("print", "x", "exit", "0")
        await stage.ended()
        stage.shim.send({"op": "quit"})
        await stage.shim.closed.wait()
        path = stage.service_dir / "service.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "another"}))
        stage.events.clear()
        assert (await stage.open()).hello["run"] is None
        event = await stage.ended()
        assert (event["pid"], event["code"], event["signal"]) == (pid, None, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "x"}', '{"version": 1}'])
async def test_a_damaged_record_does_not_hide_who_lives(tmp_path: Path, text: str) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("print", "ready", "hang")
        await stage.text(b"ready")
        stage.kill_shim()
        await stage.shim.closed.wait()
        (stage.service_dir / "service.json").write_text(text)
        run = (await stage.open()).hello["run"]
        assert (run["pid"], run["run"]) == (pid, 1)
        stage.shim.send({"op": "kill", "run": 1})
        assert (await stage.ended())["signal"] == 9
        stage.reap()


async def test_only_one_shim_holds_a_service(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        with pytest.raises(ShimLocked) as caught:
            await stage.spawner.shim(stage.request, lambda _: None)
        assert caught.value.holder == f"pid {stage.shim.pid}"
        # A starting shim tries for a second.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.open)
            await anyio.sleep(0.2)
            stage.kill_shim()


async def test_a_swept_runtime_folder_is_made_again_with_the_next_start(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        shutil.rmtree(stage.service_dir)
        with pytest.raises(ShimUnreachable):
            await connect_shim(str(stage.service_dir), lambda _: None)
        await stage.start("print", "here", "hang")
        await stage.text(b"here")
        assert record(stage, "service.json")["run"] == 1
        other = await connect_shim(str(stage.service_dir), lambda _: None)
        assert other.hello["run"]["run"] == 1
        await other.aclose()


async def test_a_service_whose_folder_was_swept_is_adopted_with_its_output(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        go = tmp_path / "go"
        shutil.rmtree(stage.service_dir)
        pid = await stage.start("print", "one", "wait_file", str(go), "print", "two", "exit", "0")
        await stage.text(b"one")
        assert (await stage.reopen()).hello["run"]["pid"] == pid
        go.touch()
        assert (await stage.ended())["code"] == 0
        assert stage.log() == b"one\ntwo\n"


@pytest.mark.parametrize("tiers", [{}, {"procfd": False}], ids=["procfd", "no procfd"])
async def test_no_folder_is_too_deep_for_the_socket(tmp_path: Path, tiers: dict[str, bool]) -> None:
    async with staged(tmp_path / ("x" * 120) / ("y" * 100), tiers=tiers) as stage:
        stage.folder.mkdir(parents=True, exist_ok=True)
        other = await connect_shim(str(stage.service_dir), lambda _: None)
        assert other.pid == stage.shim.pid
        await other.aclose()
        await stage.start("print", "deep", "exit", "0")
        await stage.ended()
        assert stage.log() == b"deep\n"


async def test_a_shim_told_to_terminate_waits_for_its_service(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("on_term", "0", "print", "ready", "hang")
        await stage.text(b"ready")
        os.kill(stage.shim.pid, signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)
        assert (await stage.ended())["code"] == 0
        await stage.shim.closed.wait()
        assert stage.log() == b"ready\ngot TERM\n"


async def test_a_dead_spawner_is_started_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        first = stage.spawner.pid
        os.kill(first, signal.SIGKILL)
        await stage.start("print", "shims do not notice", "exit", "0")
        await stage.ended()
        result = await stage.spawner.run_probe(["true"], {"PATH": "/bin"}, "/", 5)
        assert (result.code, stage.spawner.pid != first) == (0, True)
        os.kill(stage.spawner.pid, signal.SIGSTOP)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.open)
            await anyio.sleep(0.05)
            stage.kill_shim()
            os.kill(stage.spawner.pid, signal.SIGKILL)
        assert stage.shim.hello["last_run"] == 1


async def test_a_shim_that_breaks_leaves_its_last_words(tmp_path: Path) -> None:
    async with staged(tmp_path, opened=False, failpoints={"no such": "kill"}) as stage:
        with pytest.raises(ShimUnreachable, match=r"it died at once; see .*/run/web/panic"):
            await stage.open()
        assert "no such failpoint" in (stage.service_dir / "panic").read_text()


async def test_the_spawner_ends_with_its_supervisor(tmp_path: Path) -> None:
    async with Spawner.start() as spawner:
        who = Identity.of(spawner.pid)
        assert who is not None
        assert "orchestrator" in read_text(f"/proc/{spawner.pid}/cmdline")
    assert not who.is_alive()
