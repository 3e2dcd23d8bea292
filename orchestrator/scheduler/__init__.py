"""The scheduler: `SchedulerService` for applications, and the embedded server.

Any application may import this package; it imports nothing else of orchestrator. Its names are
loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.scheduler.client import SchedulerClient
    from orchestrator.scheduler.errors import (
        ConfigurationUnusable,
        NotDelivered,
        NotFound,
        Rejected,
        SchedulerError,
        ServerFailed,
        TimedOut,
        Unauthorized,
        Unreachable,
    )
    from orchestrator.scheduler.service import SchedulerService
    from orchestrator.scheduler.values import Conversation, Page, Status, Target, Tool

_MODULES = {
    "client": ("SchedulerClient",),
    "errors": (
        *("ConfigurationUnusable", "NotDelivered", "NotFound", "Rejected", "SchedulerError"),
        *("ServerFailed", "TimedOut", "Unauthorized", "Unreachable"),
    ),
    "service": ("SchedulerService",),
    "values": ("Conversation", "Page", "Status", "Target", "Tool"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ConfigurationUnusable",
    "Conversation",
    "NotDelivered",
    "NotFound",
    "Page",
    "Rejected",
    "SchedulerClient",
    "SchedulerError",
    "SchedulerService",
    "ServerFailed",
    "Status",
    "Target",
    "TimedOut",
    "Tool",
    "Unauthorized",
    "Unreachable",
]


def __getattr__(name: str) -> object:
    """Load a name when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
