"""The embedded scheduler, put together."""

import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup, TaskStatus
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.server.alarm import Alarm
from orchestrator.scheduler.server.background import in_daemon_thread
from orchestrator.scheduler.server.backoff import retry_wait_s
from orchestrator.scheduler.server.conversations import Conversations
from orchestrator.scheduler.server.delivery import Courier
from orchestrator.scheduler.server.dialect import PAGE, Health, Login, ToolDoors
from orchestrator.scheduler.server.door import McpDoor
from orchestrator.scheduler.server.guard import Guard, Hosts
from orchestrator.scheduler.server.listening import HttpServer, listen, url_of
from orchestrator.scheduler.server.routing import AnyCase, Authorized, Methods
from orchestrator.scheduler.server.settings import DeliveryPolicy, Settings
from orchestrator.scheduler.server.store import Store
from orchestrator.scheduler.server.tokens import Tokens
from orchestrator.scheduler.server.tools import Tools

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from orchestrator.scheduler.server.sending import Sender

log = logging.getLogger(__name__)


class Scheduler:
    """One embedded scheduler: its store, its courier and its doors."""

    def __init__(self, settings: Settings, clock: Clock, store: Store, alarm: Alarm) -> None:
        self._settings = settings
        self._store = store
        policy = settings.delivery
        self._courier = Courier(store, clock, alarm, policy, partial(retry_wait_s, policy))
        self._tools = Tools(store, clock, self._courier.notice)
        tokens = Tokens(settings.keys, clock)
        authorized = Authorized(tokens)
        self._door = McpDoor(authorized)
        self._http = HttpServer(self._app(tokens, authorized, clock))

    async def serve(self) -> None:
        """Listen, deliver and answer until SIGTERM or SIGINT; a second one ends at once.

        Raises:
            CannotListen: the address cannot be had.
        """
        sockets = listen(self._settings.host, self._settings.port)
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._stop_on_signal, tasks.cancel_scope)
            log.info("Now listening on: %s", url_of(self._settings.host, sockets))
            async with anyio.create_task_group() as working:
                working.start_soon(self._http.serve, sockets)
                working.start_soon(self._deliver, tasks)
            tasks.cancel_scope.cancel()

    def _app(self, tokens: Tokens, authorized: Authorized, clock: Clock) -> ASGIApp:
        largest = self._settings.largest_body_bytes
        health = Health(self._store)
        login = Login(tokens, largest)
        doors = ToolDoors(self._tools, self._store, largest)
        resource = Conversations(self._tools, self._store, clock, largest)
        paths: dict[str, ASGIApp] = {
            "/": Methods({"GET": _page}),
            "/health": Methods({"GET": health.short}, other=health.long),
            "/api/auth/token": Methods({"POST": login.token}),
            "/api/auth/validate": Methods({"POST": login.validate}),
            "/api/mcptools/tools": Methods({"GET": authorized(doors.tools)}),
            "/api/mcptools/execute": Methods({"POST": authorized(doors.execute)}),
            "/api/conversations": Methods(
                {"GET": authorized(resource.list), "POST": authorized(resource.create)}
            ),
            "/api/conversations/{id}": Methods(
                {"GET": authorized(resource.read), "DELETE": authorized(resource.cancel)}
            ),
            "/mcp": self._door,
            "/mcp/tools": Methods({"GET": authorized(doors.choices)}),
            "/mcp/execute": Methods({"POST": authorized(doors.execute_choice)}),
        }
        hosts = Hosts(self._settings.host, self._settings.allowed_hosts)
        return Guard(AnyCase(paths), hosts)

    async def _deliver(self, tasks: TaskGroup) -> None:
        sender = await in_daemon_thread("imports", partial(_sender, self._settings.delivery))
        tasks.start_soon(self._open_door)
        try:
            await self._courier.run(sender)
        finally:
            with anyio.CancelScope(shield=True):
                await sender.aclose()

    async def _open_door(self) -> None:
        try:
            make = await in_daemon_thread("import mcp", _standard)
        except ImportError:
            log.exception("standard MCP is not served: the MCP SDK cannot be imported")
            self._door.open(None)
            return
        manager = make(self._tools, self._settings.largest_body_bytes)
        async with manager.run():
            self._door.open(manager.handle_request)
            await anyio.sleep_forever()

    async def _stop_on_signal(
        self,
        everything: anyio.CancelScope,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if self._http.is_stopping:
                    everything.cancel()
                log.info("stopping on %s", signal.Signals(number).name)
                self._courier.stop()
                self._http.stop()


async def _page(_request: Request) -> Response:
    return Response(PAGE, headers={"Content-Type": "text/html"})


def _sender(policy: DeliveryPolicy) -> "Sender":
    import jwt  # noqa: F401 - so that the first login need not wait for it

    from orchestrator.scheduler.server.sending import Sender  # imports httpx2

    return Sender(policy.timeout_s)


def _standard() -> "Callable[[Tools, int], StreamableHTTPSessionManager]":
    from orchestrator.scheduler.server.standard import session_manager  # 1 s

    return session_manager
