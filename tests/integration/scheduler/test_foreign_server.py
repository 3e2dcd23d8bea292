"""Our client and our probe against a server that somebody else wrote and that is no scheduler."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio.to_thread
import pytest

from orchestrator.scheduler import (
    NotFound,
    Rejected,
    SchedulerClient,
    SchedulerService,
    ServerFailed,
    Unauthorized,
)
from orchestrator.system.clock import SystemClock
from orchestrator.system.mcp_probe import McpAsked, McpServer
from tests.everything import found_everything
from tests.integration.scheduler.scripted import NOTHING, Answer, Asked, Scripted, scripted
from tests.integration.scheduler.stage import (
    API_KEY,
    Process,
    free_port,
    running,
    wait_until,
    write_config,
)

pytestmark = pytest.mark.anyio
WHERE = "http://127.0.0.1:9/x"
LOGIN = "/api/auth/token"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run the reference server."""
    node, script = found_everything()
    process = Process(
        [node, script, "streamableHttp"],
        tmp_path_factory.mktemp("everything") / "server.log",
        {"PORT": str(free_port())},
        telling=re.compile(r"listening on port (\d+)"),
    )
    with running(process):
        yield process


def base(process: Process) -> str:
    return f"http://127.0.0.1:{process.port}"


def sessions(process: Process) -> tuple[int, int]:
    """Return how many sessions were opened, and how many closed."""
    log = process.log()
    return log.count("Session initialized with ID"), log.count("Transport closed for session")


def client_of(url: str) -> SchedulerClient:
    return SchedulerClient(f"{url}/mcp", "me", API_KEY)


async def test_its_tools_are_listed_and_every_session_is_closed(everything: Process) -> None:
    async with client_of(base(everything)) as client:
        assert await client.check() == "standard MCP (initialize)"
        (echo,) = [tool for tool in await client.tools() if tool.name == "echo"]
        assert echo.input_schema["required"] == ["message"]
    await anyio.to_thread.run_sync(wait_until, lambda: len(set(sessions(everything))) == 1)
    assert sessions(everything)[0] > 0


async def test_tools_that_it_has_not_are_refused_in_its_words(everything: Process) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    async with client_of(base(everything)) as client:
        with pytest.raises(Rejected, match="Tool scheduleConversation not found"):
            await client.schedule("x", at, WHERE)
        with pytest.raises(Rejected, match="Tool getConversationStatus not found"):
            await client.status("7")
        with pytest.raises(Rejected, match="Tool cancelConversation not found"):
            await client.cancel("7")
        with pytest.raises(NotFound, match="/api/conversations"):
            await client.conversations()


async def test_the_service_answers_as_it_does_when_something_failed(
    everything: Process, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.json"
    write_config(path, base(everything))
    async with SchedulerService(str(path)) as service:
        assert await service.initialize()
        at = datetime.now(UTC) + timedelta(hours=1)
        assert await service.schedule_conversation("x", at, WHERE) is None
        assert await service.get_conversation_status("7") is None
        assert not await service.cancel_conversation("7")
    assert "Tool scheduleConversation not found" in caplog.text
    assert API_KEY not in caplog.text


@pytest.mark.parametrize(
    ("tools", "ok", "words"),
    [
        ((), True, "initialize in {took}"),
        (("echo", "get-sum"), True, "tools/list in {took}"),
        (("echo", "fly"), False, "tools/list after {took}, but there is no tool 'fly'; it has "),
    ],
)
async def test_the_probe_understands_it(
    everything: Process, tools: tuple[str, ...], ok: bool, words: str
) -> None:
    server = McpServer(McpAsked("/mcp", tools), SystemClock())
    for _ in range(3):
        answer, text = await server.ask(base(everything), lambda: True)
        assert (answer, text.startswith(words)) == (ok, True), text
    await anyio.to_thread.run_sync(wait_until, lambda: len(set(sessions(everything))) == 1)


# A server without a login.


def without_login(server_says: Answer) -> Iterator[Scripted]:
    def script(asked: Asked) -> Answer:
        return NOTHING if asked.path == LOGIN else server_says

    with scripted(script) as server:
        yield server


@pytest.fixture
def refusing() -> Iterator[Scripted]:
    yield from without_login(Answer(401, b""))


@pytest.fixture
def empty() -> Iterator[Scripted]:
    yield from without_login(NOTHING)


async def test_where_nobody_gives_tokens_the_key_is_the_token(refusing: Scripted) -> None:
    async with client_of(refusing.url) as client:
        with pytest.raises(Unauthorized, match=r"takes no API key for a token.*token answers 404"):
            await client.tools()
    shown = {asked.headers.get("authorization") for asked in refusing.asked if asked.path == "/mcp"}
    assert shown == {f"Bearer {API_KEY}"}


async def test_without_a_login_and_without_mcp_it_is_no_scheduler(empty: Scripted) -> None:
    async with client_of(empty.url) as client:
        for ask in (client.check, client.tools, client.check):
            with pytest.raises(ServerFailed, match="/api/auth/token answers 404"):
                await ask()


async def test_a_login_that_is_there_again_is_used_again(empty: Scripted) -> None:
    async with client_of(empty.url) as client:
        with pytest.raises(ServerFailed):
            await client.check()
        empty.script = lambda _: None
        assert await client.check() == "the REST dialect"
        tokens = {asked.headers.get("authorization") for asked in empty.asked[-1:]}
        assert tokens == {"Bearer t1"}
