"""The outermost layer of the server: who may speak to it at all, and no traceback to anybody."""

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.scheduler.server.answers import Problem, empty
from orchestrator.scheduler.server.settings import is_loopback
from orchestrator.scheduler.server.store import StoreFailed

log = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound


class Hosts:
    """The names under which this server may be asked, against DNS rebinding.

    A page that rebinds its name to our address still sends that name as Host.
    """

    def __init__(self, bound: str, allowed: tuple[str, ...]) -> None:
        own = (socket.gethostname(),) if bound in WILDCARDS else (bound.strip("[]"),)
        self._names = {name.lower() for name in (*LOOPBACK_HOSTS, *own, *allowed)}
        # An address is no name that could be rebound; which ones are ours is not known here.
        self._takes_addresses = bound in WILDCARDS or not is_loopback(bound)

    def know(self, host: str) -> bool:
        """Tell whether a Host header names this server, whatever its port."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or (self._takes_addresses and _is_address(name))


class Guard:
    """Refuses foreign hosts (421) and foreign pages (403), and answers for what broke below."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        if not self._hosts.know(headers.get("host", "")):
            await empty(421)(scope, receive, send)
        elif _is_from_a_foreign_page(headers):
            await empty(403)(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except StoreFailed as error:
            log.error("%s %s: the store failed: %s", scope["method"], scope["path"], error)  # noqa: TRY400
            if not started:
                await Problem(503)(scope, receive, send)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if not started:
                await empty(500)(scope, receive, send)


def _is_from_a_foreign_page(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        own = headers.get("host", "").lower()
        return origin.lower() not in {f"http://{own}", f"https://{own}"}
    return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
