"""A small API server in front of a scheduler: `python -m orchestrator.demo.api_server`.

It finds the scheduler in config.json, which may change while it runs, and receives what it
scheduled at its own ``/callback``. Copy it and put your own work into ``receive``.

    POST   /conversations       {"text": …, "in_s": 5} or {"text": …, "at": "2031-01-31T09:30Z"}
    GET    /conversations/{id}  {"id": …, "status": "Scheduled"}
    DELETE /conversations/{id}  {"id": …, "cancelled": true}
    GET    /received            what was delivered so far
"""

import argparse
import errno
import json
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from orchestrator.scheduler import NotFound, Rejected, SchedulerError, SchedulerService

log = logging.getLogger("api_server")

LARGEST_BODY_BYTES = 1024 * 1024
KEPT_MESSAGES = 1000
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")


class Api:
    """The endpoints, for requests to ``hosts``; deliveries are to come to ``callback_url``."""

    def __init__(
        self, scheduler: SchedulerService, callback_url: str, hosts: Sequence[str] = ("*",)
    ) -> None:
        self._scheduler = scheduler
        self._callback_url = callback_url
        self._hosts = list(hosts)
        # By conversation: a scheduler that was killed may deliver the same one twice.
        self._received: dict[str, dict[str, str]] = {}

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/health", self.health),
            Route("/conversations", self.schedule, methods=["POST"]),
            Route("/conversations/{id}", self.status),
            Route("/conversations/{id}", self.cancel, methods=["DELETE"]),
            Route("/callback", self.receive, methods=["POST"]),
            Route("/received", self.received),
        ]
        errors = {SchedulerError: scheduler_error, HTTPException: http_error}
        # A web page that rebinds its name to this machine still sends that name as Host.
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=self._hosts)
        return Starlette(
            routes=routes, middleware=[hosts], exception_handlers=errors, lifespan=self.lifespan
        )

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Greet the scheduler beside the first requests; it need not be there yet."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._scheduler.initialize)
            yield
            tasks.cancel_scope.cancel()
        await self._scheduler.close()

    async def health(self, _request: Request) -> JSONResponse:
        """Tell that this server works; the scheduler has a health of its own."""
        return JSONResponse({"status": "healthy"})

    async def schedule(self, request: Request) -> JSONResponse:
        """Have a text delivered to ``/callback`` later."""
        wish = await json_object(request)
        text, info = wish.get("text"), wish.get("additional_info")
        if not isinstance(text, str) or not text:
            raise HTTPException(400, "text must be a non-empty string")
        if info is not None and not isinstance(info, str):
            raise HTTPException(400, "additional_info must be a string")
        client = self._scheduler.client()
        await client.check()  # greet it first: `in_s` counts from the moment that it can be asked
        made = await client.schedule(text, due(wish), self._callback_url, additional_info=info)
        return JSONResponse({"id": made}, 201, headers={"Location": f"/conversations/{made}"})

    async def status(self, request: Request) -> JSONResponse:
        """Tell where a conversation is."""
        wanted = request.path_params["id"]
        status = await self._scheduler.client().status(wanted)
        return JSONResponse({"id": wanted, "status": status})

    async def cancel(self, request: Request) -> JSONResponse:
        """Cancel a conversation that was not delivered yet."""
        wanted = request.path_params["id"]
        cancelled = await self._scheduler.client().cancel(wanted)
        return JSONResponse({"id": wanted, "cancelled": cancelled})

    async def receive(self, request: Request) -> JSONResponse:
        """Take a delivery; a second one of the same conversation changes nothing."""
        text = (await body(request)).decode("utf-8", "replace")
        key = request.headers.get("x-conversation-id") or f"unnamed-{len(self._received)}"
        if key not in self._received:
            now = datetime.now(UTC).isoformat()  # noqa: TID251 - the demo has no other clock
            self._received[key] = {"id": key, "text": text, "received_at": now}
            log.info("received conversation %s", key)
        if len(self._received) > KEPT_MESSAGES:
            del self._received[next(iter(self._received))]
        return JSONResponse({"received": key})

    async def received(self, _request: Request) -> JSONResponse:
        """List what was delivered, oldest first."""
        return JSONResponse(list(self._received.values()))


async def scheduler_error(_request: Request, error: Exception) -> JSONResponse:
    """Say what the scheduler says, or 503 while there is none that could."""
    log.warning("%s", error)
    if isinstance(error, NotFound):
        return JSONResponse({"error": str(error)}, 404)
    if isinstance(error, Rejected):
        return JSONResponse({"error": error.words}, 400)
    return JSONResponse({"error": str(error)}, 503, headers={"Retry-After": "1"})


async def http_error(_request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def body(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        HTTPException: it is too large.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY_BYTES} bytes")
    return bytes(content)


async def json_object(request: Request) -> dict[str, object]:
    """Return the JSON object in the body.

    Raises:
        HTTPException: there is none.
    """
    try:
        content = json.loads(await body(request))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(content, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return content


def due(wish: dict[str, object]) -> datetime | str:
    """Return when to deliver: ``at`` as it is, or ``in_s`` seconds from now.

    Raises:
        HTTPException: neither is usable.
    """
    at, in_s = wish.get("at"), wish.get("in_s")
    if isinstance(at, str):
        return at
    if isinstance(in_s, int | float) and 0 <= in_s <= 1e9:
        return datetime.now(UTC) + timedelta(seconds=in_s)  # noqa: TID251 - as above
    raise HTTPException(400, "say when: at (ISO 8601) or in_s (seconds from now)")


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets: ``localhost`` means 127.0.0.1 and ::1, where there is one."""
    addresses = ["127.0.0.1", "::1"] if host == "localhost" else [host]
    sockets: list[socket.socket] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # asyncio sends small answers at once (TCP_NODELAY) only if the protocol is named.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((address, port))
            made.listen()
        except OSError as error:
            made.close()
            if sockets and error.errno != errno.EADDRINUSE:
                continue  # no IPv6 here
            raise
        sockets.append(made)
        port = made.getsockname()[1]
    return sockets


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.demo.api_server")
    parser.add_argument("--host", default="localhost", help="default: both loopback addresses")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: a free one")
    parser.add_argument("--config", default="config/config.json", help="default: %(default)s")
    options = parser.parse_args(arguments)
    # uvicorn finishes its requests and then raises the signal again: let that be a good end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        sockets = listen(options.host, options.port)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    port = sockets[0].getsockname()[1]
    hosts = LOOPBACK if options.host in LOOPBACK else ("*",)
    callback_url = f"http://{options.host}:{port}/callback"
    api = Api(SchedulerService(options.config), callback_url, hosts)
    config = uvicorn.Config(api.app(), log_config=None, lifespan="on", timeout_keep_alive=75)
    log.info("Uvicorn running on http://%s:%d", options.host, port)
    uvicorn.Server(config).run(sockets=sockets)


if __name__ == "__main__":
    main(sys.argv[1:])
