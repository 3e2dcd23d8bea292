"""`/mcp`: holds requests until the MCP SDK is there, and keeps strangers out."""

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.scheduler.server.answers import empty
from orchestrator.scheduler.server.routing import Authorized

LONGEST_WAIT_S = 20.0


class McpDoor:
    """Takes POSTs only: this server keeps no sessions, so GET and DELETE have nothing to do."""

    def __init__(self, authorized: Authorized) -> None:
        self._authorized = authorized
        self._opened = anyio.Event()
        self._handle: ASGIApp | None = None

    def open(self, handle: ASGIApp | None) -> None:
        """Let requests through to ``handle``; None: there is nobody, answer 503."""
        self._handle = handle
        self._opened.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer: ASGIApp | None = self._authorized.refusal(Request(scope))
        if answer is None and scope["method"] != "POST":
            answer = empty(405, {"Allow": "POST"})
        if answer is None:
            with anyio.move_on_after(LONGEST_WAIT_S):
                await self._opened.wait()
            answer = self._handle or empty(503, {"Retry-After": "1"})
        await answer(scope, receive, send)
