"""The same three tools over standard MCP, both protocol eras. Imported late: it costs a second."""

import logging
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from orchestrator import __version__
from orchestrator.scheduler.server import catalogue
from orchestrator.scheduler.server.bodies import as_text
from orchestrator.scheduler.server.store import StoreFailed
from orchestrator.scheduler.server.tools import ToolRefused, Tools

log = logging.getLogger(__name__)

_READ_ONLY = {catalogue.STATUS.name}


def session_manager(tools: Tools, largest_body_bytes: int) -> StreamableHTTPSessionManager:
    """Return what serves POSTs to `/mcp`; its ``run()`` must be entered first.

    Stateless, so that a client of the older era survives a restart of this server. Host, Origin
    and token have been checked before a request comes here.
    """
    server = Server(
        "McpScheduler", version=__version__, on_list_tools=_list, on_call_tool=_caller(tools)
    )
    return StreamableHTTPSessionManager(
        server, stateless=True, max_request_body_size=largest_body_bytes
    )


async def _list(
    _context: object, _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_described(tool) for tool in catalogue.TOOLS])


def _caller(tools: Tools) -> Any:  # noqa: ANN401 - the SDK's overloads want no narrower type
    async def call(_context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = next((t for t in catalogue.TOOLS if t.name == params.name), None)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            result = await tools.call(tool, _texts(params.arguments or {}))
        except ToolRefused as refusal:
            return _result(str(refusal), is_error=True)
        except StoreFailed as error:
            log.error("%s: the store failed: %s", tool.name, error)  # noqa: TRY400
            return _result("the scheduler's store cannot be used just now", is_error=True)
        return _result(result)

    return call


def _described(tool: catalogue.Tool) -> types.Tool:
    kind = "boolean" if tool is catalogue.CANCEL else "string"
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema={
            "type": "object",
            "properties": {"result": {"type": kind}},
            "required": ["result"],
        },
        annotations=types.ToolAnnotations(read_only_hint=tool.name in _READ_ONLY),
    )


def _result(
    value: str | bool,  # noqa: FBT001 - a tool's own answer
    *,
    is_error: bool = False,
) -> types.CallToolResult:
    text = value if isinstance(value, str) else str(value).lower()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)],
        structured_content=None if is_error else {"result": value},
        is_error=is_error,
    )


def _texts(arguments: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: as_text(value) for name, value in arguments.items()}
