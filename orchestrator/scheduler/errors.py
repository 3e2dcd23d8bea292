"""What can go wrong between an application and its scheduler.

```
SchedulerError             the text says what could not be done, and why
├── ConfigurationUnusable  config.json is missing, broken, or has no such server
├── Unreachable            nobody answers, or the connection broke
├── TimedOut               no answer in time
├── Unauthorized           the credentials or the token are refused
├── Rejected               the scheduler refuses the call; ``words`` are its own
├── NotFound               it knows no such conversation
├── ServerFailed           it answers with an error of its own, or not as a scheduler would
└── NotDelivered           a conversation that was waited for failed or was cancelled
```
"""

from orchestrator.scheduler.values import Conversation


class SchedulerError(Exception):
    """A call to the scheduler could not be done.

    ``may_have_happened`` tells that the request may have been carried out all the same: do not
    schedule again without looking.
    """

    may_have_happened: bool = False


class ConfigurationUnusable(SchedulerError):
    """config.json is missing or broken, or names no such server."""


class Unreachable(SchedulerError):
    """Nobody answers at the scheduler's address, or the connection broke."""

    def __init__(self, message: str, *, may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.may_have_happened = may_have_happened


class TimedOut(SchedulerError):
    """The scheduler did not answer in time."""

    may_have_happened = True


class Unauthorized(SchedulerError):
    """The scheduler refuses the credentials, or a token that it gave out itself."""


class Rejected(SchedulerError):
    """The scheduler refuses the call; ``words`` are its own."""

    def __init__(self, words: str) -> None:
        super().__init__(f"the scheduler refuses: {words}")
        self.words = words


class NotFound(SchedulerError):
    """The scheduler knows no such conversation."""


class ServerFailed(SchedulerError):
    """The scheduler answers with an error of its own, or not as a scheduler would.

    ``status`` is the HTTP status.
    """

    def __init__(self, message: str, *, status: int, may_have_happened: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.may_have_happened = may_have_happened


class NotDelivered(SchedulerError):
    """The conversation failed or was cancelled; ``conversation`` is how it ended."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(f"conversation {conversation.id} ended as {conversation.status}")
        self.conversation = conversation
