"""The real .NET scheduler behind a relay that knows the older era of MCP only, and its old door."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from orchestrator.scheduler import Rejected, SchedulerClient, Status
from tests.integration.scheduler.conftest import Dotnet
from tests.integration.scheduler.scripted import Answer, Asked, Scripted, scripted
from tests.integration.scheduler.stage import API_KEY, Process, caller, running
from tests.integration.scheduler.test_mcp_probe import TOOLS, here, rpc

MODERN = "2026-07-28"
PASSED_ON = ("Content-Type", "Mcp-Session-Id")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def relay(tmp_path: Path, dotnet: Dotnet) -> Iterator[Scripted]:
    """Pass everything on to a .NET scheduler that speaks MCP, but for what is newer than 2025."""
    with (
        running(dotnet.process(tmp_path, Test__Mcp="standard")) as process,
        httpx2.Client(base_url=process.url, trust_env=False, verify=False) as http,
        scripted(lambda asked: passed_on(asked, process, http)) as made,
    ):
        yield made


def passed_on(asked: Asked, process: Process, http: httpx2.Client) -> Answer:
    if asked.headers.get("mcp-protocol-version") == MODERN:
        # Source: the specification of 2025-11-25, "Protocol Version Header".
        return Answer(400, b"Bad Request: unsupported protocol version")
    headers = {name: value for name, value in asked.headers.items() if name != "host"}
    said = http.request(asked.method, asked.path, headers=headers, content=asked.body)
    kept = {name: said.headers[name] for name in PASSED_ON if name in said.headers}
    return Answer(said.status_code, said.content, kept)


@pytest.mark.anyio
async def test_the_client_speaks_the_older_era_with_it(relay: Scripted) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    async with SchedulerClient(f"{relay.url}/mcp", "tests", API_KEY) as client:
        assert await client.check() == "standard MCP (initialize)"
        assert {tool.name for tool in await client.tools()} == set(TOOLS)
        made = await client.schedule("x", later, "http://127.0.0.1:9/x")
        assert await client.status(made) is Status.SCHEDULED
        assert await client.cancel(made) is True
        assert await client.status(made) is Status.CANCELLED
        with pytest.raises(Rejected, match="must be in the future"):
            await client.schedule("x", "2020-01-01", "http://127.0.0.1:9/x")


def test_the_probe_speaks_the_older_era_with_it(relay: Scripted) -> None:
    prober = here(relay, *TOOLS)
    for _ in range(2):
        found = prober.ask()
        assert found.ok, found
        assert found.text.startswith("tools/list in ")
    called = [rpc(asked) for asked in relay.asked]
    assert called.count("initialize") >= 2
    assert called.count("tools/list") == 2


def test_its_old_door_answers_once_its_fault_is_mended(tmp_path: Path, dotnet: Dotnet) -> None:
    process = dotnet.process(tmp_path, Test__ExecuteFault="false")
    with running(process), caller(process.url) as asked:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        parameters = {"conversationText": "x", "scheduledTime": later, "endpoint": "http://a/"}
        made = asked.ask(
            "POST",
            "/mcp/execute",
            json={"toolId": "scheduleConversation", "toolParameters": parameters},
        )
        assert (made.status_code, made.json()["toolId"]) == (200, "scheduleConversation")
        assert asked.status(made.json()["toolResult"]) == "Scheduled"
