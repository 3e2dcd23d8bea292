"""Whatever is sent to the embedded scheduler, it answers, and never with 500 or a traceback."""

import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.scheduler.stage import Caller, Process, caller, embedded, running

NAMES = st.sampled_from(
    [
        *("name", "arguments", "toolId", "toolParameters", "conversationText", "scheduledTime"),
        *("endpoint", "method", "additionalInfo", "conversationId", "target", "headersJson"),
        *("clientId", "apiKey", "token", "NAME", "x"),
    ]
)
WORDS = st.sampled_from(
    [
        *("scheduleConversation", "getConversationStatus", "cancelConversation", "fly", ""),
        *("2031-01-01", "2031-01-01T00:00:00+14:00", "http://127.0.0.1:9/", "\x00", "0" * 32),
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)
PATHS = st.sampled_from(
    [
        *("/api/auth/token", "/api/auth/validate", "/api/mcptools/execute", "/mcp/execute"),
        *("/api/conversations", "/mcp"),
    ]
)
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
often = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(embedded(tmp_path_factory.mktemp("fuzzed"))) as process:
        with caller(process.url) as asked:
            yield process, asked
        assert process.stop() == 0
        assert "Traceback" not in process.log()


@often
@given(path=PATHS, body=VALUES)
def test_any_json(fuzzed: tuple[Process, Caller], path: str, body: Any) -> None:
    content = json.dumps(body).encode()
    answer = fuzzed[1].ask("POST", path, content=content, headers=HEADERS)
    assert answer.status_code < 500, (path, body, answer.text)


@often
@given(path=PATHS, body=st.binary(max_size=200))
def test_any_bytes(fuzzed: tuple[Process, Caller], path: str, body: bytes) -> None:
    answer = fuzzed[1].ask("POST", path, content=body, headers=HEADERS)
    assert answer.status_code < 500, (path, body, answer.text)


@often
@given(query=st.dictionaries(st.sampled_from(["page", "pageSize", "status"]), st.text(max_size=12)))
def test_any_query(fuzzed: tuple[Process, Caller], query: dict[str, str]) -> None:
    answer = fuzzed[1].ask("GET", "/api/conversations", params=query)
    assert answer.status_code in {200, 400}, (query, answer.text)


@often
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_id(fuzzed: tuple[Process, Caller], wanted: str) -> None:
    answer = fuzzed[1].tool("getConversationStatus", conversationId=wanted)
    assert answer.status_code == 400


@often
@given(head=st.binary(max_size=80))
def test_any_bytes_on_the_line(fuzzed: tuple[Process, Caller], head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", fuzzed[0].port), 5) as line:
        line.sendall(head + b"\r\n\r\n")
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(100)
    assert not answer.startswith(b"HTTP/1.1 5")
    assert fuzzed[1].ask("GET", "/health").status_code == 200
