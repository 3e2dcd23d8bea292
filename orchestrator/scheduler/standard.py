"""The tools over standard MCP, through the official SDK.

Each call is a client of its own over the shared connections: whatever happens to one, a
cancellation, a restart of the server, a lost session, the next one starts afresh.
Imported late, in a thread: the SDK costs a second.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client

from orchestrator.scheduler.dialect import refusal
from orchestrator.scheduler.errors import Rejected, SchedulerError, ServerFailed
from orchestrator.scheduler.values import Tool
from orchestrator.scheduler.wire import NoEndpoint, TokenNotTaken, Wire, named, server_failed

T = TypeVar("T")

# The Python and the C# SDK put this before a tool's own words.
_PREFIX = re.compile(r"^(?:Error executing tool \w+|An error occurred invoking '\w+'): ")
# Outside JSON-RPC's reserved range, so never taken for the peer's.
_LOCAL_ERROR = -31001


class Standard:
    """Calls tools of the MCP server at ``url``; ``mode`` is a protocol version or ``legacy``."""

    def __init__(self, wire: Wire, url: str, mode: str) -> None:
        self._wire = wire
        self._url = url
        self._mode = mode
        self.name = f"standard MCP ({'initialize' if mode == 'legacy' else mode})"

    async def call_tool(
        self, tool: str, arguments: Mapping[str, object], *, is_repeatable: bool
    ) -> object:
        """Return the tool's result.

        Raises:
            Rejected, NotFound: with the server's words.
            NoEndpoint: there is no MCP at this address any more.
            SchedulerError: as `Wire.ask`.
        """
        params = types.CallToolRequestParams(name=tool, arguments=dict(arguments))
        request = types.CallToolRequest(params=params)

        async def ask(session: ClientSession) -> types.CallToolResult:
            return await session.send_request(request, types.CallToolResult)

        result = await self._persist(ask, is_repeatable=is_repeatable)
        if result.is_error:
            raise refusal(_PREFIX.sub("", _text(result)))
        structured = result.structured_content
        if isinstance(structured, dict) and "result" in structured:
            return structured["result"]
        return _text(result)

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools that the server lists.

        Raises:
            SchedulerError: as `call_tool`.
        """

        async def ask(session: ClientSession) -> types.ListToolsResult:
            return await session.list_tools()

        listed = await self._persist(ask, is_repeatable=True)
        return tuple(
            Tool(tool.name, tool.description or "", dict(tool.input_schema))
            for tool in listed.tools
        )

    async def _persist(
        self, ask: Callable[[ClientSession], Awaitable[T]], *, is_repeatable: bool
    ) -> T:
        async def attempt(token: str) -> T:
            return await self._once(ask, token)

        return await self._wire.persist(attempt, is_repeatable=is_repeatable)

    async def _once(self, ask: Callable[[ClientSession], Awaitable[T]], token: str) -> T:
        line = _Line(self._wire.http(), self._url)
        try:
            async with self._client(line, token) as client:
                return await ask(client.session)
        except Exception as error:
            if line.failure is not None:
                raise line.failure from error
            raise _named(error, self._url) from error

    @asynccontextmanager
    async def _client(self, line: "_Line", token: str) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token}"}
        timeout = httpx2.Timeout(self._wire.timeout_s)
        async with (
            httpx2.AsyncClient(
                transport=line, headers=headers, timeout=timeout, trust_env=False
            ) as http,
            Client(
                streamable_http_client(self._url, http_client=http),
                mode=self._mode,
                read_timeout_seconds=self._wire.timeout_s,
            ) as client,
        ):
            yield client


class _Line(httpx2.AsyncBaseTransport):
    """Borrowed connections that tell the SDK of failures as JSON-RPC errors.

    A raw transport error would cancel the whole client (python-sdk #3560), and of a bare HTTP
    error the status would be lost. The first failure of a POST is kept as ours.
    """

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self.failure: SchedulerError | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        try:
            response = await self._http.send(request, stream=True)
        except httpx2.TransportError as error:
            return self._failed(request, named(self._url, error))
        if request.method != "POST" or response.status_code < 400:
            return response
        response.request = request
        body = await response.aread()
        await response.aclose()
        if b'"jsonrpc"' in body:
            headers = {"Content-Type": "application/json"}
            status = response.status_code
            return httpx2.Response(status, headers=headers, content=body, request=request)
        return self._failed(request, _by_status(self._url, response))

    async def aclose(self) -> None:
        """Leave the connections to their owner."""

    def _failed(self, request: httpx2.Request, failure: SchedulerError) -> httpx2.Response:
        if request.method == "POST" and self.failure is None:
            self.failure = failure
        error = {"code": _LOCAL_ERROR, "message": str(failure)}
        content = {"jsonrpc": "2.0", "id": None, "error": error}
        return httpx2.Response(503, json=content, request=request)


def _by_status(url: str, response: httpx2.Response) -> SchedulerError:
    if response.status_code == 401:
        return TokenNotTaken(url)
    if response.status_code in {404, 405}:
        return NoEndpoint(url)
    if response.status_code < 500:
        return Rejected(f"HTTP {response.status_code} from {url}")
    return server_failed(url, response)


def _named(error: Exception, url: str) -> SchedulerError:
    for leaf in _leaves(error):
        if isinstance(leaf, SchedulerError):
            return leaf
        if isinstance(leaf, MCPError):
            return _protocol_error(leaf, url)
    return ServerFailed(f"{url} does not answer as an MCP server does: {error}", status=200)


def _protocol_error(error: MCPError, url: str) -> SchedulerError:
    if error.code == types.INVALID_PARAMS:
        return Rejected(error.message)
    problem = f"{url} answers with MCP error {error.code}: {error.message}"
    return ServerFailed(problem, status=200)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _text(result: types.CallToolResult) -> str:
    return " ".join(part.text for part in result.content if isinstance(part, types.TextContent))
