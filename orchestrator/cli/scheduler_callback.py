"""A small HTTP server on loopback that deliveries of a check come to."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import h11
from anyio.abc import ByteStream, SocketAttribute

_LARGEST_BYTES = 64 * 1024
_PATIENCE_S = 10.0


class Callback:
    """Takes texts at an address that nobody else knows."""

    def __init__(self, port: int) -> None:
        self._path = f"/check-{secrets.token_hex(8)}"
        self.url = f"http://127.0.0.1:{port}{self._path}"
        self.texts: list[str] = []

    async def take(self, stream: ByteStream) -> None:
        """Answer one request: 204, or 404 when it is not for us."""
        connection = h11.Connection(h11.SERVER, _LARGEST_BYTES)
        async with stream:
            with anyio.move_on_after(_PATIENCE_S):
                try:
                    status = await self._read(connection, stream)
                    answer = h11.Response(status_code=status, headers=[("Connection", "close")])
                    sent = (connection.send(answer), connection.send(h11.EndOfMessage()))
                    await stream.send(b"".join(part or b"" for part in sent))
                except (h11.ProtocolError, anyio.BrokenResourceError, anyio.EndOfStream):
                    return  # whoever that was, it was no scheduler

    async def _read(self, connection: h11.Connection, stream: ByteStream) -> int:
        """Read the request, keep its text, and return the status to answer with."""
        target, body = b"", bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await _more(stream))
            elif isinstance(event, h11.Request):
                target = event.target
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            if isinstance(event, h11.ConnectionClosed) or len(body) > _LARGEST_BYTES:
                raise h11.RemoteProtocolError("not a delivery of ours")
        if target.decode("ascii", "replace") != self._path:
            return 404
        self.texts.append(body.decode("utf-8", "replace"))
        return 204


@asynccontextmanager
async def callback() -> AsyncIterator[Callback]:
    """Listen at a free port of 127.0.0.1 for the block."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        made = Callback(listener.extra(SocketAttribute.local_port))  # noqa: S610  no Django
        tasks.start_soon(listener.serve, made.take)
        yield made
        tasks.cancel_scope.cancel()


async def _more(stream: ByteStream) -> bytes:
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""
