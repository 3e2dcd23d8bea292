"""`SchedulerService`: the client for applications, which never raises for the service's faults."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from orchestrator.scheduler.client import DEFAULT_TIMEOUT_S, SchedulerClient
from orchestrator.scheduler.configuration import Access, ConfigFile, process_environment
from orchestrator.scheduler.connections import Connections
from orchestrator.scheduler.errors import SchedulerError

log = logging.getLogger(__name__)
T = TypeVar("T")


class SchedulerService:
    """Schedules conversations through the scheduler that config.json names.

    The file is read again whenever it changed, so a scheduler that comes back elsewhere, or with
    new credentials, is found by the next call. What fails is logged with its reason and answered
    with None or False. `SchedulerClient` is the same with errors.
    """

    def __init__(
        self,
        config_path: str | Path = "config/config.json",
        server_name: str = "Scheduler",
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        known = process_environment() if environment is None else environment
        self._file = ConfigFile(Path(config_path), server_name, known)
        self._timeout_s = timeout_s
        self._connections = Connections()
        self._client: SchedulerClient | None = None
        self._access: Access | None = None

    async def __aenter__(self) -> Self:
        """Initialize; a scheduler that is not there yet is no error."""
        await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        await self.close()

    async def initialize(self) -> bool:
        """Log in and greet the scheduler; False, with the reason in the log, if that fails.

        The service may be used all the same: each call tries for itself.
        """
        return await self._try("reach the scheduler", lambda client: client.check()) is not None

    async def schedule_conversation(
        self,
        conversation_text: str,
        scheduled_time: datetime | str,
        endpoint: str,
        method: str = "POST",
        additional_info: str | None = None,
    ) -> str | None:
        """Have a text sent at a time; its id, or None. A time without a zone is local time."""
        return await self._try(
            "schedule a conversation",
            lambda client: client.schedule(
                conversation_text, scheduled_time, endpoint, method, additional_info
            ),
        )

    async def get_conversation_status(self, conversation_id: str) -> str | None:
        """Return the status as the scheduler's own word, such as ``InProgress``, or None."""
        status = await self._try(
            f"ask about conversation {conversation_id}",
            lambda client: client.status(conversation_id),
        )
        return None if status is None else status.value

    async def cancel_conversation(self, conversation_id: str) -> bool:
        """Cancel a conversation that is still scheduled, and tell whether that was done."""
        cancelled = await self._try(
            f"cancel conversation {conversation_id}",
            lambda client: client.cancel(conversation_id),
        )
        return bool(cancelled)

    async def close(self) -> None:
        """Close every connection; twice is fine, and a later call opens new ones."""
        await self._connections.aclose()

    def client(self) -> SchedulerClient:
        """Return the raising client for what config.json says now.

        Raises:
            ConfigurationUnusable: it says nothing usable.
        """
        access = self._file.access()
        if self._client is None or access != self._access:
            self._client = SchedulerClient(
                access.url,
                access.client_id,
                access.api_key,
                timeout_s=self._timeout_s,
                connections=self._connections,
            )
            self._access = access
        return self._client

    async def _try(self, deed: str, ask: Callable[[SchedulerClient], Awaitable[T]]) -> T | None:
        try:
            return await ask(self.client())
        except SchedulerError as error:
            doubt = " (it may have been done all the same)" if error.may_have_happened else ""
            log.warning("cannot %s: %s%s", deed, error, doubt)
            return None
