"""A receiver for the scheduler's benchmarks: lean enough not to be what is measured.

Prints its port, counts deliveries by conversation, and prints a JSON report when it is asked
to end by a line on stdin.
"""

import asyncio
import json
import sys
import time
from collections import Counter

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
counted: Counter[bytes] = Counter()
times: list[float] = []


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take one delivery."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(
            line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line
        )
        await reader.readexactly(int(fields.get(b"content-length", b"0")))
        counted[fields.get(b"x-conversation-id", b"?")] += 1
        times.append(time.time())
        writer.write(ANSWER)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # a killed scheduler
    finally:
        writer.close()


async def main() -> None:
    """Serve until a line or the end of stdin."""
    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    report = {
        "ids": {key.decode(): count for key, count in counted.items()},
        "first": min(times, default=0.0),
        "last": max(times, default=0.0),
    }
    print(json.dumps(report), flush=True)
    server.close()


asyncio.run(main())
