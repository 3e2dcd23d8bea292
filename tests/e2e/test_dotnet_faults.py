"""What `up` does about .NET apps that would not run, with a script in the place of `dotnet`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Make
from tests.stack import Stack

TEN = "Microsoft.NETCore.App 10.0.12 [/x/shared]"
WEB = {"command": ["dotnet", "app/App.dll"], "health": "none"}
BUILD = """
import json, pathlib
folder = pathlib.Path('app')
folder.mkdir(exist_ok=True)
wanted = {'name': 'Microsoft.NETCore.App', 'version': '%s'}
content = {'runtimeOptions': {'framework': wanted}}
(folder / 'App.runtimeconfig.json').write_text(json.dumps(content))
(folder / 'App.dll').touch()
"""


def install(one: Stack, listed: str = TEN, delay_s: int = 0) -> None:
    """Put a `dotnet` on PATH that lists a runtime, and runs any app by waiting."""
    folder = one.folder / "host"
    folder.mkdir(exist_ok=True)
    path = folder / "dotnet"
    lists = f"echo asked >> {one.folder}/asked; sleep {delay_s}; echo '{listed}'; exit 0"
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --list-runtimes ]; then {lists}; fi\nexec sleep 1000\n'
    )
    path.chmod(0o755)
    one.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def built(folder: Path, version: str) -> None:
    (folder / "app").mkdir()
    wanted = {"name": "Microsoft.NETCore.App", "version": version}
    config = folder / "app" / "App.runtimeconfig.json"
    config.write_text(json.dumps({"runtimeOptions": {"framework": wanted}}))
    (folder / "app" / "App.dll").touch()


def building(version: str) -> dict[str, Any]:
    build = {"command": [sys.executable, "-c", BUILD % version], "oneshot": True}
    return {"web": {**WEB, "depends_on": {"build": "completed"}}, "build": build}


def test_a_plain_command_that_would_not_run_is_refused_and_nothing_is_started(make: Make) -> None:
    one = make({"web": WEB, "other": {"command": ["sleep", "1000"]}})
    install(one)
    built(one.folder, "9.0.0")
    ran = one.up(code=5)
    assert "App.dll needs Microsoft.NETCore.App 9.0.0" in ran.err
    assert not one.survivors()
    install(one, "Microsoft.NETCore.App 9.0.3 [/x/shared]")
    one.up()
    one.wait_for_state("web", "running")


def test_what_a_one_shot_builds_first_is_looked_at_when_it_was_built(make: Make) -> None:
    one = make(building("10.0.0"))
    install(one)
    one.up("--wait")
    assert one.service("web")["state"] == "running"


def test_what_a_one_shot_built_wrong_fails_with_the_fix(make: Make) -> None:
    one = make(building("9.0.0"))
    install(one)
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 18, ran
    found = one.service("web")
    assert (found["state"], found["cause"]["kind"]) == ("failed", "spawn")
    assert "or set DOTNET_ROLL_FORWARD=Major" in found["cause"]["text"]


def test_the_next_alternative_is_still_the_one_after_the_supervisor_was_killed(make: Make) -> None:
    requires = {"program": "dotnet", "file": "app/App.dll"}
    first = {"requires": requires, "command": ["${requires.program}", "${requires.file}"]}
    one = make({"web": {"run": [first, {"command": ["sleep", "1000"]}]}})
    install(one)
    built(one.folder, "9.0.0")
    one.up()
    before = one.wait_for_state("web", "running")
    assert before["alternative"] == 1
    one.kill_supervisor()
    one.up()
    again = one.wait_for_state("web", "running")
    assert (again["pid"], again["alternative"]) == (before["pid"], 1)
    assert one.run("restart", "web").code == 0
    assert one.wait_for_state("web", "running")["alternative"] == 1


def test_dotnet_is_asked_once_for_all_services_and_not_at_each_restart(make: Make) -> None:
    one = make({"a": WEB, "b": WEB, "other": {"command": ["sleep", "1000"]}})
    install(one)
    built(one.folder, "10.0.0")
    one.up("--wait")
    assert one.run("restart", "a", "b").code == 0
    assert (one.folder / "asked").read_text() == "asked\n"
    one.run("restart", "other")
    assert (one.folder / "asked").read_text() == "asked\n"


def test_a_dotnet_that_does_not_answer_delays_the_start_by_seconds_at_most(make: Make) -> None:
    one = make({"web": WEB})
    install(one, delay_s=1000)
    built(one.folder, "10.0.0")
    one.up("--wait", within_s=20)
    assert one.service("web")["state"] == "running"
    doctor = one.run("doctor")
    assert "dotnet --list-runtimes does not answer" in doctor.out
