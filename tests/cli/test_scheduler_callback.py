"""The callback of `scheduler check`: it takes what is meant for it, and nothing else."""

import anyio
import httpx2
import pytest

from orchestrator.cli.scheduler_callback import Callback, callback

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def post(url: str, text: str) -> int:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        return (await client.post(url, content=text.encode())).status_code


async def test_a_delivery_is_taken_and_answered() -> None:
    async with callback() as receiver:
        assert await post(receiver.url, "grüße") == 204
        assert receiver.texts == ["grüße"]


async def test_a_request_for_another_path_is_not() -> None:
    async with callback() as receiver:
        assert await post(receiver.url.rpartition("/")[0] + "/check-1", "hello") == 404
        assert receiver.texts == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"x" * 999_999,
    ],
)
async def test_what_is_no_delivery_harms_nothing(data: bytes) -> None:
    async with callback() as receiver:
        async with await anyio.connect_tcp("127.0.0.1", port(receiver)) as stream:
            try:
                await stream.send(data)
                await stream.send_eof()
                assert await stream.receive() == b""
            except (anyio.BrokenResourceError, anyio.EndOfStream, OSError):
                pass
        assert await post(receiver.url, "after it") == 204
        assert receiver.texts == ["after it"]


async def test_nothing_of_it_is_left_after_the_block() -> None:
    async with callback() as receiver:
        pass
    with pytest.raises(OSError, match="connect"):
        await anyio.connect_tcp("127.0.0.1", port(receiver))


def port(receiver: Callback) -> int:
    return int(receiver.url.split(":")[2].partition("/")[0])
