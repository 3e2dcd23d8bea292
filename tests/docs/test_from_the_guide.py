"""Each command of docs/from-the-guide.md does what the guide's step did; the page itself is run."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.dotnet import QUIET_DOTNET, found_dotnet
from tests.integration.scheduler.stage import Process, running
from tests.processes import free_port, wait_until
from tests.stack import Ran, Stack

ROOT = Path(__file__).parents[2]
KEY = "the-key-of-this-guide"
ROW = re.compile(r"^\| (.+?) \| `([^`]+)` \| .+ \|$", re.MULTILINE)
STEPS: dict[str, str] = dict(ROW.findall((ROOT / "docs/from-the-guide.md").read_text()))


@dataclass
class Guided:
    """The shipped project in a folder of its own, on free ports, with a shell to type into."""

    stack: Stack
    scheduler_port: int
    api_port: int

    def typed(self, step: str) -> str:
        """Return what the page says for a step, for the ports of this project."""
        text = STEPS[step].replace("localhost:8000", f"localhost:{self.api_port}")
        return text.replace("--port 5146", f"--port {self.scheduler_port}")

    def does(self, step: str) -> Ran:
        """Type what the page says for a step; it must succeed and tell no secret."""
        done = subprocess.run(
            ["/bin/sh", "-c", self.typed(step)],
            cwd=self.stack.folder,
            env=self.stack.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done
        assert KEY not in done.stdout + done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def guided(folder: Path) -> Iterator[Guided]:
    """Copy the shipped project; nothing of it lives afterwards."""
    content = yaml.safe_load((ROOT / "services.yaml").read_text(encoding="utf-8"))
    services = content.pop("services")
    for service in services.values():
        service["port"] = free_port()
    # ASP.NET keeps keys in its home, which is not the user's here.
    services["scheduler"]["env"]["HOME"] = str(folder / "home")
    one = Stack(folder, services, **content)
    _copy_example(folder, services["api_server"]["port"])
    programs = folder / "bin"
    programs.mkdir()
    for name, words in (("orchestrator", one.command()), ("python", [sys.executable])):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (programs / name).chmod(0o755)
    one.environ |= {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "SCHEDULER_API_KEY": KEY,
        "PYTHONPATH": str(ROOT),
    }
    one.environ.pop("SCHEDULER_DLL", None)
    try:
        yield Guided(one, services["scheduler"]["port"], services["api_server"]["port"])
    finally:
        one.destroy()


def _copy_example(folder: Path, api_port: int) -> None:
    """Copy the example program; its address is the API server's, which is elsewhere here."""
    name = Path("examples/scheduler-example/scheduler_example.py")
    (folder / name).parent.mkdir(parents=True)
    text = (ROOT / name).read_text().replace("localhost:8000", f"localhost:{api_port}")
    (folder / name).write_text(text)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guided]:
    """The shipped stack, running."""
    with guided(tmp_path_factory.mktemp("up") / "project") as made:
        made.does("`python start_services.py --scheduler`")
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Guided]:
    """The shipped stack, not started."""
    with guided(tmp_path / "project") as made:
        yield made


def starts_both(guide: Guided, step: str) -> None:
    out = guide.does(step).out
    assert re.search(r"^scheduler +healthy", out, re.MULTILINE)
    assert re.search(r"^api_server +healthy", out, re.MULTILINE)
    config = json.loads((guide.stack.folder / "config/config.json").read_text())
    entry = config["mcp"]["mcp_servers"][0]
    assert entry["name"] == "Scheduler"
    assert entry["transport"]["url"] == f"http://localhost:{guide.scheduler_port}/mcp"
    assert entry["transport"]["auth"] == {"client_id": "orchestrator", "api_key": KEY}


def starts_the_dll(guide: Guided, step: str) -> None:
    with found_dotnet(guide.stack.folder / "dotnet") as found:
        environ = guide.stack.environ
        path = f"{environ['PATH']}{os.pathsep}{Path(found.host).parent}"
        data = {"Store__Path": str(guide.stack.folder / "store.json")}
        guide.stack.environ |= {**QUIET_DOTNET, **data, "PATH": path}
        (guide.stack.folder / "scheduler").symlink_to(found.dll.parent)
        guide.does(step)
        shown = guide.stack.ps()
        assert shown["scheduler"]["alternative"] == 0
        assert "api_server" not in shown or shown["api_server"]["state"] == "stopped"
        guide.stack.down()


def serves_in_the_foreground(guide: Guided, step: str) -> None:
    command = ["/bin/sh", "-c", f"exec {guide.typed(step)}"]
    log = guide.stack.folder / "serve.log"
    process = Process(command, log, guide.stack.environ, guide.stack.folder)
    with running(process):
        assert process.port == guide.scheduler_port
        assert process.stop() == 0


def publishes(guide: Guided, step: str) -> None:
    (guide.stack.folder / "config/config.json").unlink()
    assert guide.does(step).out == "published: Scheduler\n"
    assert (guide.stack.folder / "config/config.json").is_file()


def lists_tools(guide: Guided, step: str) -> None:
    out = guide.does(step).out
    assert "scheduleConversation" in out
    assert str(guide.scheduler_port) in out


def lists_tools_as_json(guide: Guided, step: str) -> None:
    assert len(json.loads(guide.does(step).out)["tools"]) == 3


def takes_the_credentials(guide: Guided, step: str) -> None:
    assert "takes client 'my-client'" in guide.does(step).out


def passes_each_step(guide: Guided, step: str) -> None:
    out = guide.does(step).out
    assert out.count("✓") == 7
    assert "arrived at" in out


def runs_the_example(guide: Guided, step: str) -> None:
    out = guide.does(step).out
    wanted = re.match(r"scheduled (\S+) in 2 s\nstatus Completed\n$", out)
    assert wanted is not None, out
    log = guide.stack.folder / "logs/api_server.log"
    wait_until(lambda: f"received conversation {wanted[1]}" in log.read_text())


def schedules(guide: Guided, step: str) -> None:
    wanted = guide.does(step).out.strip()
    assert guide.stack.run("scheduler", "show", wanted).out.startswith(f"id        {wanted}\n")
    assert guide.stack.run("scheduler", "cancel", wanted).code == 0


def is_well(guide: Guided, step: str) -> None:
    guide.does(step)


def shows_the_schedulers_log(guide: Guided, step: str) -> None:
    shows(guide, step, "scheduler", "scheduler_service.log")


def shows_the_api_servers_log(guide: Guided, step: str) -> None:
    shows(guide, step, "api_server", "api_server.log")


def shows(guide: Guided, step: str, name: str, file: str) -> None:
    lines = guide.does(step).out.splitlines()
    kept = (guide.stack.folder / "logs" / file).read_text().splitlines()
    assert lines
    assert {line.removeprefix(f"{name} | ") for line in lines} <= set(kept)


def ends_both(guide: Guided, step: str) -> None:
    guide.stack.up("--wait")
    guide.does(step)
    assert guide.stack.survivors() == set()


Try = Callable[[Guided, str], None]
FRESH: dict[str, Try] = {
    "`python start_services.py --scheduler`": starts_both,
    "`python start_scheduler.py --path DLL`": starts_the_dll,
    "the same, without .NET and without a stack": serves_in_the_foreground,
    "Ctrl-C in its terminal": ends_both,
}
RUNNING: dict[str, Try] = {
    "`python update_scheduler_config.py`": publishes,
    "`python test_scheduler_mcp.py`": lists_tools,
    "`python test_scheduler_auth.py --client-id ID --api-key KEY`": takes_the_credentials,
    "`python test_scheduler_integration.py`": passes_each_step,
    "`python scheduler_example.py --schedule`": runs_the_example,
    "the same, without a program": schedules,
    "`curl http://localhost:5146/mcp/tools`": lists_tools_as_json,
    "`curl http://localhost:5146/health`": is_well,
    "`tail logs/scheduler_service.log`": shows_the_schedulers_log,
    "`tail logs/api_server.log`": shows_the_api_servers_log,
    "`export SCHEDULER_CLIENT_ID=… SCHEDULER_API_KEY=…`": takes_the_credentials,
}


def test_each_step_of_the_page_is_tried_here() -> None:
    page = (ROOT / "docs/from-the-guide.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(STEPS), "a row that cannot be read"
    assert set(STEPS) == {*FRESH, *RUNNING}


@pytest.mark.parametrize("step", FRESH)
def test_a_step_of_the_guide_that_starts_or_ends_something(fresh: Guided, step: str) -> None:
    FRESH[step](fresh, step)


@pytest.mark.parametrize("step", RUNNING)
def test_a_step_of_the_guide_with_all_running(up: Guided, step: str) -> None:
    RUNNING[step](up, step)
