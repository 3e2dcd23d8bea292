"""An MCP server that somebody else wrote, as a service."""

import json

from tests.e2e.conftest import Make
from tests.everything import found_everything


def test_somebody_elses_server_is_healthy_by_its_tools_and_published(make: Make) -> None:
    node, script = found_everything()
    health = {"mcp": {"tools": ["echo"]}}
    entry = {"name": "Everything"}
    service = {"command": [node, script, "streamableHttp"], "port": "auto", "mcp": entry}
    one = make({"everything": service | {"health": health}})
    ran = one.run("up", "-d", "--wait", within_s=60)
    assert ran.code == 0, ran
    found = one.service("everything")
    assert found["health"] == "healthy"
    assert found["last_probe"]["text"].startswith("tools/list in ")
    (published,) = json.loads((one.folder / "config/config.json").read_text())["mcp"]["mcp_servers"]
    assert (published["name"], published["transport"]["url"]) == (
        "Everything",
        f"{found['url']}/mcp",
    )
    one.down()


def test_a_tool_that_it_must_have_and_has_not_keeps_it_from_being_healthy(make: Make) -> None:
    node, script = found_everything()
    health = {"mcp": {"path": "/mcp", "tools": ["echo", "fly"]}, "start_timeout": "60s"}
    command = [node, script, "streamableHttp"]
    one = make({"everything": {"command": command, "port": "auto", "health": health}})
    one.up()
    found = one.wait_for(
        "everything", lambda it: "no tool" in ((it["last_probe"] or {}).get("text") or ""), 20
    )
    assert "there is no tool 'fly'; it has echo" in found["last_probe"]["text"]
    assert (found["state"], found["health"]) == ("starting", "checking")
