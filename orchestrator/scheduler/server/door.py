"""`/mcp`: holds requests until the MCP SDK is there, and keeps strangers out."""

from collections.abc import Awaitable, Callable

import anyio
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from orchestrator.scheduler.server.answers import empty
from orchestrator.scheduler.server.routing import Authorized

Handle = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_WAIT_S = 20.0


class McpDoor:
    """Takes POSTs only: this server keeps no sessions, so GET and DELETE have nothing to do."""

    def __init__(self, authorized: Authorized) -> None:
        self._authorized = authorized
        self._opened = anyio.Event()
        self._handle: Handle | None = None

    def open(self, handle: Handle | None) -> None:
        """Let requests through to ``handle``; None: there is nobody, answer 503."""
        self._handle = handle
        self._opened.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refusal = self._authorized.refusal(Request(scope))
        if refusal is None and scope["method"] != "POST":
            refusal = empty(405, {"Allow": "POST"})
        if refusal is None:
            with anyio.move_on_after(LONGEST_WAIT_S):
                await self._opened.wait()
            refusal = None if self._handle else empty(503, {"Retry-After": "1"})
        await (refusal or self._handle)(scope, receive, send)  # type: ignore[misc]
