"""The example program runs with each scheduler, and says what is wrong without one."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dotnet import QUIET_DOTNET, found_dotnet
from tests.integration.scheduler.stage import (
    ENVIRONMENT,
    Process,
    Receiver,
    embedded,
    free_port,
    receiving,
    running,
    write_config,
)

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples/scheduler-example/scheduler_example.py"


@pytest.fixture(scope="module", params=["embedded", "dotnet", "dotnet with standard MCP"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A real scheduler."""
    folder = tmp_path_factory.mktemp("server")
    if request.param == "embedded":
        with running(embedded(folder)) as process:
            yield process
        return
    known = {**ENVIRONMENT, **QUIET_DOTNET, "Store__Path": str(folder / "store.json")}
    known |= {"Test__Mcp": "standard"} if "standard" in request.param else {}
    with found_dotnet(tmp_path_factory.mktemp("dotnet")) as found:
        command = [found.host, str(found.dll), "--urls", "http://127.0.0.1:0"]
        with running(Process(command, folder / "log", known, cwd=found.dll.parent)) as process:
            yield process


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers 200."""
    with receiving() as made:
        yield made


def run(folder: Path, url: str, *words: str, code: int = 0) -> str:
    """Run the program in a folder whose config.json names the scheduler; return what it prints."""
    (folder / "config").mkdir(exist_ok=True)
    write_config(folder / "config/config.json", url)
    # A zone far from UTC: the program's times are local.
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "America/New_York"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_its_only_line_of_ours_is_the_import() -> None:
    text = PROGRAM.read_text()
    ours = [line for line in text.splitlines() if "orchestrator" in line]
    assert ours == ["from orchestrator.scheduler import SchedulerService"]


def test_it_schedules_looks_and_cancels(tmp_path: Path, server: Process) -> None:
    out = run(tmp_path, server.url, "--endpoint", "http://127.0.0.1:9/x")
    assert re.fullmatch(
        r"scheduled \S+ in 3600 s\nstatus Scheduled\ncancelled True\nstatus Cancelled\n", out
    )
    wanted = out.split()[1]
    assert run(tmp_path, server.url, "--status", wanted) == "status Cancelled\n"
    assert run(tmp_path, server.url, "--cancel", wanted) == "cancelled False\n"


def test_what_it_schedules_arrives(tmp_path: Path, server: Process, receiver: Receiver) -> None:
    words = ("--schedule", "--text", "good morning", "--endpoint", receiver.url, "--seconds", "1")
    out = run(tmp_path, server.url, *words)
    assert re.fullmatch(r"scheduled \S+ in 1 s\nstatus Completed\n", out)
    assert receiver.texts() == ["good morning"]


def test_a_delivery_that_fails_is_a_failure(
    tmp_path: Path, server: Process, receiver: Receiver
) -> None:
    receiver.status = 500
    words = ("--schedule", "--endpoint", receiver.url, "--seconds", "1")
    assert "status Failed" in run(tmp_path, server.url, *words, code=1)


def test_without_a_scheduler_it_says_so(tmp_path: Path) -> None:
    out = run(tmp_path, f"http://127.0.0.1:{free_port()}", code=1)
    assert "cannot reach the scheduler: cannot reach http://127.0.0.1" in out
    assert "the scheduler cannot be reached" in out
