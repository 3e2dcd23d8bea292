"""The `mcp` probe against real schedulers, and against a scripted one with faults."""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.spec.model import Health
from orchestrator.system.clock import SystemClock
from orchestrator.system.listeners import Listeners
from orchestrator.system.mcp_probe import McpAsked, McpServer, message_of
from orchestrator.system.probes import Answer as HttpAnswer
from orchestrator.system.probes import ProbeResult
from orchestrator.system.probing import Target
from tests.integration.scheduler.scripted import NOTHING, Answer, Asked, Scripted, scripted
from tests.integration.scheduler.stage import API_KEY, Process, embedded, free_port, running

TOOLS = ("scheduleConversation", "getConversationStatus", "cancelConversation")
LEGACY_SERVER = Path(__file__).parent / "legacy_server.py"
DISCOVERED = {"jsonrpc": "2.0", "id": 1, "result": {"supportedVersions": ["2026-07-28"]}}
CHOICES = {"toolChoices": [{"toolId": name, "toolName": name} for name in TOOLS]}


async def _nothing(*_: object) -> None:
    """Run no command: no probe here has one."""


class Prober:
    """Probes of one run whose processes are ``pids``."""

    def __init__(
        self,
        port: int,
        pids: set[int],
        tools: tuple[str, ...] = (),
        api_key: str | None = API_KEY,
        **health: Any,
    ) -> None:
        clock = SystemClock()
        self.target = Target(
            name="scheduler",
            health=Health.model_validate(health),
            port=port,
            listeners=Listeners(clock),
            tree=lambda: pids,
            run_exec=_nothing,
            new_lines=list,
            env={},
            cwd=".",
        )
        self.target.mcp = McpServer(McpAsked("/mcp", tools, "tests", api_key), clock)

    def ask(self) -> ProbeResult:
        (result,) = anyio.run(self.target.probe)
        assert result.kind == "mcp"
        return result


def of(process: Process, *tools: str, api_key: str | None = API_KEY) -> Prober:
    return Prober(process.port, {process.child.pid}, tools, api_key)


def here(server: Scripted, *tools: str, **more: Any) -> Prober:
    """Return a prober of a scripted server, which runs in this process."""
    more.setdefault("pids", {os.getpid()})
    return Prober(int(server.url.rpartition(":")[2]), tools=tools, **more)


def rpc(asked: Asked) -> str:
    """Return the called method of JSON-RPC, or the method and path of another request."""
    if asked.path == "/mcp" and asked.method == "POST":
        return str(asked.json()["method"])
    return f"{asked.method} {asked.path}"


# Real schedulers.


def test_the_embedded_scheduler_is_ready_by_its_discovery(shared: Process) -> None:
    found = of(shared).ask()
    assert found.ok, found
    assert found.text.startswith("server/discover in ")


def test_the_embedded_scheduler_has_its_three_tools(shared: Process) -> None:
    prober = of(shared, *TOOLS)
    for _ in range(2):
        found = prober.ask()
        assert found.ok, found
        assert found.text.startswith("tools/list in ")


def test_missing_tools_are_named_and_those_that_are_there(shared: Process) -> None:
    found = of(shared, TOOLS[0], "fly", "swim").ask()
    assert not found.ok
    assert "there is no tool 'fly', 'swim'" in found.text
    assert TOOLS[0] in found.text.partition("it has")[2]


def test_without_credentials_a_server_that_wants_a_token_is_up(shared: Process) -> None:
    found = of(shared, api_key=None).ask()
    assert found.ok, found
    assert "401" in found.text
    assert "up, wants a token" in found.text


def test_without_credentials_required_tools_cannot_be_seen(shared: Process) -> None:
    found = of(shared, *TOOLS, api_key=None).ask()
    assert not found.ok
    assert "its tools take a token" in found.text


def test_wrong_credentials_are_told_and_not_shown(shared: Process) -> None:
    found = of(shared, api_key="a-wrong-key").ask()
    assert not found.ok
    assert "no token for the credentials of `mcp.auth`" in found.text
    assert "401" in found.text
    assert "a-wrong-key" not in found.text


def test_a_scheduler_that_is_killed_is_refused(tmp_path: Path) -> None:
    with running(embedded(tmp_path)) as process:
        prober = of(process)
        assert prober.ask().ok
        process.stop(9)
        assert "connection refused" in prober.ask().text


@pytest.mark.parametrize("form", ["json", "stream"])
def test_a_server_of_the_older_era_is_initialized(tmp_path: Path, form: str) -> None:
    port = free_port()
    command = [sys.executable, str(LEGACY_SERVER), str(port), form]
    with running(Process(command, tmp_path / "legacy.log")) as process:
        found = of(process).ask()
        assert found.ok, found
        assert found.text.startswith("initialize in ")
        prober = of(process, *TOOLS)
        for _ in range(2):
            found = prober.ask()
            assert found.ok, found
            assert found.text.startswith("tools/list in ")


@pytest.mark.parametrize(("mcp", "text"), [("", "the tool list in "), ("standard", "tools/list")])
def test_the_dotnet_scheduler_lists_its_tools(
    tmp_path: Path, request: pytest.FixtureRequest, mcp: str, text: str
) -> None:
    with running(request.getfixturevalue("dotnet").process(tmp_path, Test__Mcp=mcp)) as process:
        prober = of(process, *TOOLS)
        for _ in range(2):
            found = prober.ask()
            assert found.ok, found
            assert found.text.startswith(text)
        assert not of(process, "fly").ask().ok
        assert of(process).ask().ok
        assert not of(process, api_key="a-wrong-key").ask().ok


# What a scripted one is asked.


def guarded(asked: Asked) -> Answer | None:
    """Answer as the dialect behind a token: `/health` is fine whatever happens."""
    if asked.path == "/mcp/tools":
        is_known = asked.headers.get("authorization") == "Bearer t1"
        return Answer(200, CHOICES) if is_known else Answer(401, b"")
    return Answer(200, {"status": "healthy"}) if asked.path == "/health" else None


def test_what_answered_and_the_token_are_remembered_for_the_run() -> None:
    with scripted(guarded) as server:
        prober = here(server)
        assert prober.ask().text.startswith("the tool list in ")
        assert [rpc(one) for one in server.asked] == [
            "server/discover",
            "initialize",
            "GET /mcp/tools",
            "POST /api/auth/token",
            "GET /mcp/tools",
        ]
        assert server.asked[3].json() == {"clientId": "tests", "apiKey": API_KEY}
        server.asked.clear()
        assert prober.ask().ok
        assert [rpc(one) for one in server.asked] == ["GET /mcp/tools"]


def test_a_token_about_to_end_is_fetched_again() -> None:
    def script(asked: Asked) -> Answer | None:
        if asked.path == "/api/auth/token":
            return Answer(200, {"token": "t1", "expiresIn": 60})
        return guarded(asked)

    with scripted(script) as server:
        prober = here(server)
        assert prober.ask().ok
        assert prober.ask().ok
        assert server.count("/api/auth/token") == 2


def test_a_token_that_is_refused_is_fetched_again_once() -> None:
    known = ["t1"]

    def script(asked: Asked) -> Answer | None:
        if asked.path == "/api/auth/token":
            return Answer(200, {"token": known[0], "expiresIn": 7200})
        if asked.path == "/mcp/tools":
            is_known = asked.headers.get("authorization") == f"Bearer {known[0]}"
            return Answer(200, CHOICES) if is_known else Answer(401, b"")
        return None

    with scripted(script) as server:
        prober = here(server)
        assert prober.ask().ok
        known[0] = "t2"
        assert prober.ask().ok
        assert server.count("/api/auth/token") == 2


def test_where_nobody_gives_tokens_the_key_is_the_token() -> None:
    def script(asked: Asked) -> Answer | None:
        if asked.headers.get("authorization") == f"Bearer {API_KEY}":
            return Answer(200, DISCOVERED)
        return NOTHING if asked.path == "/api/auth/token" else Answer(401, b"")

    with scripted(script) as server:
        assert here(server).ask().ok


def test_an_answer_that_repeats_the_token_is_not_repeated() -> None:
    def script(asked: Asked) -> Answer | None:
        if asked.path == "/api/auth/token":
            return Answer(403, asked.body) if asked.json()["apiKey"] != API_KEY else None
        return Answer(403, {"said": asked.headers.get("authorization", "")})

    with scripted(script) as server:
        found = here(server).ask()
        assert not found.ok
        assert "the credentials of `mcp.auth` are refused: 403" in found.text
        found = here(server, api_key="another-key-that-nobody-knows").ask()
        assert not found.ok
        assert "another-key" not in found.text


def test_a_scheduler_whose_tool_list_fails_is_not_ready_although_its_health_is_fine() -> None:
    def script(asked: Asked) -> Answer | None:
        answer = guarded(asked)
        is_list = asked.path == "/mcp/tools" and answer is not None and answer.status == 200
        return Answer(500, b"") if is_list else answer

    with scripted(script) as server:
        found = here(server).ask()
        assert not found.ok
        assert found.text == "GET of the tool list: 500"


def test_a_server_without_mcp_is_told_with_all_that_it_said() -> None:
    with scripted(lambda _: NOTHING) as server:
        found = here(server).ask()
        assert not found.ok
        assert found.text == (
            "no MCP at /mcp: server/discover says 404; initialize says 404; "
            "GET of the tool list says 404"
        )


def test_a_page_that_answers_everything_is_no_mcp() -> None:
    with scripted(lambda _: Answer(200, b"<html>", {"Content-Type": "text/html"})) as server:
        assert here(server).ask().text.startswith("no MCP at /mcp: ")


def test_a_redirect_is_not_followed() -> None:
    with scripted(lambda _: Answer(307, b"", {"Location": "/mcp/"})) as server:
        assert "a redirect to /mcp/ is not followed" in here(server).ask().text


@pytest.mark.parametrize("failing", ["", "tools/list"])
def test_the_session_that_it_opened_is_closed(failing: str) -> None:
    def script(asked: Asked) -> Answer | None:
        method = rpc(asked)
        if method == failing:
            return Answer(500, b"")
        result: dict[str, object] = {"protocolVersion": "2025-06-18"}
        if method == "tools/list":
            result = {"tools": [{"name": "a"}]}
        if method in {"initialize", "tools/list"}:
            body = {"jsonrpc": "2.0", "id": 1, "result": result}
            return Answer(200, body, {"Mcp-Session-Id": "s1"})
        return Answer(400, b"") if method == "server/discover" else Answer(202, b"")

    with scripted(script) as server:
        assert here(server, "a").ask().ok == (not failing)
        closing = server.asked[-1]
        assert (closing.method, closing.headers["mcp-session-id"]) == ("DELETE", "s1")
        assert closing.headers["mcp-protocol-version"] == "2025-06-18"
        assert "notifications/initialized" in [rpc(one) for one in server.asked[:-1]]


def test_tools_are_read_from_all_pages() -> None:
    def script(asked: Asked) -> Answer | None:
        if rpc(asked) == "server/discover":
            return Answer(200, DISCOVERED)
        cursor = asked.json()["params"].get("cursor", "")
        result = {"tools": [{"name": f"tool{cursor}"}], "nextCursor": cursor + "x"}
        if len(cursor) == 2:
            del result["nextCursor"]
        return Answer(200, {"jsonrpc": "2.0", "id": 1, "result": result})

    with scripted(script) as server:
        assert here(server, "tool", "toolxx").ask().ok


def test_pages_without_end_have_an_end() -> None:
    def script(asked: Asked) -> Answer | None:
        if rpc(asked) == "server/discover":
            return Answer(200, DISCOVERED)
        return Answer(200, {"id": 1, "result": {"tools": [], "nextCursor": "more"}})

    with scripted(script) as server:
        assert "no end" in here(server, "a", timeout=30).ask().text


def test_one_deadline_is_over_everything() -> None:
    with scripted(guarded) as server:
        prober = here(server, timeout=0.3)
        server.hold.clear()
        found = prober.ask()
        assert found.text == "timed out after 300ms"
        assert found.duration_s < 1


def test_a_list_without_measure_is_not_read() -> None:
    def script(asked: Asked) -> Answer | None:
        return Answer(200, b"[" * 2_000_000) if asked.path == "/mcp/tools" else None

    with scripted(script) as server:
        assert "more than 1048576 bytes" in here(server).ask().text


# Who gets credentials.


def test_a_foreign_listener_is_asked_nothing() -> None:
    with scripted(guarded) as server:
        found = here(server, pids=set()).ask()
        assert not found.ok
        assert "not of this service" in found.text
        assert server.asked == []


def test_whoever_was_not_seen_to_be_the_service_gets_no_credentials() -> None:
    with scripted(guarded) as server:
        found = here(server, pids=set(), listener="any").ask()
        assert found.ok, found
        assert "up, wants a token" in found.text
        assert "not seen to be the service's" in found.text
        assert server.count("/api/auth/token") == 0
        assert not any("authorization" in one.headers for one in server.asked)
        assert not here(server, "fly", pids=set(), listener="any").ask().ok


def test_a_known_token_does_not_go_to_a_listener_that_took_the_port() -> None:
    pids = {os.getpid()}
    with scripted(guarded) as server:
        prober = here(server, pids=pids, listener="any")
        assert prober.ask().ok
        server.asked.clear()
        pids.clear()
        assert prober.ask().ok
        assert [one.headers.get("authorization") for one in server.asked] == [None]


# Event streams.


@contextlib.contextmanager
def streaming(body: bytes) -> Iterator[int]:
    """Answer one request with an event stream that does not end; yields the port."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head + body)
                done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            done.set()
            thread.join()


def test_a_stream_need_not_end() -> None:
    message = b'{"jsonrpc": "2.0", "id": 1,\ndata: "result": {"supportedVersions": ["2026-07-28"]}}'
    note = b'data: {"jsonrpc": "2.0", "method": "notifications/message"}\n\n'
    with streaming(b": hello\n\n" + note + b"event: message\ndata: " + message + b"\n\n") as port:
        found = Prober(port, {os.getpid()}, timeout=5).ask()
        assert found.ok, found
        assert found.duration_s < 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_may_end_their_lines_in_every_way(end: str) -> None:
    lines = ["id: 1", 'data:{"result":', "data: 1}", "", ""]
    answer = HttpAnswer(200, {"content-type": "text/event-stream"}, end.join(lines).encode())
    assert message_of(answer) == {"result": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b"data: {}\n\n"])
def test_what_is_no_message_is_none(body: bytes) -> None:
    for kind in ("application/json", "text/event-stream"):
        assert message_of(HttpAnswer(200, {"content-type": kind}, body)) == {}
