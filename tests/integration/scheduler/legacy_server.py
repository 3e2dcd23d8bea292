"""A scheduler that speaks only the older MCP: `initialize`, sessions, and no dialect but the login.

python legacy_server.py PORT json|stream
"""

import contextlib
import sys
import uuid
from collections.abc import AsyncIterator

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN = "the-token"
kept: dict[str, str] = {}
mcp = MCPServer("legacy", log_level="WARNING", subscriptions=False)


@mcp.tool(name="scheduleConversation")
def schedule(
    conversationText: str,  # noqa: N803
    scheduledTime: str,  # noqa: N803
    endpoint: str,
    method: str = "POST",
) -> str:
    """Schedule."""
    if scheduledTime < "2026":
        raise ToolError("Scheduled time must be in the future (Parameter 'scheduledTime')")
    wanted = str(uuid.uuid4())
    kept[wanted] = "Scheduled"
    return wanted


@mcp.tool(name="getConversationStatus")
def status(conversationId: str) -> str:  # noqa: N803
    """Tell."""
    if conversationId not in kept:
        raise ToolError("Conversation not found (Parameter 'conversationId')")
    return kept[conversationId]


@mcp.tool(name="cancelConversation")
def cancel(conversationId: str) -> bool:  # noqa: N803
    """Cancel."""
    return kept.pop(conversationId, None) is not None


async def token(_request: Request) -> JSONResponse:
    """Log in."""
    return JSONResponse({"token": TOKEN, "expiresIn": 7200})


class Legacy:
    """Knows nothing of the newer era."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and scope["path"] == "/mcp":
            if headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
                await JSONResponse({}, 401)(scope, receive, send)
                return
            if headers.get(b"mcp-protocol-version", b"") >= b"2026":
                error = {"code": -32000, "message": "Bad Request: Server not initialized"}
                body = {"jsonrpc": "2.0", "id": None, "error": error}
                await JSONResponse(body, 400)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def main(port: int, form: str) -> None:
    """Serve."""
    inner = mcp.streamable_http_app(json_response=form == "json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with mcp.session_manager.run():
            print(f"Now listening on: http://127.0.0.1:{port}", flush=True)
            yield

    routes = [Route("/api/auth/token", token, methods=["POST"]), Mount("/", app=inner)]
    app = Starlette(routes=routes, lifespan=lifespan)
    uvicorn.run(Legacy(app), port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
