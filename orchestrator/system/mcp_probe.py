"""One question to an MCP server: is it ready, and has it the tools that it must have?

It speaks HTTP itself: the MCP SDK takes longer to import than the whole supervisor.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from orchestrator import __version__
from orchestrator.core.ports import Clock
from orchestrator.system.probes import Answer, HttpRequest, Unanswered, fetch, hint, shown

_MODERN, _LEGACY = "2026-07-28", "2025-11-25"
# Source: the specification of 2026-07-28: wrong headers, missing capability, unsupported version.
_MODERN_ERRORS = frozenset({-32020, -32021, -32022})
_LIMIT_BYTES = 1024 * 1024
_MAX_PAGES = 100
_EARLY_S = 60.0
_LOGIN = "/api/auth/token"
_WANTS_TOKEN = frozenset({401, 403})
_TOKEN = re.compile(r"[\x21-\x7e]+")
_HIDDEN = "••••"
# A shorter secret would be found everywhere.
_SHORTEST = 4
_ME = {"name": "orchestrator", "version": __version__}

Verdict = tuple[bool, str]


class Era(Enum):
    """How a server wants to be asked, in the order in which it is tried."""

    MODERN = "server/discover"
    LEGACY = "initialize"
    DIALECT = "the tool list"


@dataclass(frozen=True, slots=True)
class McpAsked:
    """What is asked of a server, and with which credentials, if it has any."""

    path: str
    tools: tuple[str, ...] = ()
    client_id: str = ""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """An answer of the era. ``tools`` None: nobody asked for their names."""

    text: str
    tools: frozenset[str] | None = None


class _Failed(Exception):
    """The probe's answer is no; its text says why."""


class _OtherEra(Exception):
    """What answered does not speak this era; its text says what it said."""


class _WantsToken(Exception):
    """The server is up and says 401 or 403."""

    def __init__(self, era: Era, answer: Answer) -> None:
        super().__init__(f"{answer.status}{shown(answer.body)}")
        self.era = era
        self.status = answer.status


class McpServer:
    """The server of one run, and what was learnt of it: its era and the token for it.

    ``is_ours`` says, at the moment it is asked, whether every listener that could take a connection
    belongs to the service: without that, no credentials are sent.
    """

    def __init__(self, asked: McpAsked, clock: Clock) -> None:
        self._asked = asked
        self._clock = clock
        self._era: Era | None = None
        self._token: str | None = None
        self._token_until = float("-inf")

    async def ask(self, base: str, is_ours: Callable[[], bool]) -> Verdict:
        """Return whether the server at ``base`` is ready, and what it said.

        There is no deadline in here: it belongs around all of it.
        """
        try:
            ok, text = await self._ask(base, is_ours)
        except (_Failed, Unanswered) as error:
            ok, text = False, str(error)
        return ok, self._redacted(text)

    async def _ask(self, base: str, is_ours: Callable[[], bool]) -> Verdict:
        known = self._token if self._has_token() and is_ours() else None
        try:
            return self._judge(await self._look(base, known, tuple(Era)))
        except _WantsToken as refused:
            self._token_until = float("-inf")
            if self._asked.api_key is None:
                return self._without_token(refused, "`mcp.auth` has no `api_key` to ask for more")
            if not is_ours():
                return self._without_token(
                    refused, "not asked for more: the listener was not seen to be the service's"
                )
            first = refused.era
        self._token = await self._login(base, self._asked.api_key)
        eras = tuple(Era)[tuple(Era).index(first) :]
        if not is_ours():
            raise _Failed("the listener changed while it was asked")
        try:
            return self._judge(await self._look(base, self._token, eras))
        except _WantsToken as refused:
            self._token_until = float("-inf")
            raise _Failed(f"the credentials of `mcp.auth` are refused: {refused}") from refused

    def _without_token(self, refused: _WantsToken, why: str) -> Verdict:
        if self._asked.tools:
            return False, f"{refused.status} after {{took}}: its tools take a token; {why}"
        return True, f"{refused.status} in {{took}}: up, wants a token ({why})"

    def _judge(self, found: _Found) -> Verdict:
        missing = [name for name in self._asked.tools if name not in (found.tools or ())]
        if missing:
            names = ", ".join(map(repr, missing))
            has = ", ".join(sorted(found.tools or ())[:10]) or "none"
            return False, f"{found.text} after {{took}}, but there is no tool {names}; it has {has}"
        return True, f"{found.text} in {{took}}"

    def _redacted(self, text: str) -> str:
        for secret in (self._asked.api_key, self._token):
            text = text.replace(secret, _HIDDEN) if secret and len(secret) >= _SHORTEST else text
        return text

    # Tokens.

    def _has_token(self) -> bool:
        return self._token is not None and self._clock.monotonic() < self._token_until

    async def _login(self, base: str, api_key: str) -> str:
        """Return a token; where nobody gives one, the key itself is shown to the server."""
        content = json.dumps({"clientId": self._asked.client_id, "apiKey": api_key}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = HttpRequest(base + _LOGIN, "POST", headers, content=content)
        answer = await fetch(request, _LIMIT_BYTES)
        token: object = api_key
        lasts_s: object = float("inf")
        if answer.status != 404:
            if answer.status != 200:
                said = f"{answer.status}{shown(_without(api_key, answer).body)}"
                raise _Failed(f"no token for the credentials of `mcp.auth`: {_LOGIN} says {said}")
            given = _mapping(answer.body)
            token, lasts_s = given.get("token"), given.get("expiresIn")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _Failed(f"no token that can be sent came from {_LOGIN}, {answer.status}")
        known_s = lasts_s if isinstance(lasts_s, int | float) else 0.0
        self._token_until = self._clock.monotonic() + known_s - _EARLY_S
        return token

    # Eras.

    async def _look(self, base: str, token: str | None, eras: tuple[Era, ...]) -> _Found:
        """Return the answer of the era that the server speaks; it is remembered."""
        url = base + self._asked.path
        said: list[str] = []
        for era in (self._era,) if self._era is not None else eras:
            exchange = _Exchange(url, token, era)
            try:
                found = await self._ask_as(era, exchange)
            except _OtherEra as other:
                said.append(str(other))
                continue
            self._era = era
            return found
        raise _Failed(f"no MCP at {self._asked.path}: " + "; ".join(said))

    async def _ask_as(self, era: Era, exchange: "_Exchange") -> _Found:
        wants_tools = bool(self._asked.tools)
        match era:
            case Era.MODERN:
                return await _modern(exchange, wants_tools=wants_tools)
            case Era.LEGACY:
                return await _legacy(exchange, wants_tools=wants_tools)
            case Era.DIALECT:
                return await _dialect(exchange)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Requests to one URL in one era."""

    url: str
    token: str | None
    era: Era

    async def call(
        self, method: str, params: Mapping[str, object], headers: Mapping[str, str]
    ) -> tuple[Answer, dict[str, Any]]:
        """Return the answer to a call of JSON-RPC, and the message in it; empty if it is none."""
        content = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self.send("POST", self.url, headers, content)
        return answer, message_of(answer)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: Mapping[str, object] | None = None,
    ) -> Answer:
        sent = {"Accept": "application/json, text/event-stream", **headers}
        if content is not None:
            sent["Content-Type"] = "application/json"
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        data = b"" if content is None else json.dumps(content).encode()
        request = HttpRequest(url, method, sent, content=data)
        answer = _without(self.token, await fetch(request, _LIMIT_BYTES, _has_message))
        if answer.status in _WANTS_TOKEN:
            raise _WantsToken(self.era, answer)
        if answer.status >= 500 or 300 <= answer.status <= 399:
            why = hint(answer.status, answer.headers)
            raise _Failed(f"{_what(self.era)}: {answer.status}{why}{shown(answer.body)}")
        return answer


async def _modern(exchange: _Exchange, *, wants_tools: bool) -> _Found:
    answer, message = await exchange.call("server/discover", *_modern_words("server/discover"))
    result, error = message.get("result"), message.get("error")
    versions = result.get("supportedVersions") if isinstance(result, dict) else None
    is_modern = isinstance(versions, list) and _MODERN in versions
    if not is_modern and not (isinstance(error, dict) and error.get("code") in _MODERN_ERRORS):
        raise _OtherEra(_said(Era.MODERN, answer))
    if not wants_tools:
        return _Found(Era.MODERN.value)
    return _Found("tools/list", await _listed(exchange, *_modern_words("tools/list")))


def _modern_words(method: str) -> tuple[dict[str, object], dict[str, str]]:
    """Return the parameters and the headers of a call without a session."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": _MODERN,
        "io.modelcontextprotocol/clientInfo": _ME,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"_meta": meta}, {"MCP-Protocol-Version": _MODERN, "Mcp-Method": method}


async def _legacy(exchange: _Exchange, *, wants_tools: bool) -> _Found:
    words = {"protocolVersion": _LEGACY, "capabilities": {}, "clientInfo": _ME}
    answer, message = await exchange.call("initialize", words, {})
    result = message.get("result")
    version = result.get("protocolVersion") if isinstance(result, dict) else None
    if not isinstance(version, str):
        raise _OtherEra(_said(Era.LEGACY, answer))
    session = answer.headers.get("mcp-session-id")
    headers = {"MCP-Protocol-Version": version, **({"Mcp-Session-Id": session} if session else {})}
    try:
        if not wants_tools:
            return _Found(Era.LEGACY.value)
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await exchange.send("POST", exchange.url, headers, note)
        return _Found("tools/list", await _listed(exchange, {}, headers))
    finally:
        if session:
            # A server need not let sessions be closed; then it closes them itself.
            with contextlib.suppress(_Failed, _WantsToken, Unanswered):
                await exchange.send("DELETE", exchange.url, headers)


async def _listed(
    exchange: _Exchange, words: Mapping[str, object], headers: Mapping[str, str]
) -> frozenset[str]:
    """Return the names of all tools, page by page."""
    names: set[str] = set()
    cursor: object = None
    for _ in range(_MAX_PAGES):
        params = words if cursor is None else {**words, "cursor": cursor}
        answer, message = await exchange.call("tools/list", params, headers)
        result = message.get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        if not isinstance(tools, list):
            raise _Failed(f"tools/list: {answer.status}{_cut(answer)}{shown(answer.body)}")
        names.update(_names(tools))
        cursor = result.get("nextCursor") if isinstance(result, dict) else None
        if not isinstance(cursor, str):
            return frozenset(names)
    raise _Failed(f"tools/list: there is no end after {_MAX_PAGES} pages")


async def _dialect(exchange: _Exchange) -> _Found:
    url = exchange.url.rstrip("/") + "/tools"
    answer = await exchange.send("GET", url, {"Accept": "application/json"})
    content = _mapping(answer.body)
    tools = content.get("toolChoices", content.get("tools"))
    if answer.status != 200 or not isinstance(tools, list):
        raise _OtherEra(_said(Era.DIALECT, answer))
    return _Found(Era.DIALECT.value, frozenset(_names(tools)))


def _without(secret: str | None, answer: Answer) -> Answer:
    """Return an answer that is only shown to people, in full, without what it may repeat."""
    if secret is None or len(secret) < _SHORTEST or answer.status == 200:
        return answer
    return replace(answer, body=answer.body.replace(secret.encode(), _HIDDEN.encode()))


def _names(tools: list[object]) -> Iterator[str]:
    for one in tools:
        for key in ("name", "toolName", "toolId"):
            if isinstance(one, dict) and isinstance(one.get(key), str):
                yield one[key]


def _what(era: Era) -> str:
    return "GET of the tool list" if era is Era.DIALECT else era.value


def _said(era: Era, answer: Answer) -> str:
    return f"{_what(era)} says {answer.status}{_cut(answer)}{shown(answer.body)}"


def _cut(answer: Answer) -> str:
    return f", more than {_LIMIT_BYTES} bytes" if answer.is_cut else ""


# Messages.


def message_of(answer: Answer) -> dict[str, Any]:
    """Return the JSON-RPC answer in an HTTP answer, JSON or event stream; empty if there is none.

    Source: the WHATWG's HTML standard, 9.2.6 (event streams).
    """
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        return _mapping(answer.body)
    text = answer.body.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    for event in text.split("\n\n"):
        lines = (line[5:] for line in event.split("\n") if line.startswith("data:"))
        message = _mapping("\n".join(lines).encode())
        if "result" in message or "error" in message:
            return message
    return {}


def _has_message(answer: Answer) -> bool:
    """Whether an event stream has told what it was asked; a server need not close it."""
    is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
    ends = answer.body.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
    return is_stream and ends and bool(message_of(answer))


def _mapping(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
