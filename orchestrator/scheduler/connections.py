"""The connection pools of an application, shared by every client it makes."""

import ipaddress
from urllib.parse import urlsplit

import anyio.lowlevel
import httpx2

LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)


class Connections:
    """Opened when they are first used, closed by `aclose`; usable again after it."""

    def __init__(self) -> None:
        self._loop: object = None
        self._pools: dict[tuple[bool, bool], httpx2.AsyncClient] = {}

    def to(self, url: str) -> httpx2.AsyncClient:
        """Return the pool for a server, in the event loop that runs now.

        A pool cannot outlive its loop; those that did (two ``asyncio.run`` of a script) are
        dropped. A proxy of the environment is not asked for this machine.
        """
        loop = anyio.lowlevel.current_token()
        if self._loop != loop:
            self._loop, self._pools = loop, {}
        parts = urlsplit(url)
        # Setting up TLS costs 40 ms, which plain http need not pay.
        key = (parts.scheme == "https", _is_local(parts.hostname or ""))
        if key not in self._pools:
            is_https, is_local = key
            self._pools[key] = httpx2.AsyncClient(
                limits=LIMITS, verify=is_https, trust_env=not is_local
            )
        return self._pools[key]

    async def aclose(self) -> None:
        """Close every connection of this event loop."""
        pools, self._pools = self._pools, {}
        if self._loop == anyio.lowlevel.current_token():
            for pool in pools.values():
                await pool.aclose()


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
