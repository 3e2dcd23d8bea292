"""Standard MCP of the embedded scheduler, asked by the official SDK in both eras."""

import http.client
import json
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.integration.scheduler.stage import (
    Caller,
    Process,
    Receiver,
    caller,
    embedded,
    running,
    soon,
    wait_until,
)

pytestmark = pytest.mark.anyio
LATER = "2031-01-01T10:00:00Z"
WHERE = "http://127.0.0.1:9/x"
NOBODY = "00000000-0000-0000-0000-000000000000"
MODES = ["2026-07-28", "legacy", "auto"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def connection(asked: Caller) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers=asked.headers, trust_env=False, timeout=10)


def schedule(**changed: object) -> dict[str, object]:
    return {"conversationText": "x", "scheduledTime": LATER, "endpoint": WHERE, **changed}


@pytest.mark.parametrize("mode", MODES)
async def test_the_three_tools_work_in_both_eras(guest: Caller, mode: str) -> None:
    async with (
        connection(guest) as http,
        Client(streamable_http_client(f"{guest.url}/mcp", http_client=http), mode=mode) as mcp,
    ):
        tools = (await mcp.list_tools()).tools
        assert [tool.name for tool in tools] == [
            *("scheduleConversation", "getConversationStatus", "cancelConversation"),
        ]
        assert tools[0].input_schema["required"] == [
            *("conversationText", "scheduledTime", "endpoint"),
        ]
        made = await mcp.call_tool("scheduleConversation", schedule())
        wanted = (made.structured_content or {})["result"]
        assert made.content[0].text == wanted  # type: ignore[union-attr]
        status = await mcp.call_tool("getConversationStatus", {"conversationId": wanted})
        assert status.structured_content == {"result": "Scheduled"}
        cancelled = await mcp.call_tool("cancelConversation", {"conversationId": wanted})
        assert cancelled.structured_content == {"result": True}
        assert cancelled.content[0].text == "true"  # type: ignore[union-attr]
        assert guest.status(wanted) == "Cancelled"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("scheduleConversation", {}, "conversationText is required"),
        ("scheduleConversation", schedule(endpoint=None), "endpoint is required"),
        (
            "scheduleConversation",
            schedule(endpoint="x"),
            "Endpoint must be an http or https URL (Parameter 'endpoint')",
        ),
        (
            "scheduleConversation",
            schedule(scheduledTime="2020-01-01"),
            "Scheduled time must be in the future (Parameter 'scheduledTime')",
        ),
        (
            "getConversationStatus",
            {"conversationId": NOBODY},
            "Conversation not found (Parameter 'conversationId')",
        ),
    ],
)
async def test_a_refusal_has_the_words_of_the_dialect(
    guest: Caller, mode: str, tool: str, arguments: dict[str, object], words: str
) -> None:
    async with (
        connection(guest) as http,
        Client(streamable_http_client(f"{guest.url}/mcp", http_client=http), mode=mode) as mcp,
    ):
        result = await mcp.call_tool(tool, arguments)
        assert result.is_error
        assert result.content[0].text == words  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="Unknown tool: fly"):
            await mcp.call_tool("fly", {})


async def test_a_legacy_client_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    process = embedded(tmp_path)
    with running(process), caller(process.url) as asked:
        port = process.port
        async with (
            connection(asked) as http,
            Client(
                streamable_http_client(f"{asked.url}/mcp", http_client=http), mode="legacy"
            ) as mcp,
        ):
            made = await mcp.call_tool("scheduleConversation", schedule())
            assert process.stop() == 0
            with running(embedded(tmp_path, port=port)):
                wanted = (made.structured_content or {})["result"]
                status = await mcp.call_tool("getConversationStatus", {"conversationId": wanted})
                assert status.structured_content == {"result": "Scheduled"}


async def test_a_conversation_scheduled_by_mcp_is_delivered(
    guest: Caller, receiver: Receiver
) -> None:
    async with (
        connection(guest) as http,
        Client(streamable_http_client(f"{guest.url}/mcp", http_client=http)) as mcp,
    ):
        arguments = schedule(scheduledTime=soon(), endpoint=receiver.url, conversationText={"a": 1})
        await mcp.call_tool("scheduleConversation", arguments)
        wait_until(receiver.texts)
        assert receiver.texts() == ['{"a":1}']


def test_half_a_character_is_refused(guest: Caller, shared: Process) -> None:
    arguments = schedule(conversationText="@@")
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "scheduleConversation", "arguments": arguments, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "scheduleConversation",
    }
    content = json.dumps(message).replace("@@", "\\ud800")
    answer = guest.ask("POST", "/mcp", content=content, headers=headers)
    assert answer.status_code < 500
    assert "not valid Unicode" in answer.text or "error" in answer.text
    assert "Traceback" not in shared.log()


def test_without_a_token_nobody_gets_to_it(shared: Process) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = httpx2.request(method, f"{shared.url}/mcp", trust_env=False)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_there_are_no_sessions_to_get_or_delete(guest: Caller) -> None:
    for method in ("GET", "DELETE"):
        answer = guest.ask(method, "/mcp")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"jsonrpc":"2.0"}', b"\xff"])
def test_what_is_no_message_is_refused_without_a_traceback(
    guest: Caller, shared: Process, body: bytes
) -> None:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    answer = guest.ask("POST", "/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text + shared.log()


def test_a_request_that_comes_before_the_sdk_is_held_and_answered(tmp_path: Path) -> None:
    with running(embedded(tmp_path)) as process, caller(process.url) as asked:
        # The process listens since a few milliseconds; the SDK takes most of a second.
        headers = {
            **asked.headers,
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        line = http.client.HTTPConnection("127.0.0.1", process.port, timeout=20)
        params = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "0"},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        line.request("POST", "/mcp", json.dumps(message), headers)
        assert httpx2.get(f"{process.url}/health", trust_env=False, timeout=2).status_code == 200
        assert line.getresponse().status == 200
        line.close()
