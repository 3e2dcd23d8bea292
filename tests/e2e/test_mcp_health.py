"""The `mcp` probe as the supervisor asks it."""

import json
import os
import sys
from typing import Any

from tests.e2e.conftest import Make
from tests.integration.scheduler.scripted import NOTHING, Scripted
from tests.processes import free_port, wait_until
from tests.stack import Stack

SECRETS = {"key": {"generate": True}, "signing": {"generate": True}}
FAILING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response({"/health": 200, "/mcp": 404}.get(self.path, 500))
        self.end_headers()
    do_GET = do_POST = answer
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def scheduler(health: object, port: int | None = None, **more: object) -> dict[str, Any]:
    """Return the embedded scheduler, which draws its own port where none is given."""
    place = "--port=0" if port is None else f"--port={port}"
    module = "orchestrator.scheduler.server"
    return {
        "command": [sys.executable, "-m", module, place, "--data", "scheduler.sqlite"],
        **({} if port is None else {"port": port}),
        "env": {"Auth__ApiKey": "${secrets.key}", "Jwt__Key": "${secrets.signing}"},
        "health": health,
        "mcp": {"name": "Scheduler", "auth": {"client_id": "me", "api_key": "${secrets.key}"}},
        **more,
    }


def probed(one: Stack, name: str, text: str) -> dict[str, Any]:
    """Wait until the last probe of the service says ``text``."""
    return one.wait_for(name, lambda it: text in ((it["last_probe"] or {}).get("text") or ""), 10)


def test_its_tools_are_listed_where_it_is_found_to_listen(make: Make) -> None:
    health = {"mcp": {"tools": ["scheduleConversation", "cancelConversation"]}}
    one = make({"scheduler": scheduler(health)}, secrets=SECRETS)
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 0, ran
    found = one.service("scheduler")
    assert found["health"] == "healthy"
    assert found["last_probe"]["kind"] == "mcp"
    assert found["last_probe"]["text"].startswith("tools/list in ")
    path = one.folder / "config/config.json"
    wait_until(path.exists)
    (entry,) = json.loads(path.read_text())["mcp"]["mcp_servers"]
    assert entry["transport"]["url"] == f"{found['url']}/mcp"


def test_a_missing_tool_is_named_and_it_is_not_healthy(make: Make) -> None:
    health = {"mcp": {"path": "/mcp", "tools": ["fly"]}}
    one = make({"scheduler": scheduler(health, free_port())}, secrets=SECRETS)
    one.up()
    found = probed(one, "scheduler", "there is no tool 'fly'")
    assert found["health"] != "healthy"
    assert "scheduleConversation" in found["last_probe"]["text"]
    key = json.loads((one.state_dir / "secrets.json").read_text())["key"]
    assert key not in json.dumps(one.snapshot())


def test_a_tool_list_that_fails_is_no_health_although_the_process_says_it_is(make: Make) -> None:
    port = free_port()
    service = {
        "command": [sys.executable, "-c", FAILING, str(port)],
        "port": port,
        "health": {"http": "/health", "mcp": True},
    }
    one = make({"scheduler": service})
    one.up()
    found = probed(one, "scheduler", "GET of the tool list: 500")
    assert found["state"] == "starting"
    assert found["last_probe"]["kind"] == "mcp"


def test_a_foreign_listener_gets_no_credentials_and_is_not_even_asked(make: Make) -> None:
    port = free_port()
    idle = {
        **scheduler({"mcp": {"tools": ["fly"]}}, port),
        "command": [sys.executable, "-c", "import time; time.sleep(600)"],
    }
    one = make({"scheduler": idle}, secrets=SECRETS)
    one.up()
    probed(one, "scheduler", "nothing listens")
    server = Scripted(lambda _: NOTHING, port)
    try:
        probed(one, "scheduler", f"is pid {os.getpid()}, not of this service")
        assert server.asked == []
    finally:
        server.close()
