"""What happens, told to everyone who listens; a slow listener never slows the loop."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

Message = dict[str, Any]

_KEPT_MESSAGES = 2000


class Subscription:
    """One listener's messages. It loses its oldest ones when it is slow, and is told how many."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._dropped = 0
        self._news = anyio.Event()
        self._closed = False

    def put(self, message: Message) -> None:
        """Add a message; never waits."""
        self._messages.append(message)
        if len(self._messages) > _KEPT_MESSAGES:
            self._messages.popleft()
            self._dropped += 1
        self._news.set()

    def close(self) -> None:
        """End the iteration once what is there has been read."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield messages as they come, until closed."""
        while True:
            while self._messages:
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    yield {"type": "dropped", "count": dropped}
                yield self._messages.popleft()
            if self._closed:
                return
            self._news = anyio.Event()
            await self._news.wait()


class Bus:
    """Publishes messages to any number of subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Listen inside the block. Subscribe before you ask, or you miss what happens between."""
        subscription = Subscription()
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, message: Message) -> None:
        """Tell everyone; never waits."""
        for subscription in self._subscriptions:
            subscription.put(message)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Return once ``reached`` is true; it is asked now and after each message."""
        with self.subscribe() as subscription:
            if reached():
                return
            async for _ in subscription:
                if reached():
                    return

    def close(self) -> None:
        """End every subscription, those to come as well."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
