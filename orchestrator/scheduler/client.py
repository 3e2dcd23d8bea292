"""The raising client: one method for each thing that a scheduler can be asked."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from importlib import import_module
from types import TracebackType
from typing import Protocol, Self, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread

from orchestrator.scheduler.clock import Clock, SystemClock
from orchestrator.scheduler.configuration import Access, is_http_url
from orchestrator.scheduler.connections import Connections
from orchestrator.scheduler.dialect import Dialect, answer_of, strange
from orchestrator.scheduler.errors import (
    ConfigurationUnusable,
    NotDelivered,
    ServerFailed,
    TimedOut,
)
from orchestrator.scheduler.greeting import greet
from orchestrator.scheduler.reading import (
    read_conversation,
    read_page,
    read_status,
    time_on_the_wire,
)
from orchestrator.scheduler.values import Conversation, Page, Status, Tool
from orchestrator.scheduler.wire import Call, NoEndpoint, Wire

log = logging.getLogger(__name__)
T = TypeVar("T")

DEFAULT_TIMEOUT_S = 10.0
FIRST_LOOK_S = 0.05
LONGEST_LOOK_S = 2.0


class Speaker(Protocol):
    """A way to call tools: the dialect, or standard MCP."""

    name: str

    async def call_tool(
        self, tool: str, arguments: Mapping[str, object], *, is_repeatable: bool
    ) -> object:
        """Return the tool's result."""

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools that the server lists."""


class SchedulerClient:
    """Speaks with one scheduler; any number of tasks may share it.

    It holds no connection that a restart of the scheduler could kill: a call made meanwhile
    fails, the next one works. Every method raises a `SchedulerError` when it cannot do its work.
    ``timeout_s`` is for one call with all its repetitions; ``connections`` may be shared.

    Raises:
        ConfigurationUnusable: ``url`` is none.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        api_key: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connections: Connections | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not is_http_url(url):
            raise ConfigurationUnusable(f"{url!r} is no http URL")
        access = Access(url, client_id, api_key)
        self._connections = connections or Connections()
        self._wire = Wire(access, self._connections, clock or SystemClock(), timeout_s)
        self._url = url
        self._greeting = anyio.Lock()
        self._known: Speaker | None = None

    async def __aenter__(self) -> Self:
        """Connect nothing yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; twice is fine, and a later call opens new ones."""
        await self._connections.aclose()

    async def check(self) -> str:
        """Log in, find out how the server speaks, and return that in words."""
        return (await self._speaker()).name

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools that the server lists."""
        return await self._speak(lambda speaker: speaker.tools())

    async def schedule(
        self,
        text: str,
        at: datetime | str,
        endpoint: str,
        method: str = "POST",
        additional_info: str | None = None,
    ) -> str:
        """Have ``text`` sent to ``endpoint`` at a time, and return the conversation's id.

        ``at`` without a zone is local time. The call is not repeated once it may have reached
        the server: see ``may_have_happened`` of the error.

        Raises:
            Rejected: with the server's words.
            SchedulerError: it could not be asked.
        """
        arguments: dict[str, object] = {
            "conversationText": text,
            "scheduledTime": time_on_the_wire(at),
            "endpoint": endpoint,
            "method": method,
        }
        if additional_info is not None:
            arguments["additionalInfo"] = additional_info
        result = await self._call("scheduleConversation", arguments, is_repeatable=False)
        return str(result)

    async def status(self, conversation_id: str) -> Status:
        """Return where a conversation is.

        Raises:
            NotFound: there is none with this id.
        """
        arguments = {"conversationId": conversation_id}
        word = await self._call("getConversationStatus", arguments, is_repeatable=True)
        try:
            return read_status(word)
        except ValueError as error:
            problem = f"{self._url} tells an unknown status: {word!r}"
            raise ServerFailed(problem, status=200) from error

    async def cancel(self, conversation_id: str) -> bool:
        """Cancel a conversation; False if it is unknown or no longer scheduled."""
        arguments = {"conversationId": conversation_id}
        result = await self._call("cancelConversation", arguments, is_repeatable=False)
        return result is True or str(result).lower() == "true"

    async def conversation(self, conversation_id: str) -> Conversation:
        """Return the whole conversation.

        Raises:
            NotFound: there is none with this id.
        """
        path = f"/api/conversations/{quote(conversation_id, safe='')}"
        response = await self._wire.ask(Call("GET", path, is_repeatable=True))
        answer = answer_of(response)
        try:
            return read_conversation(answer)  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise strange(response) from error

    async def conversations(
        self, page: int = 1, page_size: int = 10, status: Status | None = None
    ) -> Page:
        """Return one page, newest created first; the server gives at most 100 at a time."""
        params = {"page": str(page), "pageSize": str(page_size)}
        if status is not None:
            params["status"] = status.value
        call = Call("GET", "/api/conversations", params=params, is_repeatable=True)
        response = await self._wire.ask(call)
        answer = answer_of(response)
        try:
            return read_page(answer)  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise strange(response) from error

    async def all_conversations(self, status: Status | None = None) -> AsyncIterator[Conversation]:
        """Go through all conversations, newest first, a page at a time.

        One that is created meanwhile may show the last of a page again at the top of the next.
        """
        number, pages = 1, 1
        while number <= pages:
            page = await self.conversations(number, 100, status)
            for conversation in page.conversations:
                yield conversation
            number, pages = number + 1, page.pages

    async def wait_until_delivered(
        self, conversation_id: str, timeout_s: float | None = None
    ) -> Conversation:
        """Return the conversation once its receiver has accepted it.

        Raises:
            NotDelivered: it failed or was cancelled.
            TimedOut: ``timeout_s`` went by.
            NotFound: there is none with this id.
        """
        with anyio.move_on_after(timeout_s):
            return await self._delivered(conversation_id)
        raise TimedOut(f"conversation {conversation_id} was not delivered within {timeout_s:g} s")

    async def _delivered(self, conversation_id: str) -> Conversation:
        pause_s = FIRST_LOOK_S
        while not (await self.status(conversation_id)).is_final:
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_LOOK_S)
        conversation = await self.conversation(conversation_id)
        if conversation.status is not Status.COMPLETED:
            raise NotDelivered(conversation)
        return conversation

    async def _call(
        self, tool: str, arguments: Mapping[str, object], *, is_repeatable: bool
    ) -> object:
        return await self._speak(
            lambda speaker: speaker.call_tool(tool, arguments, is_repeatable=is_repeatable)
        )

    async def _speak(self, ask: Callable[[Speaker], Awaitable[T]]) -> T:
        try:
            return await ask(await self._speaker())
        except NoEndpoint:
            # Another kind of scheduler stands there now; this one has done nothing.
            self._known = None
            return await ask(await self._speaker())

    async def _speaker(self) -> Speaker:
        async with self._greeting:
            if self._known is None:
                self._known = await self._greeted()
                log.info("%s speaks %s", self._url, self._known.name)
            return self._known

    async def _greeted(self) -> Speaker:
        greeting = await greet(self._wire, self._url)
        if greeting.mode is None:
            # Neither MCP nor a login: no scheduler at all.
            self._wire.login.insist()
            return Dialect(self._wire)
        module = await anyio.to_thread.run_sync(import_module, "orchestrator.scheduler.standard")
        speaker: Speaker = module.Standard(self._wire, self._url, greeting.mode)
        return speaker
