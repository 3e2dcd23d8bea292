"""What the three tools do, whichever door the call came through."""

from collections.abc import Callable, Mapping

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.server import catalogue
from orchestrator.scheduler.server.endpoints import is_web_address
from orchestrator.scheduler.server.guids import read_guid
from orchestrator.scheduler.server.moments import Moment, now_ticks, read_leniently
from orchestrator.scheduler.server.records import Record, new_record
from orchestrator.scheduler.server.store import Store
from orchestrator.scheduler.values import Target

JSON_HEADERS = '{"Content-Type":"application/json"}'


class ToolRefused(Exception):
    """The call cannot be done; the text is the .NET service's."""


class Tools:
    """The three tools over one store; ``on_scheduled`` hears of every new conversation's time."""

    def __init__(self, store: Store, clock: Clock, on_scheduled: Callable[[int], None]) -> None:
        self._store = store
        self._clock = clock
        self._on_scheduled = on_scheduled

    async def call(self, tool: catalogue.Tool, arguments: Mapping[str, str | None]) -> str | bool:
        """Do what ``tool`` does.

        Raises:
            ToolRefused: with the words for the client.
        """
        for parameter in tool.parameters:
            if parameter.is_required and arguments.get(parameter.name) is None:
                raise ToolRefused(f"{parameter.name} is required")
        if tool is catalogue.STATUS:
            return await self.status(arguments["conversationId"] or "")
        if tool is catalogue.CANCEL:
            return await self.cancel(arguments["conversationId"] or "")
        return await self.schedule(arguments)

    async def schedule(self, arguments: Mapping[str, str | None]) -> str:
        """Keep a conversation for later and return its id.

        Raises:
            ToolRefused: something is empty, no time, past, or no http(s) address.
        """
        text = _given(arguments, "conversationText", "Conversation text")
        time = _given(arguments, "scheduledTime", "Scheduled time")
        endpoint = _given(arguments, "endpoint", "Endpoint")
        scheduled = read_leniently(time)
        if scheduled is None:
            problem = "Invalid scheduled time format. Use ISO 8601 format."
            raise _refusal(problem, "scheduledTime")
        method = arguments.get("method")
        info = arguments.get("additionalInfo")
        target = Target(endpoint, "POST" if method is None else method, JSON_HEADERS, info)
        return (await self.create(text, scheduled, target, "scheduledTime")).id

    async def create(
        self, text: str, scheduled: Moment, target: Target, time_name: str = "ScheduledTime"
    ) -> Record:
        """Keep a conversation whose time was read already; ``time_name`` is for the refusal.

        Raises:
            ToolRefused: half a character, a past time, or no http(s) address.
        """
        wall_ns = self._clock.wall_ns()
        if not _is_unicode(text, target):
            raise _refusal("Conversation text is not valid Unicode", "conversationText")
        if scheduled.ticks <= now_ticks(wall_ns):
            raise _refusal("Scheduled time must be in the future", time_name)
        if not is_web_address(target.endpoint):
            raise _refusal("Endpoint must be an http or https URL", "endpoint")
        record = new_record(text, scheduled, target, wall_ns)
        await self._store.add(record)
        self._on_scheduled(scheduled.ticks)
        return record

    async def status(self, conversation_id: str) -> str:
        """Return the status as a word.

        Raises:
            ToolRefused: no id, no GUID, or not known.
        """
        record = await self._store.find(_guid(conversation_id))
        if record is None:
            raise _refusal("Conversation not found", "conversationId")
        return record.status.value

    async def cancel(self, conversation_id: str) -> bool:
        """Cancel what is still scheduled; False if it is not, or unknown.

        Raises:
            ToolRefused: no id, or no GUID.
        """
        guid = _guid(conversation_id)
        return await self._store.cancel(guid, now_ticks(self._clock.wall_ns()))


def _given(arguments: Mapping[str, str | None], name: str, spoken: str) -> str:
    value = arguments.get(name)
    if not value:
        raise _refusal(f"{spoken} is required", name)
    return value


def _is_unicode(text: str, target: Target) -> bool:
    # JSON can spell half a surrogate pair, which can be neither stored nor sent.
    parts = (text, target.endpoint, target.method, target.additional_info or "")
    try:
        "".join(parts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _guid(text: str) -> str:
    if not text:
        raise _refusal("Conversation ID is required", "conversationId")
    guid = read_guid(text)
    if guid is None:
        raise _refusal("Invalid conversation ID format", "conversationId")
    return guid


def _refusal(problem: str, parameter: str) -> ToolRefused:
    return ToolRefused(f"{problem} (Parameter '{parameter}')")
