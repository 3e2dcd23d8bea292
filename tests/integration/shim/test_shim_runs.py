"""Starting, ending and reporting runs."""

import json
import os
import signal
import stat
from pathlib import Path

import pytest

from tests.integration.shim.stage import connected, read_text, record, staged, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_exit_code_is_reported_once_and_recorded(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("print", "hello", "exit", "7")
        event = await stage.ended()
        assert (event["code"], event["signal"], event["by_us"]) == (7, None, None)
        assert event["pid"] == pid
        assert stage.log() == b"hello\n"
        assert event["log_offset"] == 6
        await until(lambda: (stage.service_dir / "exit.json").exists())
        assert record(stage, "exit.json")["code"] == 7
        assert record(stage, "exit.json")["starttime"] == record(stage, "service.json")["starttime"]
        assert [e["event"] for e in stage.events].count("exit") == 1


async def test_a_death_by_signal_names_the_signal(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("signal", "11")
        event = await stage.ended()
        assert (event["code"], event["signal"], event["by_us"]) == (None, 11, None)


async def test_the_index_tells_of_every_run_and_its_bytes(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for code in ("0", "3"):
            await stage.start("print", "hello", "exit", code)
            await stage.ended()
        await stage.start("signal", "9")
        await stage.ended()
        wanted = [
            (0, 1, 1, 0, 0), (6, 1, 2, 0, 0), (6, 2, 1, 0, 0), (12, 2, 2, 3, 0),
            (12, 3, 1, 0, 0), (12, 3, 2, 0, 9),
        ]  # fmt: skip
        # The report comes before the record.
        await until(lambda: [r for r in stage.index() if r[2] != 0] == wanted)
        assert [r[:3] for r in stage.index() if r[2] == 0] == [(0, 1, 0), (6, 2, 0)]


async def test_a_service_starts_clean_whatever_started_us(tmp_path: Path) -> None:
    """Signals ignored by a nohup or a background shell do not reach a service."""
    hup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    term = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    child = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with staged(tmp_path) as stage:
            signal.signal(signal.SIGCHLD, child)
            env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "odd": "\udcff"}
            pid = await stage.start("self", "hang", env=env, umask=0o27, nofile=[128, 4096])
            await stage.text(b"\n")
            told = json.loads(stage.log())
            assert int(told["ignored"], 16) & 0x4007 == 0
            assert int(told["blocked"], 16) == 0
            assert (told["session"], told["group"]) == (pid, pid)
            assert told["cwd"] == str(tmp_path)
            assert told["umask"] == 0o27
            assert told["nofile"] == [128, 4096]
            assert told["stdin"] == "/dev/null"
            assert told["environment"].keys() == {"PATH", "LANG", "odd", "ORCH_COOKIE"}
            # Python itself opens one for the folder it lists.
            assert set(told["descriptors"]) - {"3"} == {"0", "1", "2", "127"}
            flags = {n: told["descriptors"][n] & (os.O_ACCMODE | os.O_NONBLOCK) for n in "12"}
            assert flags == {"1": os.O_WRONLY, "2": os.O_WRONLY}
            assert told["descriptors"]["127"] & os.O_ACCMODE == os.O_RDONLY
            stage.shim.send({"op": "signal", "run": 1, "signal": 15})
            assert (await stage.ended())["signal"] == 15
    finally:
        signal.signal(signal.SIGCHLD, child)
        signal.signal(signal.SIGHUP, hup)
        signal.signal(signal.SIGTERM, term)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


async def test_an_inherited_umask_and_file_size_reach_the_service(tmp_path: Path) -> None:
    old = os.umask(0o35)
    try:
        async with staged(tmp_path) as stage:
            await stage.start("self")
            await stage.ended()
            assert json.loads(stage.log())["umask"] == 0o35
            assert stat.S_IMODE(stage.log_path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


async def test_a_shim_holds_nothing_that_it_inherited(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        folder = f"/proc/{stage.shim.pid}/fd"
        links = {n: os.readlink(f"{folder}/{n}") for n in os.listdir(folder)}
        assert [links[n] for n in "012"] == ["/dev/null"] * 3
        foreign = [
            link
            for link in links.values()
            if not link.startswith((str(tmp_path), "socket:", "pipe:", "anon_inode:", "/dev/null"))
        ]
        assert foreign == []
        assert sum(link.startswith("socket:") for link in links.values()) == 2
        cmdline = read_text(f"/proc/{stage.shim.pid}/cmdline")
        assert cmdline.rstrip("\0") == "orchestrator-shim stage web"
        assert read_text(f"/proc/{stage.shim.pid}/comm") == "orch:web\n"
        assert os.getsid(stage.shim.pid) == stage.shim.pid


async def test_a_second_start_is_busy_while_anything_lives(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hang")
        stage.shim.send({"op": "start", "run": 2, "argv": ["true"], "env": {}, "cwd": "/"})
        assert (await stage.event("busy"))["alive"] == 1
        stage.shim.send({"op": "quit"})
        stage.shim.send({"op": "kill", "run": 1})
        assert (await stage.ended())["by_us"] == "kill"
        assert not stage.shim.closed.is_set()


async def test_quit_leaves_no_socket_and_a_free_lock(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("print", "bye", "exit", "0")
        await stage.ended()
        stage.shim.send({"op": "quit"})
        await stage.shim.closed.wait()
        assert not (stage.service_dir / "shim.sock").exists()
        hello = (await stage.open()).hello
        assert (hello["last_run"], hello["run"]) == (1, None)
        assert stage.log() == b"bye\n"


async def test_several_clients_hear_the_same(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hang")
        other, heard = await connected(stage)
        assert other.hello["run"]["run"] == 1
        other.send({"op": "signal", "run": 1, "signal": 15})
        await stage.ended()
        await until(lambda: "exit" in [e["event"] for e in heard])
        assert (await stage.event("signalled"))["signal"] == 15
        await other.aclose()


async def test_the_service_is_the_likelier_victim_when_memory_is_short(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        pid = await stage.start("hang")
        wanted = min(1000, int(read_text("/proc/self/oom_score_adj")) + 100)
        await until(lambda: int(read_text(f"/proc/{pid}/oom_score_adj")) == wanted)
