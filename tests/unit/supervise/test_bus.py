"""Telling everyone what happens."""

import anyio
import pytest

from orchestrator.supervise.bus import Bus, Message

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_subscriber_gets_what_is_published_after_it_subscribed() -> None:
    bus = Bus()
    bus.publish({"n": 0})
    with bus.subscribe() as subscription:
        bus.publish({"n": 1})
        bus.publish({"n": 2})
        bus.close()
        assert [message["n"] async for message in subscription] == [1, 2]


async def test_a_slow_subscriber_loses_its_oldest_messages_and_is_told_how_many() -> None:
    bus = Bus()
    with bus.subscribe() as subscription:
        for n in range(2010):
            bus.publish({"n": n})
        bus.close()
        messages: list[Message] = [message async for message in subscription]
    assert messages[0] == {"type": "dropped", "count": 10}
    assert [message["n"] for message in messages[1:]] == list(range(10, 2010))


async def test_until_returns_when_a_message_makes_it_true() -> None:
    bus = Bus()
    seen: list[object] = []
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await bus.until(lambda: len(seen) == 2)
            seen.append("returned")

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        for n in (1, 2):
            seen.append(n)
            bus.publish({"n": n})
            await anyio.wait_all_tasks_blocked()
    assert seen == [1, 2, "returned"]


async def test_until_of_what_is_true_returns_at_once() -> None:
    with anyio.fail_after(5):
        await Bus().until(lambda: True)


async def test_a_closed_bus_ends_every_wait_those_to_come_as_well() -> None:
    bus = Bus()
    bus.close()
    with anyio.fail_after(5):
        await bus.until(lambda: False)
