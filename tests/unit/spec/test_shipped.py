"""The services.yaml that comes with the project."""

import json
from pathlib import Path
from typing import Any

from orchestrator.spec.launch import launch
from orchestrator.spec.load import load
from orchestrator.spec.model import Condition, McpProbe
from orchestrator.system.requirements import choose

FILE = Path(__file__).parents[3] / "services.yaml"
FOR_START: dict[str, Any] = {
    "secrets": {"scheduler_api_key": "k", "scheduler_jwt_key": "j"},
    "facts": {},
    "python": "/usr/bin/python3",
    "state_dir": "/state",
    "cookie": "c",
}


def test_it_starts_the_embedded_scheduler_where_there_is_no_dotnet(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}
    project = load(FILE, environ)
    scheduler = project.services["scheduler"]
    chosen = choose(project, scheduler, environ)
    assert (chosen.index, len(chosen.skipped)) == (1, 1)
    started = launch(project, scheduler, chosen, environ=environ, port=5146, **FOR_START)
    assert started.argv == (
        *("/usr/bin/python3", "-m", "orchestrator.scheduler.server"),
        *("--port", "5146", "--data", "/state/scheduler.sqlite"),
    )
    assert (started.env["TZ"], started.env["Auth__ApiKey"], started.env["Jwt__Key"]) == (
        "UTC",
        "k",
        "j",
    )


def test_it_starts_the_dll_where_both_are_there(tmp_path: Path) -> None:
    dotnet, dll = tmp_path / "bin" / "dotnet", tmp_path / "there" / "McpScheduler.dll"
    for path in (dotnet, dll):
        path.parent.mkdir()
        path.write_text("")
        path.chmod(0o755)
    config = {
        "runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "10.0.0"}}
    }
    dll.with_suffix(".runtimeconfig.json").write_text(json.dumps(config))
    environ = {"PATH": str(dotnet.parent), "SCHEDULER_DLL": str(dll)}
    project = load(FILE, environ)
    scheduler = project.services["scheduler"]
    chosen = choose(project, scheduler, environ)
    started = launch(project, scheduler, chosen, environ=environ, port=5146, **FOR_START)
    assert started.argv == (str(dotnet), str(dll), "--urls", "http://localhost:5146")
    assert started.cwd == str(dll.parent)


def test_the_api_server_waits_for_the_scheduler_which_is_published() -> None:
    project = load(FILE, {"SCHEDULER_CLIENT_ID": "me"})
    scheduler, api_server = project.services.values()
    assert project.name == "scheduler-demo"
    assert (scheduler.port, api_server.port) == (5146, 8000)
    assert api_server.depends_on == {"scheduler": Condition.HEALTHY}
    assert scheduler.stop.grace_s == 35
    assert (scheduler.log, api_server.log) == (
        "logs/scheduler_service.log",
        "logs/api_server.log",
    )
    for service in project.services.values():
        assert service.health is not None
        assert service.health.http is not None
        assert str(service.health.http.path) == "/health"
    assert scheduler.health is not None
    assert scheduler.health.mcp == McpProbe()
    assert scheduler.mcp is not None
    assert scheduler.mcp.auth is not None
    assert (scheduler.mcp.name, str(scheduler.mcp.path)) == ("Scheduler", "/mcp")
    assert str(scheduler.mcp.auth.client_id) == "me"
    assert str(scheduler.mcp.auth.api_key) == "${secrets.scheduler_api_key}"
