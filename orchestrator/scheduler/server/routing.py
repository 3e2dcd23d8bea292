"""Paths and methods the way ASP.NET matches them."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.scheduler.server.answers import empty, refused_body
from orchestrator.scheduler.server.bodies import BodyRefused
from orchestrator.scheduler.server.tokens import TokenRefused, Tokens

Handler = Callable[[Request], Awaitable[Response]]


class Methods:
    """What one path answers to which method; a wrong method is told before a missing token."""

    def __init__(self, handlers: Mapping[str, Handler], other: Handler | None = None) -> None:
        self._handlers = handlers
        self._other = other
        self._allow = {"Allow": ", ".join(sorted(handlers))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        handler = self._handlers.get(scope["method"], self._other)
        if handler is None:
            response = empty(405, self._allow)
        else:
            try:
                response = await handler(Request(scope, receive))
            except BodyRefused as refusal:
                response = refused_body(refusal)
        await response(scope, receive, send)


class Authorized:
    """Lets requests with a good bearer token through to a handler."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __call__(self, handler: Handler) -> Handler:
        """Return ``handler`` behind the check."""

        async def checked(request: Request) -> Response:
            return self.refusal(request) or await handler(request)

        return checked

    def refusal(self, request: Request) -> Response | None:
        """Return the 401 that the request deserves, or None if its token is good."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return empty(401, {"WWW-Authenticate": "Bearer"})
        try:
            self._tokens.client_of(token.strip())
        except TokenRefused as error:
            why = f', error_description="{error}"' if str(error) else ""
            return empty(401, {"WWW-Authenticate": f'Bearer error="invalid_token"{why}'})
        return None


class AnyCase:
    """Matches paths without case and with or without a slash at the end."""

    def __init__(self, paths: Mapping[str, ASGIApp]) -> None:
        routes = [Route(path, endpoint) for path, endpoint in paths.items()]
        self._router = Router(routes, redirect_slashes=False, default=_unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"].rstrip("/").lower() or "/"
        await self._router({**scope, "path": path}, receive, send)


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    await empty(404)(scope, receive, send)
