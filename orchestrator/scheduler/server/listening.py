"""Sockets, and a uvicorn that ends when told, at once and with 0."""

import contextlib
import errno
import logging
import socket
from collections.abc import Iterator

import anyio
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

BACKLOG = 1024
# What is still being answered at a stop: the answers of this server take milliseconds.
ANSWER_GRACE_S = 5
# Longer than clients keep a connection, so that they let go first and lose no request.
KEEP_ALIVE_S = 120


class CannotListen(Exception):
    """The address cannot be had; ``is_taken`` if somebody else has it."""

    def __init__(self, message: str, *, is_taken: bool) -> None:
        super().__init__(message)
        self.is_taken = is_taken


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets on every address of ``host``, all with the same port.

    Port 0 takes a free one. ``localhost`` means both loopback families, where the machine has
    them.

    Raises:
        CannotListen: an address is taken, or is not this machine's.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host):
            if family == socket.AF_INET6 and sockets and not _can_bind_loopback6():
                continue
            sockets.append(_bound(family, address, port))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for made in sockets:
            made.close()
        url = f"http://{_in_url(host)}:{port}"
        problem = f"Failed to bind to address {url}: {(error.strerror or str(error)).lower()}."
        raise CannotListen(problem, is_taken=error.errno == errno.EADDRINUSE) from error
    return sockets


def url_of(host: str, sockets: list[socket.socket]) -> str:
    """Return the URL that these sockets are reached at."""
    return f"http://{_in_url(host)}:{sockets[0].getsockname()[1]}"


class HttpServer(uvicorn.Server):
    """Serves until `stop`; signals are the caller's."""

    def __init__(self, app: ASGIApp) -> None:
        self._uploads = Uploads(app)
        self._stopped = anyio.Event()
        config = uvicorn.Config(
            self._uploads,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=ANSWER_GRACE_S,
            backlog=BACKLOG,
        )
        config.load()
        super().__init__(config)

    @property
    def is_stopping(self) -> bool:
        """Tell whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Take no more requests and return from ``serve`` once the last is answered."""
        self._uploads.cut()
        self._stopped.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again and end with -15."""
        yield

    async def main_loop(self) -> None:
        """Wait for `stop`; each second only the Date header is renewed."""
        while not self._stopped.is_set():
            await self.on_tick(0)
            with anyio.move_on_after(1):
                await self._stopped.wait()


class Uploads:
    """Ends the waiting for bodies that are not complete when the server stops."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Tell everybody who waits for more of a body that the client is gone."""
        for scope in self._waiting:
            scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_complete = False

        async def cuttable() -> Message:
            nonlocal is_complete
            if is_complete:
                return await receive()
            with anyio.CancelScope() as waiting:
                self._waiting.add(waiting)
                try:
                    message = await receive()
                finally:
                    self._waiting.discard(waiting)
                is_complete = not message.get("more_body", False)
                return message
            return {"type": "http.disconnect"}

        await self._app(scope, cuttable, send)


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host.lower() == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # With another protocol number than TCP's asyncio would not set TCP_NODELAY: +40 ms a request.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _can_bind_loopback6() -> bool:
    try:
        _bound(socket.AF_INET6, "::1", 0).close()
    except OSError:
        return False
    return True


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
