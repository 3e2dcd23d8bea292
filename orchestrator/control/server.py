"""The control API: HTTP on the stack's unix socket, for this user only."""

import asyncio  # noqa: TID251  uvicorn's protocol is one of asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.control.wire import PROTOCOL, to_wire
from orchestrator.errors import OrchestratorError
from orchestrator.supervise.stack import Stack

logger = logging.getLogger(__name__)

_MAX_BODY_BYTES = 1024 * 1024
_MAX_CONNECTIONS = 256
_REQUEST_S = 10.0
_TICK_S = 15.0


class _Asked(BaseModel):
    """What a request may say; each route reads what it needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: tuple[str, ...] = ()
    no_deps: bool = False
    grace_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class _Unreadable(Exception):
    """A request that is none; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def application(stack: Stack) -> Starlette:
    """Return the API of one stack as an ASGI application."""
    supervisor, operations = stack.supervisor, stack.operations

    async def show(request: Request) -> Response:  # noqa: ARG001  starlette passes it
        return JSONResponse({"protocol": PROTOCOL, **stack.snapshot()})

    async def events(request: Request) -> Response:  # noqa: ARG001
        return StreamingResponse(_stream(stack), media_type="application/x-ndjson")

    async def up(asked: _Asked) -> None:
        await operations.up(asked.services, no_deps=asked.no_deps)

    async def start(asked: _Asked) -> None:
        await operations.start(asked.services, no_deps=asked.no_deps)

    async def stop(asked: _Asked) -> None:
        await operations.stop(asked.services, grace_s=asked.grace_s)

    async def restart(asked: _Asked) -> None:
        await operations.restart(asked.services, grace_s=asked.grace_s, no_deps=asked.no_deps)

    async def down(request: Request) -> Response:
        asked = await _read(request)
        logger.info("down was asked for")
        supervisor.end(asked.grace_s)
        return JSONResponse({}, 202)

    async def kill(request: Request) -> Response:  # noqa: ARG001
        logger.info("down at once was asked for")
        supervisor.end(0.0)
        return JSONResponse({}, 202)

    async def publish(request: Request) -> Response:  # noqa: ARG001
        result = await stack.publication.publish()
        answer = {"published": stack.publication.names, "warnings": result.warnings}
        return JSONResponse({**answer, "stands": result.stands})

    def changing(work: Callable[[_Asked], Awaitable[None]]) -> Callable[..., Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            asked = await _read(request)
            logger.info("%s was asked for: %s", request.url.path, " ".join(asked.services) or "all")
            await work(asked)
            names = asked.services or tuple(supervisor.units)
            items = [stack.item(supervisor.unit(name)) for name in names]
            return JSONResponse({"services": items})

        return endpoint

    return Starlette(
        routes=[
            Route("/v1/stack", show, methods=["GET"]),
            Route("/v1/events", events, methods=["GET"]),
            Route("/v1/up", changing(up), methods=["POST"]),
            Route("/v1/start", changing(start), methods=["POST"]),
            Route("/v1/stop", changing(stop), methods=["POST"]),
            Route("/v1/restart", changing(restart), methods=["POST"]),
            Route("/v1/down", down, methods=["POST"]),
            Route("/v1/kill", kill, methods=["POST"]),
            Route("/v1/publish", publish, methods=["POST"]),
        ],
        exception_handlers={
            OrchestratorError: _refuse,
            _Unreadable: _reject,
            ClientDisconnect: _reject,
            Exception: _apologise,
        },
    )


async def _stream(stack: Stack) -> AsyncIterator[bytes]:
    """Yield the snapshot, then what happens, a JSON line each; a tick shows that we live."""
    with stack.supervisor.bus.subscribe() as subscription:
        yield _line({"type": "snapshot", "protocol": PROTOCOL, **stack.snapshot()})
        messages = aiter(subscription)
        while True:
            message = None
            with anyio.move_on_after(_TICK_S):
                message = await anext(messages, {"type": "end"})
            if message is None:
                messages = aiter(subscription)
            elif message["type"] == "end":
                return
            yield _line(message or {"type": "tick"})


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


async def _read(request: Request) -> _Asked:
    body = b""
    with anyio.move_on_after(_REQUEST_S) as scope:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                raise _Unreadable(413, "the request is larger than 1 MiB")
    if scope.cancelled_caught:
        raise _Unreadable(408, "the request was not finished in time")
    try:
        return _Asked.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _Unreadable(400, f"cannot read the request: {place} {first['msg']}") from error


async def _refuse(request: Request, error: Exception) -> Response:  # noqa: ARG001
    if not isinstance(error, OrchestratorError):
        raise error
    status, value = to_wire(error)
    return JSONResponse(value, status)


async def _reject(request: Request, error: Exception) -> Response:  # noqa: ARG001
    status = error.status if isinstance(error, _Unreadable) else 400
    return JSONResponse({"kind": "error", "message": str(error)}, status)


async def _apologise(request: Request, error: Exception) -> Response:
    logger.error("cannot answer %s", request.url.path, exc_info=error)
    return JSONResponse({"kind": "error", "message": "the supervisor made a mistake"}, 500)


class _Protocol(H11Protocol):
    """HTTP for people of this user who finish their sentences.

    A peer of another user is cut off, and so is one that has not sent a whole request head in time
    or that comes on top of too many: garbage and silence cost a descriptor for seconds, no more.
    """

    _unfinished: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        if not _is_us(transport) or len(self.connections) > _MAX_CONNECTIONS:
            self.transport.abort()
            return
        self._await_request()

    def on_response_complete(self) -> None:
        self._await_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._unfinished is not None:
            self._unfinished.cancel()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if self._unfinished is not None:
            self._unfinished.cancel()
        self._unfinished = self.loop.call_later(_REQUEST_S, self._give_up)

    def _give_up(self) -> None:
        if getattr(self.cycle, "response_complete", True):
            self.transport.abort()


def _is_us(transport: asyncio.BaseTransport) -> bool:
    peer = transport.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] in {os.geteuid(), 0}


def bind(path: Path) -> socket.socket:
    """Bind the control socket, in place of a stale one. Only the holder of the stack's lock may.

    The path's length does not matter: it is bound through a descriptor of its folder.

    Raises:
        OSError: the folder can't be written.
    """
    temp = path.with_name("control.new")
    temp.unlink(missing_ok=True)
    with ExitStack() as undo:
        server = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        _bind_in(path.parent, temp.name, server)
        server.listen(128)
        server.setblocking(False)  # noqa: FBT003  the standard library has it so
        temp.rename(path)
        undo.pop_all()
    return server


def _bind_in(folder: Path, name: str, server: socket.socket) -> None:
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        by_descriptor = Path(f"/proc/self/fd/{folder_fd}")
        server.bind(str((by_descriptor if by_descriptor.exists() else folder) / name))
    finally:
        os.umask(before)
        os.close(folder_fd)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the supervisor decides when it ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve(stack: Stack, server_socket: socket.socket) -> None:
    """Answer on the socket until cancelled; open streams are cut at the end."""
    config = uvicorn.Config(
        application(stack),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = _Server(config)
    try:
        await server.serve(sockets=[server_socket])
    finally:
        server_socket.close()
