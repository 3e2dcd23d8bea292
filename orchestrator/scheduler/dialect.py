"""The tools over the service's own REST dialect, for schedulers without standard MCP."""

import logging
from collections.abc import Mapping

import httpx2

from orchestrator.scheduler.errors import NotFound, Rejected, ServerFailed
from orchestrator.scheduler.values import Tool
from orchestrator.scheduler.wire import Call, NoEndpoint, Wire

log = logging.getLogger(__name__)

NOT_FOUND_WORDS = "conversation not found"


class Dialect:
    """Calls tools through `/api/mcptools`, or `/mcp/execute` where only that is there."""

    name = "the REST dialect"

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._has_only_old_door = False

    async def call_tool(
        self, tool: str, arguments: Mapping[str, object], *, is_repeatable: bool
    ) -> object:
        """Return the tool's result.

        Raises:
            Rejected, NotFound: with the server's words.
            SchedulerError: as `Wire.ask`.
        """
        if not self._has_only_old_door:
            body = {"name": tool, "arguments": dict(arguments)}
            call = Call("POST", "/api/mcptools/execute", json=body, is_repeatable=is_repeatable)
            response = await self._wire.ask(call)
            if response.status_code != 404:
                return _field(response, "result")
        body = {"toolId": tool, "toolParameters": dict(arguments)}
        call = Call("POST", "/mcp/execute", json=body, is_repeatable=is_repeatable)
        response = await self._wire.ask(call)
        if response.status_code in {404, 405}:
            raise NoEndpoint(self._wire.url("/api/mcptools/execute"))
        result = _field(response, "toolResult")
        self._has_only_old_door = True
        return result

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools that the server lists.

        Raises:
            SchedulerError: as `call_tool`.
        """
        call = Call("GET", "/api/mcptools/tools", is_repeatable=True)
        response = await self._wire.ask(call)
        if response.status_code == 404:
            raise NoEndpoint(self._wire.url(call.path))
        listed = _field(response, "tools")
        try:
            return tuple(
                Tool(str(t["name"]), str(t.get("description", "")), dict(t["inputSchema"]))
                for t in listed  # type: ignore[attr-defined]
            )
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise strange(response) from error


def answer_of(response: httpx2.Response) -> object:
    """Return the JSON of a good answer.

    Raises:
        NotFound: 404.
        Rejected: another 4xx, with the server's words.
        ServerFailed: it is no JSON.
    """
    if response.status_code == 404:
        raise NotFound(f"{response.url} is not known to the scheduler")
    if response.status_code >= 300:
        raise refusal(words_of(response))
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise strange(response) from error


def refusal(words: str) -> Rejected | NotFound:
    """Return the error for a tool's refusal."""
    return NotFound(words) if words.lower().startswith(NOT_FOUND_WORDS) else Rejected(words)


def words_of(response: httpx2.Response) -> str:
    """Return the server's reason: its ``error``, its problem document, or its status."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = {}
    if isinstance(body, dict):
        if isinstance(body.get("error"), str):
            return str(body["error"])
        errors = body.get("errors")
        if isinstance(errors, dict):
            return "; ".join(f"{field}: {_joined(why)}" for field, why in errors.items())
        if isinstance(body.get("title"), str):
            return str(body["title"])
    return f"HTTP {response.status_code}"


def strange(response: httpx2.Response) -> ServerFailed:
    """Return the error for an answer that no scheduler gives."""
    problem = f"{response.url} does not answer as a scheduler does"
    return ServerFailed(problem, status=response.status_code)


def _field(response: httpx2.Response, name: str) -> object:
    answer = answer_of(response)
    if not isinstance(answer, dict) or name not in answer:
        raise strange(response)
    return answer[name]


def _joined(why: object) -> str:
    return " ".join(map(str, why)) if isinstance(why, list) else str(why)
