"""Wrappers, buffers, clocks: services and machines as they are."""

import os
import random
import signal
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator.spec.load import load
from orchestrator.supervise.launching import Surroundings
from orchestrator.supervise.places import Places
from orchestrator.supervise.stack import running
from orchestrator.system.clock import SystemClock
from tests.e2e.conftest import Make
from tests.stack import evil, free_port, is_alive, wait_until

HANG = {"command": evil("print", "up", "hang")}


def test_a_killed_wrapper_takes_its_child_with_it_and_both_come_back(make: Make) -> None:
    """`dotnet run`, `npm` and `uv run` are wrappers: the service proper is their child."""
    port = free_port()
    child = " ".join(evil("listen", port, "print", "up", "hang"))
    one = make({"a": {"command": ["sh", "-c", f"{child} & wait"], "port": port}})
    assert one.run("up", "-d", "--wait").code == 0
    first = {pid for pid in one.cookie_pids() if is_alive(pid)}
    assert len(first) == 2
    os.kill(one.service("a")["pid"], signal.SIGKILL)
    one.wait_for("a", lambda now: now["run"] == 2 and now["health"] == "healthy")
    assert not any(is_alive(pid) for pid in first)


def test_what_a_program_prints_is_there_at_once_without_a_terminal(make: Make) -> None:
    script = "import time; print('printed'); time.sleep(1000)"
    one = make({"a": {"command": [sys.executable, "-c", script]}})
    one.up()
    one.wait_for_log("a", b"printed\n")


def test_a_service_has_the_umask_of_up(make: Make) -> None:
    one = make({"a": {"command": ["sh", "-c", "umask"]}})
    before = os.umask(0o027)
    try:
        one.run("up", "-d", "--wait")
    finally:
        os.umask(before)
    assert one.log("a") == b"0027\n"


def test_an_answer_of_a_run_that_ended_is_no_health_of_the_next(make: Make) -> None:
    port = free_port()
    script = (
        f"test -e again || exec {' '.join(evil('http_ok', port, 'wait_file', 'go', 'exit', 1))}"
    )
    one = make(
        {
            "a": {
                "command": ["sh", "-c", f"{script}; touch up; exec sleep 1000"],
                "port": port,
                "health": {"http": "/", "interval": "20ms"},
            }
        }
    )
    assert one.run("up", "-d", "--wait").code == 0
    (one.folder / "again").touch()
    (one.folder / "go").touch()
    item = one.wait_for("a", lambda now: now["run"] == 2 and now["pid"] is not None)
    wait_until(lambda: (one.folder / "up").exists())
    assert one.service("a")["health"] == "checking"
    assert item["cause"]["kind"] == "exit"


def test_a_service_that_dies_while_its_probe_fails_is_a_crash(make: Make) -> None:
    one = make(
        {
            "a": {
                "command": evil("touch", "well", "hang"),
                "health": {"exec": ["test", "-e", "well"], "interval": "20ms", "failures": 2},
            }
        }
    )
    assert one.run("up", "-d", "--wait").code == 0
    pid = one.service("a")["pid"]
    os.kill(pid, signal.SIGKILL)
    item = one.wait_for("a", lambda now: now["run"] == 2 and now["health"] == "healthy")
    assert (item["cause"]["kind"], item["restarts"]) == ("signal", 1)


class JumpingClock(SystemClock):
    """A machine whose wall clock is set back a day and forward a year, again and again."""

    _jumps = 0

    def wall(self) -> float:
        self._jumps += 1
        return super().wall() + (-86_400.0 if self._jumps % 2 else 365 * 86_400.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_wall_clock_that_jumps_changes_no_deadline(tmp_path: Path) -> None:
    (tmp_path / "services.yaml").write_text(
        "services:\n"
        "  a: {command: 'false', restart: {backoff: {initial: 20ms, max: 50ms}}}\n"
        "  b: {command: sleep 1000}\n"
    )
    for name in ("state/locks", "run"):
        (tmp_path / name).mkdir(mode=0o700, parents=True)
    project = load(tmp_path / "services.yaml", {})
    places = Places("0123456789ab", tmp_path / "state", tmp_path / "run")
    around = Surroundings(environ=dict(os.environ), secrets={}, python=sys.executable)
    with anyio.fail_after(20):
        async with running(project, places, around, JumpingClock(), random.Random(1)) as stack:
            supervisor = stack.supervisor
            await stack.operations.up([])
            await supervisor.bus.until(lambda: supervisor.unit("a").status.state == "failed")
            assert supervisor.unit("a").status.run == 6
            (item,) = (one for one in stack.snapshot()["services"] if one["name"] == "b")
            assert item["state"] == "running"
            assert 0 <= item["uptime_s"] < 60
            supervisor.end()
            await supervisor.bus.until(lambda: supervisor.all_at_rest)
