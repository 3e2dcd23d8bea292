"""The wire contract of the .NET scheduler, a row for each sentence, asked of both schedulers.

``mended`` is what the embedded scheduler does right where the published service is at fault;
docs/embedded-scheduler.md lists those.
"""

import json
import re
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.integration.scheduler.stage import API_KEY, Caller, Process

LATER = "2031-01-01T10:00:00Z"
WHERE = "http://127.0.0.1:9/x"
NOBODY = "00000000-0000-0000-0000-000000000000"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JSON = "application/json; charset=utf-8"
PROBLEM = "application/problem+json; charset=utf-8"
TARGET = {"endpoint": WHERE, "method": "POST"}
SCHEDULED = {"conversationText": "x", "scheduledTime": LATER, "endpoint": WHERE}
EMPTY = object()
Check = Callable[[Any], object]


@dataclass(frozen=True)
class Row:
    """A sentence, a request, and its answer."""

    says: str
    method: str
    path: str
    status: int
    body: Any = None
    send: Any = None
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = "good"
    mended: Mapping[str, Any] = field(default_factory=dict)


def problem(status: int, section: str, title: str) -> Check:
    def check(body: Any) -> bool:
        assert body["type"] == f"https://tools.ietf.org/html/rfc9110#section-{section}"
        assert (body["title"], body["status"]) == (title, status)
        assert body["traceId"]
        return ("errors" in body) == (status == 400)

    return check


INVALID = problem(400, "15.5.1", "One or more validation errors occurred.")
UNAUTHORIZED = problem(401, "15.5.2", "Unauthorized")
NOT_FOUND = problem(404, "15.5.5", "Not Found")
NO_JSON = problem(415, "15.5.16", "Unsupported Media Type")


def error(text: str) -> dict[str, str]:
    return {"error": text}


def is_guid(result: str) -> Check:
    return lambda body: GUID.fullmatch(body[result]) and list(body) == [result]


def credentials(**changed: object) -> dict[str, object]:
    return {"clientId": "me", "apiKey": API_KEY, **changed}


HEALTH = [
    Row("GET /health says healthy", "GET", "/health", 200, {"status": "healthy"}, token=None),
    Row("paths have no case", "GET", "/HEALTH", 200, {"status": "healthy"}, token=None),
    Row("a slash at the end is fine", "GET", "/health/", 200, {"status": "healthy"}, token=None),
    Row(
        "POST /health tells the checks, without a charset",
        "POST",
        "/health",
        200,
        lambda b: (
            b["status"] == "Healthy"
            and [c["name"] for c in b["checks"]] == ["ApplicationDbContext", "self"]
            and set(b["checks"][0]) == {"name", "status", "description", "duration"}
            and re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{7})?", b["totalDuration"])
        ),
        answers={"content-type": "application/json"},
        token=None,
    ),
    Row(
        "HEAD /health has no charset either",
        *("HEAD", "/health", 200, EMPTY),
        answers={"content-type": "application/json"},
        token=None,
    ),
    Row(
        "the root is a page",
        *("GET", "/", 200),
        lambda text: text.startswith("<!DOCTYPE html>"),
        answers={"content-type": "text/html"},
        token=None,
    ),
    Row("an unknown path is 404 and empty", "GET", "/nope", 404, EMPTY, token=None),
    Row(
        "a wrong method is 405 and empty, before any token",
        *("PATCH", "/api/conversations", 405, EMPTY),
        answers={"allow": "GET, POST"},
        token=None,
    ),
    Row("HEAD is not GET", "HEAD", "/mcp/tools", 405, EMPTY, answers={"allow": "GET"}),
    Row("POST to /mcp/tools is 405", "POST", "/mcp/tools", 405, EMPTY, answers={"allow": "GET"}),
]

TOKENS = [
    Row(
        "a token for the key, and its life",
        *("POST", "/api/auth/token", 200),
        lambda b: b["expiresIn"] == 7200 and b["token"].count(".") == 2,
        send=credentials(),
        token=None,
    ),
    Row(
        "property names are matched without case",
        *("POST", "/api/auth/token", 200, lambda b: b["token"]),
        send={"ClientId": "me", "APIKEY": API_KEY},
        token=None,
    ),
    Row(
        "but not with underscores",
        *("POST", "/api/auth/token", 400, INVALID),
        send={"client_id": "me", "api_key": API_KEY},
        token=None,
    ),
    Row(
        "unknown properties are ignored",
        *("POST", "/api/auth/token", 200, lambda b: b["token"]),
        send=credentials(more=[1]),
        token=None,
    ),
    Row(
        "a wrong key is 401",
        *("POST", "/api/auth/token", 401, UNAUTHORIZED),
        send=credentials(apiKey="wrong"),
        token=None,
    ),
    Row(
        "an empty client id is 401",
        *("POST", "/api/auth/token", 401, UNAUTHORIZED),
        send=credentials(clientId=""),
        token=None,
    ),
    Row(
        "blanks are a client id",
        *("POST", "/api/auth/token", 200, lambda b: b["token"]),
        send=credentials(clientId="  "),
        token=None,
    ),
    *(
        Row(
            f"{what} is a problem",
            *("POST", "/api/auth/token", 400, INVALID),
            raw=raw,
            headers={"content-type": "application/json"},
            answers={"content-type": PROBLEM},
            token=None,
        )
        for what, raw in {
            "a missing property": b'{"clientId":"me"}',
            "a null": b'{"clientId":null,"apiKey":"k"}',
            "a number for a string": b'{"clientId":1,"apiKey":"k"}',
            "broken JSON": b'{"clientId":',
            "a trailing comma": b'{"clientId":"me","apiKey":"k",}',
            "a list": b"[]",
            "nothing": b"",
            "null": b"null",
            "half a surrogate pair": b'{"clientId":"\\ud800","apiKey":"k"}',
            "what is no UTF-8": b'{"clientId":"\xff","apiKey":"k"}',
            "NaN": b'{"clientId":NaN,"apiKey":"k"}',
        }.items()
    ),
    Row(
        "no JSON content type is 415",
        *("POST", "/api/auth/token", 415, NO_JSON),
        raw=b"clientId=me",
        headers={"content-type": "application/x-www-form-urlencoded"},
        token=None,
    ),
    Row(
        "text/json is JSON too",
        *("POST", "/api/auth/token", 200, lambda b: b["token"]),
        raw=json.dumps(credentials()).encode(),
        headers={"content-type": "text/json"},
        token=None,
    ),
    Row(
        "a bad token is not valid",
        *("POST", "/api/auth/validate", 200, {"isValid": False, "clientId": None}),
        send={"token": "x"},
        token=None,
    ),
]

GUARDED = [
    ("GET", "/mcp/tools"),
    ("POST", "/mcp/execute"),
    ("GET", "/api/mcptools/tools"),
    ("POST", "/api/mcptools/execute"),
    ("GET", "/api/conversations"),
    ("POST", "/api/conversations"),
    ("GET", f"/api/conversations/{NOBODY}"),
    ("DELETE", f"/api/conversations/{NOBODY}"),
]
WHO = [
    *(
        Row(
            f"{method} {path} wants a token",
            *(method, path, 401, EMPTY),
            answers={"www-authenticate": "Bearer"},
            token=None,
        )
        for method, path in GUARDED
    ),
    Row("bearer has no case", "GET", "/mcp/tools", 200, token="bearer"),
    Row(
        "another scheme is no token",
        *("GET", "/mcp/tools", 401, EMPTY),
        answers={"www-authenticate": "Bearer"},
        headers={"authorization": "Basic eDp5"},
        token=None,
    ),
    Row(
        "what is no token is invalid",
        *("GET", "/mcp/tools", 401, EMPTY),
        answers={"www-authenticate": 'Bearer error="invalid_token"'},
        headers={"authorization": "Bearer x"},
        token=None,
    ),
    Row(
        "GET /mcp is 404 in the published service",
        *("GET", "/mcp", 404, EMPTY),
        mended={"status": 405, "answers": {"allow": "POST"}},
    ),
    Row(
        "POST /mcp is 404 in the published service",
        *("POST", "/mcp", 404, EMPTY),
        raw=b"{}",
        mended={"status": 400, "body": lambda b: b["jsonrpc"] == "2.0"},
        headers={
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        },
    ),
]

TOOLS = [
    Row(
        "/mcp/tools lists choices",
        *("GET", "/mcp/tools", 200),
        lambda b: (
            [t["toolId"] for t in b["toolChoices"]]
            == ["scheduleConversation", "getConversationStatus", "cancelConversation"]
            and b["toolChoices"][0]["toolName"] == "Schedule Conversation"
            and b["toolChoices"][0]["toolDescription"]
            == "Schedules a conversation to be delivered at a future time"
            and b["toolChoices"][2]["toolParameters"]
            == [
                {
                    "name": "conversationId",
                    "description": "The ID of the conversation to cancel",
                    "type": "string",
                    "required": True,
                }
            ]
        ),
        answers={"content-type": JSON},
    ),
    Row(
        "/api/mcptools/tools lists JSON Schemas",
        *("GET", "/api/mcptools/tools", 200),
        lambda b: (
            b["tools"][0]["inputSchema"]["required"]
            == ["conversationText", "scheduledTime", "endpoint"]
            and b["tools"][0]["inputSchema"]["properties"]["method"]["default"] == "POST"
            and b["tools"][1]["description"] == "Gets the status of a scheduled conversation"
        ),
        answers={"content-type": JSON},
    ),
]


def tool(says: str, name: str, arguments: object, status: int, body: Any, **more: Any) -> Row:
    send = {"name": name, "arguments": arguments}
    return Row(says, "POST", "/api/mcptools/execute", status, body, send, **more)


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in SCHEDULED.items() if key != name}


SCHEDULE = "scheduleConversation"
STATUS = "getConversationStatus"
CANCEL = "cancelConversation"
NO_TIME = error("Invalid scheduled time format. Use ISO 8601 format. (Parameter 'scheduledTime')")
NO_GUID = error("Invalid conversation ID format (Parameter 'conversationId')")
NO_ADDRESS = error("Endpoint must be an http or https URL (Parameter 'endpoint')")
PAST = "Scheduled time must be in the future"

CALLS = [
    tool("scheduling gives a GUID", SCHEDULE, SCHEDULED, 200, is_guid("result")),
    tool("tool names have no case", SCHEDULE.upper(), SCHEDULED, 200, is_guid("result")),
    tool(
        "unknown arguments are ignored, a null method is POST",
        *(SCHEDULE, {**SCHEDULED, "method": None, "zzz": 1}, 200, is_guid("result")),
    ),
    tool(
        "any word is a method",
        *(SCHEDULE, {**SCHEDULED, "method": "fly"}, 200, is_guid("result")),
    ),
    tool(
        "blanks are a text",
        SCHEDULE,
        {**SCHEDULED, "conversationText": " "},
        200,
        is_guid("result"),
    ),
    *(
        tool(
            f"{name} must be there",
            *(SCHEDULE, without(name), 400, error(f"{name} is required")),
        )
        for name in SCHEDULED
    ),
    *(
        tool(
            f"{name} must not be null",
            *(SCHEDULE, {**SCHEDULED, name: None}, 400, error(f"{name} is required")),
        )
        for name in SCHEDULED
    ),
    *(
        tool(
            f"{name} must not be empty",
            *(SCHEDULE, {**SCHEDULED, name: ""}),
            *(400, error(f"{spoken} is required (Parameter '{name}')")),
        )
        for name, spoken in {
            "conversationText": "Conversation text",
            "scheduledTime": "Scheduled time",
            "endpoint": "Endpoint",
        }.items()
    ),
    *(
        tool(f"{time!r} is a time", SCHEDULE, {**SCHEDULED, "scheduledTime": time}, 200, None)
        for time in [
            *("2031-01-01", "2031-01-01 10:00", "2031-01-01T10:00", "2031-01-01T10:00:00"),
            *("2031-01-01T10:00:00.1234567Z", "2031-01-01T10:00:00.12345678Z", "2031-1-1"),
            *("2031-01-01T10:00:00+02:00", "2031-01-01T10:00:00+0200", "2031-01-01T10:00:00+02"),
            *(" 2031-01-01T10:00:00Z ", "2031-01-01t10:00:00z", "2031-01-01T10:00:00,5Z"),
            *("2031-01-01T10:00:00-14:00", "9999-12-31T23:59:59.9999999Z", "2031-01"),
        ]
    ),
    *(
        tool(f"{time!r} is no time", SCHEDULE, {**SCHEDULED, "scheduledTime": time}, 400, NO_TIME)
        for time in [
            *(" ", "tomorrow", "2031", "20310101", "20310101T100000Z", "2031-01-01T10"),
            *("2031-01-01T24:00:00Z", "2031-02-30", "2031-01-01T10:00:60Z", "2031-W01-1"),
            *("2031-01-01T10:00:00+15:00", "1924905600", 12, "x" * 1000),
        ]
    ),
    *(
        tool(
            f"{time} is past",
            *(SCHEDULE, {**SCHEDULED, "scheduledTime": time}),
            *(400, error(f"{PAST} (Parameter 'scheduledTime')")),
        )
        for time in ["0001-01-01", "2020-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z"]
    ),
    *(
        tool(
            f"the endpoint {endpoint!r} is not checked by the published service",
            *(SCHEDULE, {**SCHEDULED, "endpoint": endpoint}, 200, is_guid("result")),
            mended={"status": 400, "body": NO_ADDRESS},
        )
        for endpoint in ["not a url", "ftp://host/x", "http://", "http://host:99999/", "//host/x"]
    ),
    tool("an id must be a GUID", STATUS, {"conversationId": "x"}, 400, NO_GUID),
    tool("true is no GUID", STATUS, {"conversationId": True}, 400, NO_GUID),
    tool("cancelling wants a GUID too", CANCEL, {"conversationId": "x"}, 400, NO_GUID),
    tool(
        "an id must not be empty",
        *(STATUS, {"conversationId": ""}),
        *(400, error("Conversation ID is required (Parameter 'conversationId')")),
    ),
    tool(
        "an unknown id has no status",
        *(STATUS, {"conversationId": NOBODY}),
        *(400, error("Conversation not found (Parameter 'conversationId')")),
    ),
    tool(
        "an unknown id is not cancelled", CANCEL, {"conversationId": NOBODY}, 200, {"result": False}
    ),
    tool(
        "argument names have case",
        STATUS,
        {"conversationid": NOBODY},
        400,
        error("conversationId is required"),
    ),
    tool("a tool must be known", "fly", {}, 400, error("Unknown tool: fly")),
    tool("a name must be no null", None, {}, 400, INVALID),  # type: ignore[arg-type]
    tool("a name must be a string", 5, {}, 400, INVALID),  # type: ignore[arg-type]
    tool("arguments must be an object", STATUS, [], 400, INVALID),
    tool(
        "arguments must be there", STATUS, None, 400, error(f"Arguments are required for {STATUS}")
    ),
    Row(
        "a tool must have a name",
        *("POST", "/api/mcptools/execute", 400, error("Unknown tool: ")),
        send={},
    ),
]

OLD_DOOR = [
    Row(
        "the old door never succeeds in the published service: schedule",
        *("POST", "/mcp/execute", 400, error("Missing required parameters")),
        send={"toolId": SCHEDULE, "toolParameters": SCHEDULED},
        mended={
            "status": 200,
            "body": lambda b: b["toolId"] == SCHEDULE and GUID.fullmatch(b["toolResult"]),
        },
    ),
    Row(
        "the old door never succeeds in the published service: cancel",
        *("POST", "/mcp/execute", 400, error("Missing conversationId parameter")),
        send={"toolId": CANCEL, "toolParameters": {"conversationId": NOBODY}},
        mended={"status": 200, "body": {"toolId": CANCEL, "toolResult": False}},
    ),
    Row(
        "the old door wants its parameters",
        *("POST", "/mcp/execute", 400, error("Missing required parameters")),
        send={"toolId": SCHEDULE, "toolParameters": without("endpoint")},
    ),
    Row(
        "the old door wants an id",
        *("POST", "/mcp/execute", 400, error("Missing conversationId parameter")),
        send={"toolId": STATUS, "toolParameters": {}},
    ),
    Row(
        "the old door knows its tools, with case",
        *("POST", "/mcp/execute", 400, error("Unknown tool ID: schedulEconversation")),
        send={"toolId": "schedulEconversation", "toolParameters": {}},
    ),
    Row("the old door wants both", "POST", "/mcp/execute", 400, INVALID, send={}),
    Row(
        "the old door wants no null",
        *("POST", "/mcp/execute", 400, INVALID),
        send={"toolId": STATUS, "toolParameters": None},
    ),
]


def made(says: str, status: int, body: Any, changed: Mapping[str, Any], **more: Any) -> Row:
    whole = {"conversationText": "x", "scheduledTime": LATER, "target": TARGET, **changed}
    send = {name: value for name, value in whole.items() if value is not EMPTY}
    return Row(says, "POST", "/api/conversations", status, body, send, **more)


def with_time(written: str) -> Check:
    return lambda body: body["scheduledTime"] == written and body["status"] == 0


RESOURCE = [
    made(
        "creating gives the conversation",
        201,
        lambda b: (
            list(b)
            == [
                *("id", "scheduledTime", "conversationText", "createdAt", "updatedAt"),
                *("status", "target"),
            ]
            and list(b["target"])
            == [
                *("id", "conversationId", "endpoint", "method", "headersJson", "additionalInfo"),
            ]
            and b["target"]["conversationId"] == b["id"]
            and (b["scheduledTime"], b["status"]) == (LATER, 0)
            and b["createdAt"].endswith("Z")
            and b["updatedAt"] == b["createdAt"]
            and b["target"]["headersJson"] is None
        ),
        {},
    ),
    made("a given id or status is ignored", 201, with_time(LATER), {"id": "x", "status": 4}),
    made(
        "an offset comes back as +00:00",
        201,
        with_time("2031-01-01T08:00:00+00:00"),
        {"scheduledTime": "2031-01-01T10:00:00+02:00"},
    ),
    made(
        "no zone comes back without",
        201,
        with_time("2031-01-01T10:00:00"),
        {"scheduledTime": "2031-01-01T10:00"},
    ),
    made(
        "seven decimals are kept",
        201,
        with_time("2031-01-01T10:00:00.1234567Z"),
        {"scheduledTime": "2031-01-01T10:00:00.12345678Z"},
    ),
    made(
        "zeros at the end go",
        201,
        with_time("2031-01-01T10:00:00.1Z"),
        {"scheduledTime": "2031-01-01T10:00:00.100Z"},
    ),
    made(
        "no time at all is past",
        400,
        error(f"{PAST} (Parameter 'ScheduledTime')"),
        {"scheduledTime": EMPTY},
    ),
    made(
        "a past time is past",
        400,
        error(f"{PAST} (Parameter 'ScheduledTime')"),
        {"scheduledTime": "2020-01-01"},
    ),
    *(
        made(f"{time!r} is no time here", 400, INVALID, {"scheduledTime": time})
        for time in [
            *(None, "", "x", "2031-01-01 10:00", "2031-01-01T10", " 2031-01-01T10:00:00Z"),
            *("2031-01-01t10:00:00z", "2031-01-01T10:00:00+0200", 5),
        ]
    ),
    *(
        made(f"{name} of the resource must not be null", 400, INVALID, {name: None})
        for name in ("conversationText", "target")
    ),
    made("the target wants a method", 400, INVALID, {"target": {"endpoint": WHERE}}),
    made("the target wants an endpoint", 400, INVALID, {"target": {"method": "POST"}}),
    made("the endpoint is no null", 400, INVALID, {"target": {"endpoint": None, "method": "POST"}}),
    made("the target is an object", 400, INVALID, {"target": "x"}),
    made(
        "the endpoint is not checked by the published service",
        201,
        with_time(LATER),
        {"target": {"endpoint": "", "method": ""}},
        mended={"status": 400, "body": NO_ADDRESS},
    ),
    Row("an unknown conversation is 404", "GET", f"/api/conversations/{NOBODY}", 404, NOT_FOUND),
    Row("what is no GUID is a problem", "GET", "/api/conversations/xyz", 400, INVALID),
    Row("and so for DELETE", "DELETE", "/api/conversations/xyz", 400, INVALID),
    Row(
        "what is unknown cannot be cancelled",
        "DELETE",
        f"/api/conversations/{NOBODY}",
        404,
        NOT_FOUND,
    ),
    Row(
        "PUT is not allowed",
        *("PUT", f"/api/conversations/{NOBODY}", 405, EMPTY),
        answers={"allow": "DELETE, GET"},
    ),
]


def paged(number: int, size: int) -> Check:
    def check(body: Any) -> bool:
        assert list(body) == ["data", "page", "pageSize", "totalCount", "totalPages"]
        assert body["totalPages"] == -(-body["totalCount"] // size)
        return (body["page"], body["pageSize"]) == (number, size)

    return check


def listing(says: str, query: str, status: int, body: Any) -> Row:
    return Row(says, "GET", f"/api/conversations{query}", status, body)


LISTING = [
    listing("ten to a page", "", 200, paged(1, 10)),
    listing("a page below 1 is 1, a size below 1 is 10", "?page=-1&pageSize=0", 200, paged(1, 10)),
    listing("a size over 100 is 100", "?pageSize=101", 200, paged(1, 100)),
    listing("names have no case", "?PAGE=2&pagesize=3", 200, paged(2, 3)),
    listing("the first of two counts", "?page=1&page=2", 200, paged(1, 10)),
    listing("blanks and signs are read", "?page=%20%2B2", 200, paged(2, 10)),
    Row(
        "a page far out is empty; in the published service it overflows",
        *("GET", "/api/conversations?page=2000000000&pageSize=100", 200),
        mended={"body": lambda b: b["data"] == []},
    ),
    *(
        listing(f"{page!r} is no page", f"?page={page}", 400, INVALID)
        for page in ("abc", "", "1.5", "99999999999", "--1")
    ),
    listing("a status nobody has", "?status=99", 200, lambda b: b["totalCount"] == 0),
    listing("an unknown status is ignored", "?status=bogus", 200, lambda b: b["totalCount"] > 0),
    listing("no status is no filter", "?status=", 200, lambda b: b["totalCount"] > 0),
]

ROWS = [*HEALTH, *TOKENS, *WHO, *TOOLS, *CALLS, *OLD_DOOR, *RESOURCE, *LISTING]


def test_each_sentence_stands_once() -> None:
    says = [row.says for row in ROWS]
    assert sorted(set(says)) == sorted(says)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says)
def test_a_sentence_of_the_contract(asked: Caller, kind: str, row: Row) -> None:
    mended = row.mended if kind == "embedded" else {}
    answer = send(asked, row)
    assert answer.status_code == mended.get("status", row.status), answer.text
    wanted = mended.get("body", row.body)
    if wanted is EMPTY:
        assert answer.content == b""
        if row.method != "HEAD":
            assert "content-type" not in answer.headers
    elif callable(wanted):
        is_json = "json" in answer.headers["content-type"]
        assert wanted(answer.json() if is_json else answer.text), answer.text
    elif wanted is not None:
        assert answer.json() == wanted
        assert answer.headers["content-type"] == JSON
    for name, value in mended.get("answers", row.answers).items():
        assert answer.headers[name] == value


def send(asked: Caller, row: Row) -> httpx2.Response:
    headers = dict(row.headers)
    if row.token is not None:
        headers["Authorization"] = asked.headers["Authorization"]
    if row.token == "bearer":
        headers["Authorization"] = headers["Authorization"].replace("Bearer", "bearer")
    how: dict[str, Any] = {"headers": headers}
    if row.raw is not None:
        how["content"] = row.raw
    elif row.send is not None:
        how["json"] = row.send
    return asked.http.request(row.method, row.path, **how)


def test_a_token_names_its_client(asked: Caller) -> None:
    token = asked.headers["Authorization"].removeprefix("Bearer ")
    answer = asked.ask("POST", "/api/auth/validate", json={"token": token})
    assert answer.json() == {"isValid": True, "clientId": "tests"}


def test_the_address_of_a_new_conversation_is_told(asked: Caller) -> None:
    body = {"conversationText": "x", "scheduledTime": LATER, "target": TARGET}
    answer = asked.ask("POST", "/api/conversations", json=body)
    wanted = f"{asked.url}/api/Conversations/{answer.json()['id']}"
    assert answer.headers["location"] == wanted
    assert asked.ask("GET", wanted).json()["id"] == answer.json()["id"]


def test_times_have_no_zone_when_read_back(asked: Caller) -> None:
    body = {"conversationText": "x", "scheduledTime": LATER, "target": TARGET}
    created = asked.ask("POST", "/api/conversations", json=body).json()
    read = asked.ask("GET", f"/api/conversations/{created['id']}").json()
    assert read["scheduledTime"] == LATER.removesuffix("Z")
    assert read["createdAt"] == created["createdAt"].removesuffix("Z")
    assert read["updatedAt"] == created["updatedAt"].removesuffix("Z")


def test_a_local_time_is_kept_as_utc(asked: Caller) -> None:
    made = asked.schedule("x", "2031-01-01T10:00:00+02:00", WHERE)
    read = asked.ask("GET", f"/api/conversations/{made}").json()
    assert read["scheduledTime"] == "2031-01-01T08:00:00"


def test_the_tool_stores_json_headers_and_the_resource_what_it_got(asked: Caller) -> None:
    made = asked.schedule("x", LATER, WHERE, additionalInfo="why")
    target = asked.ask("GET", f"/api/conversations/{made}").json()["target"]
    assert target["headersJson"] == '{"Content-Type":"application/json"}'
    assert (target["method"], target["additionalInfo"]) == ("POST", "why")
    given = {**TARGET, "headersJson": "{bad", "method": "fly"}
    body = {"conversationText": "", "scheduledTime": LATER, "target": given}
    target = asked.ask("POST", "/api/conversations", json=body).json()["target"]
    assert (target["headersJson"], target["method"]) == ("{bad", "fly")


def test_numbers_and_objects_become_their_json_text(asked: Caller) -> None:
    arguments = {**SCHEDULED, "conversationText": {"a": [1, True, None, "é"]}, "additionalInfo": 7}
    made = asked.tool(SCHEDULE, **arguments).json()["result"]
    read = asked.ask("GET", f"/api/conversations/{made}").json()
    assert json.loads(read["conversationText"]) == {"a": [1, True, None, "é"]}
    assert read["target"]["additionalInfo"] == "7"
    body = (
        '{"name":"scheduleConversation","arguments":{"conversationText":2.50,"additionalInfo":true,'
        f'"scheduledTime":"{LATER}","endpoint":"{WHERE}"}}}}'
    )
    headers = {"content-type": "application/json"}
    made = asked.ask("POST", "/api/mcptools/execute", content=body, headers=headers).json()[
        "result"
    ]
    read = asked.ask("GET", f"/api/conversations/{made}").json()
    assert (read["conversationText"], read["target"]["additionalInfo"]) == ("2.50", "True")


@pytest.mark.parametrize("form", ["upper", "braces", "parentheses", "plain", "blank"])
def test_a_guid_is_read_in_every_usual_form(asked: Caller, form: str) -> None:
    made = asked.schedule("x", LATER, WHERE)
    written = {
        "upper": made.upper(),
        "braces": f"{{{made}}}",
        "parentheses": f"({made})",
        "plain": uuid.UUID(made).hex,
        "blank": f" {made}",
    }[form]
    assert asked.status(written) == "Scheduled"
    assert asked.ask("GET", f"/api/conversations/{written}").json()["id"] == made


def test_a_conversation_is_cancelled_once(asked: Caller) -> None:
    made = asked.schedule("x", LATER, WHERE)
    assert asked.tool(CANCEL, conversationId=made).json() == {"result": True}
    assert asked.tool(CANCEL, conversationId=made).json() == {"result": False}
    assert asked.status(made) == "Cancelled"
    assert asked.ask("GET", f"/api/conversations/{made}").json()["status"] == 4
    made = asked.schedule("x", LATER, WHERE)
    answer = asked.ask("DELETE", f"/api/conversations/{made}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert asked.ask("DELETE", f"/api/conversations/{made}").status_code == 404


def test_the_newest_comes_first_and_a_status_filters(asked: Caller) -> None:
    ids = [asked.schedule("x", LATER, WHERE) for _ in range(3)]
    listed = asked.ask("GET", "/api/conversations?pageSize=3").json()["data"]
    assert [item["id"] for item in listed] == ids[::-1]
    asked.tool(CANCEL, conversationId=ids[1])
    for word in ("cancelled", "CANCELLED", "4", "%20Cancelled"):
        answer = asked.ask("GET", f"/api/conversations?pageSize=1&status={word}").json()
        assert answer["data"][0]["id"] == ids[1]
        assert {item["status"] for item in answer["data"]} == {4}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)],
    ids=["host", "origin"],
)
def test_strangers_are_kept_out_by_the_embedded_scheduler(
    asked: Caller, kind: str, headers: dict[str, str], status: int
) -> None:
    answer = asked.ask("GET", "/mcp/tools", headers=headers)
    assert answer.status_code == (status if kind == "embedded" else 200)


def test_another_charset_is_415_with_the_embedded_scheduler(asked: Caller, kind: str) -> None:
    headers = {"content-type": "application/json; charset=utf-16"}
    answer = asked.ask("POST", "/api/auth/token", content=b'{"token":"x"}', headers=headers)
    assert answer.status_code == (415 if kind == "embedded" else 500)


def test_a_huge_body_is_413(asked: Caller, either: Process) -> None:
    head = (
        f"POST /api/mcptools/execute HTTP/1.1\r\nHost: 127.0.0.1:{either.port}\r\n"
        f"Authorization: {asked.headers['Authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 31000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", either.port), 5) as line:
        line.sendall(head.encode())
        answer = line.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "\r\nconnection: close\r\n" in answer.lower()
