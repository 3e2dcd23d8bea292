"""The shipped stack with the real .NET service in it: its first alternative."""

import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dotnet import QUIET_DOTNET, Found, found_dotnet
from tests.e2e.conftest import Make
from tests.integration.scheduler.stage import caller, receiving, soon
from tests.processes import free_port, is_alive, wait_until
from tests.stack import Stack

SHIPPED = Path(__file__).parents[2] / "services.yaml"
COMPLETED = 2
QUICK = {"interval": "100ms", "timeout": "500ms", "failures": 2}
Ship = Callable[..., Stack]


@pytest.fixture(scope="session")
def dotnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """Return the .NET service, or skip."""
    with found_dotnet(tmp_path_factory.mktemp("dotnet")) as found:
        yield found


@pytest.fixture
def ship(make: Make, dotnet: Found) -> Ship:
    """Make a copy of the shipped stack on free ports; ``more`` goes to its scheduler."""

    def shipped(*names: str, settings: dict[str, str] | None = None, **more: Any) -> Stack:
        content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
        services = {name: content["services"][name] for name in names or content["services"]}
        for service in services.values():
            service["port"] = free_port()
        services["scheduler"]["health"] |= more.pop("health", {})
        services["scheduler"] |= more
        # ASP.NET keeps keys in its home, which is not the user's here.
        services["scheduler"]["env"]["HOME"] = "${DOTNET_HOME}"
        del content["services"]
        one = make(services, **content)
        path = f"{Path(dotnet.host).parent}{os.pathsep}{os.environ['PATH']}"
        home_dir = one.folder / "dotnet-home"
        home_dir.mkdir()
        own = {
            "PATH": path,
            "SCHEDULER_DLL": str(dotnet.dll),
            "Store__Path": store(one),
            "DOTNET_HOME": str(home_dir),
        }
        one.environ |= {**QUIET_DOTNET, **own, **(settings or {})}
        return one

    return shipped


def store(one: Stack) -> str:
    return str(one.folder / "conversations.json")


def statuses(one: Stack) -> list[int]:
    """Return the statuses of all conversations that the service keeps."""
    kept = json.loads(Path(store(one)).read_text())
    return [row["Conversation"]["Status"] for row in kept]


def log(one: Stack) -> bytes:
    return (one.folder / "logs/scheduler_service.log").read_bytes()


def port(one: Stack, name: str) -> int:
    return int(yaml.safe_load(one.file.read_text())["services"][name]["port"])


def api(one: Stack, path: str, body: object = None) -> Any:
    """Ask the API server; with a body it is a POST."""
    url = f"http://127.0.0.1:{port(one, 'api_server')}{path}"
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
        return json.loads(answer.read())


def arrives(one: Stack, text: str) -> None:
    """Schedule a conversation through the API server, and see it come back to it."""
    made = api(one, "/conversations", {"text": text, "in_s": 0.3})
    wait_until(lambda: text in [it["text"] for it in api(one, "/received")], 10, f"{text} received")
    wait_until(lambda: api(one, f"/conversations/{made['id']}")["status"] == "Completed", 5)


def up(one: Stack) -> None:
    ran = one.run("up", "-d", "--wait", within_s=60)
    assert ran.code == 0, ran


def api_key(one: Stack) -> str:
    return str(json.loads((one.state_dir / "secrets.json").read_text())["scheduler_api_key"])


def test_the_real_service_runs_in_the_shipped_stack(ship: Ship, dotnet: Found) -> None:
    one = ship()
    up(one)
    found = one.ps()["scheduler"]
    assert found["alternative"] == 0
    assert [it["taken"] for it in found["alternatives"]] == [True, False]
    assert found["command"][:2] == [dotnet.host, str(dotnet.dll)]
    assert "└ alternative 0 of its run: dotnet McpScheduler.dll" in one.run("ps").out
    assert found["last_probe"]["text"].startswith("the tool list in ")
    (entry,) = json.loads((one.folder / "config/config.json").read_text())["mcp"]["mcp_servers"]
    transport = entry["transport"]
    assert transport["url"] == f"{found['url']}/mcp"
    assert transport["url"].endswith(f":{port(one, 'scheduler')}/mcp")
    assert transport["auth"] == {"client_id": "orchestrator", "api_key": api_key(one)}
    assert f"Now listening on: http://localhost:{port(one, 'scheduler')}".encode() in log(one)
    assert b"Application started. Press Ctrl+C to shut down." in log(one)
    arrives(one, "first")
    checked = one.run("scheduler", "check")
    assert checked.code == 0, checked
    assert "the REST dialect: scheduleConversation" in checked.out

    os.kill(found["pid"], signal.SIGKILL)
    again = one.wait_for(
        "scheduler", lambda it: it["run"] == 2 and it["health"] == "healthy", within_s=20
    )
    assert again["restarts"] == 1
    arrives(one, "second")

    one.down()
    assert not is_alive(again["pid"])
    assert b"Application is shutting down..." in log(one)
    assert api_key(one).encode() not in log(one)


def test_standard_mcp_is_probed_and_spoken(ship: Ship) -> None:
    one = ship(settings={"Test__Mcp": "standard"})
    up(one)
    found = one.service("scheduler")
    assert found["last_probe"]["text"].startswith("server/discover in ")
    arrives(one, "by the standard")
    checked = one.run("scheduler", "check")
    assert checked.code == 0, checked
    assert "dialect" not in checked.out


def test_its_tools_may_be_required_by_name(ship: Ship) -> None:
    health = {"mcp": {"tools": ["scheduleConversation", "fly"]}, "start_timeout": "60s"}
    one = ship("scheduler", health=health)
    one.up()
    found = one.wait_for(
        "scheduler", lambda it: "no tool 'fly'" in ((it["last_probe"] or {}).get("text") or ""), 20
    )
    assert (found["state"], found["health"]) == ("starting", "checking")


def test_a_stop_waits_for_a_delivery_under_way_which_is_recorded(ship: Ship) -> None:
    one = ship("scheduler")
    up(one)
    with receiving() as receiver:
        receiver.may_answer.clear()
        with caller(f"http://127.0.0.1:{port(one, 'scheduler')}", api_key(one)) as client:
            client.schedule("slow", soon(), receiver.url)
            wait_until(receiver.texts)
        stopping = one.start("down")
        wait_until(lambda: b"Application is shutting down..." in log(one), 10)
        assert stopping.poll() is None
        receiver.may_answer.set()
        assert stopping.wait(15) == 0
        assert receiver.texts() == ["slow"]
    assert statuses(one) == [COMPLETED]


def test_a_service_that_falls_ill_is_started_again(ship: Ship) -> None:
    one = ship("scheduler", settings={"Test__UnhealthyAfterSeconds": "2"}, health=QUICK)
    up(one)
    again = one.wait_for(
        "scheduler", lambda it: it["run"] == 2 and it["health"] == "healthy", within_s=20
    )
    assert again["restarts"] == 1
    assert "503" in again["cause"]["text"]


def test_a_service_that_hangs_is_started_again(ship: Ship) -> None:
    settings = {"Test__HangAfterSeconds": "2"}
    one = ship("scheduler", settings=settings, health=QUICK, stop={"grace": "1s"})
    up(one)
    again = one.wait_for(
        "scheduler", lambda it: it["run"] == 2 and it["health"] == "healthy", within_s=20
    )
    assert again["restarts"] == 1
    assert "timed out after 500ms" in again["cause"]["text"]


def test_a_service_that_crashes_is_started_again(ship: Ship) -> None:
    one = ship("scheduler", settings={"Test__CrashAfterSeconds": "2"})
    up(one)
    again = one.wait_for(
        "scheduler", lambda it: it["run"] == 2 and it["health"] == "healthy", within_s=20
    )
    assert again["restarts"] == 1
    assert "ABRT" in again["cause"]["text"]
    assert b"Test:CrashAfterSeconds" in log(one)


def test_a_service_that_takes_its_time_to_listen_is_waited_for(ship: Ship) -> None:
    one = ship("scheduler", settings={"Test__StartDelaySeconds": "2"})
    started = time.monotonic()
    up(one)
    assert time.monotonic() - started > 2
    assert one.service("scheduler")["restarts"] == 0


def test_a_service_that_takes_its_time_to_stop_gets_it(ship: Ship) -> None:
    one = ship("scheduler", settings={"Test__StopSeconds": "2"})
    up(one)
    pid = one.service("scheduler")["pid"]
    started = time.monotonic()
    one.down()
    assert 2 < time.monotonic() - started < 15
    assert not is_alive(pid)


def test_a_service_that_does_not_stop_in_its_grace_is_killed(ship: Ship) -> None:
    one = ship("scheduler", settings={"Test__StopSeconds": "60"})
    up(one)
    pid = one.service("scheduler")["pid"]
    started = time.monotonic()
    one.down("-t", "1")
    assert 1 < time.monotonic() - started < 15
    assert not is_alive(pid)


def test_a_service_without_its_database_fails_and_its_reason_is_told(ship: Ship) -> None:
    one = ship(settings={"Test__DatabaseDown": "true"}, restart={"limit": {"failures": 1}})
    ran = one.run("up", "-d", "--wait", within_s=60)
    assert ran.code == 18, ran
    found = one.ps()
    reason = "InvalidOperationException: Unable to connect to any of the specified MySQL hosts. (is"
    assert reason in found["scheduler"]["cause"]["text"]
    assert reason in ran.out + ran.err
    assert (found["scheduler"]["state"], found["scheduler"]["signal"]) == ("failed", "ABRT")
    assert found["scheduler"]["run"] == 2
    assert found["api_server"]["state"] == "pending"
    assert b"Unable to connect to any of the specified MySQL hosts." in log(one)
    assert not (one.folder / "config/config.json").exists()


def app_for(version: str, dotnet: Found, folder: Path) -> Path:
    """Copy the service as it would be if it were built for this version of .NET."""
    shutil.copytree(dotnet.dll.parent, folder)
    config = folder / "McpScheduler.runtimeconfig.json"
    content = json.loads(config.read_text())
    for one in content["runtimeOptions"]["frameworks"]:
        one["version"] = version
    config.write_text(json.dumps(content))
    return folder / dotnet.dll.name


def test_an_older_app_is_refused_before_its_start_and_told_what_helps(
    ship: Ship, dotnet: Found, tmp_path: Path
) -> None:
    one = ship("scheduler")
    dll = str(app_for("3.0.0", dotnet, tmp_path / "old"))
    ran = one.run("up", "-d", "--wait", SCHEDULER_DLL=dll)
    assert ran.code == 5, ran
    assert "McpScheduler.dll needs Microsoft.NETCore.App 3.0.0, and" in ran.err
    assert "SCHEDULER_DLL asks for it; install the .NET runtime 3.0: " in ran.err
    assert not (one.folder / "logs/scheduler_service.log").exists()
    doctor = one.run("doctor", SCHEDULER_DLL=dll)
    assert doctor.code == 1
    assert "needs Microsoft.NETCore.App 3.0.0" in doctor.out
    assert "or set DOTNET_ROLL_FORWARD=Major" in doctor.out

    one.environ |= {"SCHEDULER_DLL": dll, "DOTNET_ROLL_FORWARD": "Major"}
    up(one)
    assert one.ps()["scheduler"]["alternative"] == 0
    assert "✓ scheduler" in one.run("doctor").out


def test_an_app_for_another_runtime_is_passed_over_and_ps_and_doctor_say_why(
    ship: Ship, dotnet: Found
) -> None:
    one = ship("scheduler")
    app_for("3.0.0", dotnet, one.folder / "scheduler")
    del one.environ["SCHEDULER_DLL"]
    up(one)
    found = one.ps()["scheduler"]
    assert found["alternative"] == 1
    first = found["alternatives"][0]
    assert (first["taken"], first["broken"]) == (False, True)
    assert "needs Microsoft.NETCore.App 3.0.0" in first["why"]
    assert "alternative 0 was passed over: McpScheduler.dll needs" in one.run("status").out
    doctor = one.run("doctor").out
    assert "· scheduler          alternative 0 is passed over: McpScheduler.dll needs" in doctor
    assert "or set DOTNET_ROLL_FORWARD=Major" in doctor


def test_a_dll_that_was_copied_alone_is_told(ship: Ship, dotnet: Found, tmp_path: Path) -> None:
    one = ship("scheduler")
    alone = shutil.copy(dotnet.dll, tmp_path)
    ran = one.run("up", "-d", SCHEDULER_DLL=str(alone))
    assert ran.code == 5, ran
    assert "McpScheduler.dll has no McpScheduler.runtimeconfig.json beside it" in ran.err
    assert "copy the whole output folder" in ran.err


def test_without_a_port_its_address_is_what_it_logs_and_where_it_listens(
    ship: Ship, dotnet: Found
) -> None:
    one = ship("scheduler")
    content = yaml.safe_load(one.file.read_text())
    scheduler = content["services"]["scheduler"]
    del scheduler["port"], scheduler["health"]["http"]
    scheduler["run"][0]["command"][3] = "http://127.0.0.1:0"
    del scheduler["run"][1]
    one.file.write_text(yaml.safe_dump(content))
    up(one)
    url = one.ps()["scheduler"]["url"]
    assert url.startswith("http://127.0.0.1:")
    assert f"Now listening on: {url}".encode() in log(one)
    (entry,) = json.loads((one.folder / "config/config.json").read_text())["mcp"]["mcp_servers"]
    assert entry["transport"]["url"] == f"{url}/mcp"
