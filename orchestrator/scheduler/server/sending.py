"""Sending one conversation to its endpoint. Imported late: httpx2 costs 0.1 s."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress

import anyio
import httpx2

from orchestrator.scheduler.server.records import Record

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH"})
MOST_REDIRECTS = 5
MOST_DRAINED_BYTES = 64 * 1024
LONGEST_DRAIN_S = 1.0
LOOPBACK_PATTERNS = ("all://localhost", "all://127.0.0.1", "all://[::1]")

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Ours to say, or of the connection and the body, not of the request.
_OUR_HEADERS = frozenset(
    {
        *("allow", "connection", "content-disposition", "content-encoding", "content-language"),
        *("content-length", "content-location", "content-md5", "content-range", "content-type"),
        *("expires", "keep-alive", "last-modified", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "x-conversation-id"),
    }
)


class Sender:
    """Makes deliveries, each over a connection of its own.

    A pooled connection that the receiver closes just then loses a delivery, or makes it
    unclear whether it arrived.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        direct = httpx2.AsyncHTTPTransport(limits=limits)
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout_s),
            limits=limits,
            mounts=dict.fromkeys(LOOPBACK_PATTERNS, direct),
        )

    async def send(self, record: Record) -> str | None:
        """Deliver ``record``; None if it was answered with 2xx, else why it failed."""
        target = record.target
        method = target.method.upper() if target.method.upper() in METHODS else "POST"
        try:
            request = self._client.build_request(
                method,
                target.endpoint.strip(),
                content=record.text.encode("utf-8"),
                headers=headers_for(record),
            )
            with anyio.fail_after(self._timeout_s):
                status = await self._follow(request)
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None if 200 <= status < 300 else f"answered {status}"

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _follow(self, request: httpx2.Request) -> int:
        # Only redirects that keep method and body: after a 302 the text would be gone.
        status = 0
        for _ in range(1 + MOST_REDIRECTS):
            response = await self._client.send(request, stream=True)
            try:
                status = response.status_code
                await _drain(response)
            finally:
                await response.aclose()
            if status not in {307, 308} or response.next_request is None:
                break
            request = response.next_request
        return status


def headers_for(record: Record) -> dict[str, str]:
    """Return what goes out with the body: our own headers win over those of ``headersJson``."""
    wanted = {
        name: value
        for name, value in _given_headers(record.target.headers_json).items()
        if name.lower() not in _OUR_HEADERS and _is_sendable(name, value)
    }
    return {
        **wanted,
        "Content-Type": "application/json; charset=utf-8",
        "X-Conversation-Id": record.id,
    }


def _given_headers(text: str | None) -> Mapping[str, str]:
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    is_readable = isinstance(given, dict) and all(isinstance(v, str) for v in given.values())
    return given if is_readable else {}


def _is_sendable(name: str, value: str) -> bool:
    return bool(_HEADER_NAME.fullmatch(name)) and value.isascii() and value.isprintable()


async def _drain(response: httpx2.Response) -> None:
    # A receiver should be able to finish its answer; what it says does not matter any more.
    seen = 0
    with anyio.move_on_after(LONGEST_DRAIN_S), suppress(httpx2.HTTPError):
        async for chunk in response.aiter_raw():
            seen += len(chunk)
            if seen > MOST_DRAINED_BYTES:
                return
