"""Addresses of services: what servers log when they listen, and what stands in a published URL."""

import ipaddress
import re
from collections.abc import Collection

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Of each family the loopback address, and the wildcard that takes it in.
_LOOPBACKS = tuple(
    (ipaddress.ip_address(loopback), ipaddress.ip_address(wildcard))
    for loopback, wildcard in (("127.0.0.1", "0.0.0.0"), ("::1", "::"))  # noqa: S104  compared
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535

# Colours, and the links that terminals make of addresses.
_CONTROL = re.compile(r"\x1b(?:\[[0-9;:?]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\))")
# What servers say right before their address, told apart from other lines with an address in them:
# requests ("GET http://…"), connections ("connected to http://…"), other machines ("Network: …").
_ANNOUNCED = re.compile(
    r"""(?: \b(?:listening|running|serving|started|ready|available)\s(?:on|at)\b
          | \bserving\shttps?\son\s\S{1,64}\sport\s[0-9]{1,5}\b     # python -m http.server
          | \btransport\s'[^']{1,40}'\son\b                         # FastMCP
          | ^\W{0,16}local\b                                        # Vite, Next
        )
        [\s:=>"'`(\[-]{1,16}
        (https?://[^\s"'`<>(){}|\\,;]++)""",
    re.IGNORECASE | re.VERBOSE,
)
_DENIED = re.compile(r"\b(?:not|no\slonger|cannot|failed|unable|stopped|stopping)\b", re.IGNORECASE)
# "listening at http://:: on port 3000": half of an address.
_PORT_APART = re.compile(r"\W{0,8}(?:on\s)?port\b", re.IGNORECASE)
_ORIGIN = re.compile(
    r"(https?)://(\[[^\]]*\]|[^/?#@:]*|::)(?::([0-9]{1,5}))?(?=[/?#]|$)", re.IGNORECASE
)


def url_in(line: str) -> str | None:
    """Return the address that a server tells in this line of its log; None if it tells none.

    As `base_url` returns it. It is only what the line says: whose listener it is must be asked.

    Source: .NET hosting, uvicorn, hypercorn, gunicorn, Flask, http.server, Vite, Next, FastMCP,
    and what people write who start a server by hand.
    """
    if "://" not in line:
        return None
    line = _CONTROL.sub("", line)
    found = _ANNOUNCED.search(line)
    if found is None or _DENIED.search(line, 0, found.start(1)):
        return None
    if _PORT_APART.match(line, found.end()):
        return None
    return base_url(found[1].rstrip(".!]*…"))


def base_url(url: str) -> str | None:
    """Return scheme, host and port of an http(s) URL; None if it is none that can be called.

    The port is always there. Hosts that mean every address (0.0.0.0, [::], *, +) become localhost.
    A user or password in it makes it None: credentials are published by name or not at all.
    """
    found = _ORIGIN.match(url)
    if found is None:
        return None
    scheme = found[1].lower()
    host = _host(found[2])
    port = int(found[3]) if found[3] else _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}:{port}" if host is not None and 0 < port <= _MAX_PORT else None


def join(base: str, path: str) -> str:
    """Return the URL of ``path`` below ``base``, with one slash between them."""
    return f"{base.rstrip('/')}/{path.lstrip('/')}" if path else base


def service_url(port: int, hosts: Collection[str]) -> str:
    """Return the URL of a service that listens on ``port`` at the addresses ``hosts``.

    The host is localhost where both loopback families are the service's own, or where nothing is
    known (no hosts); else the address that is. A dual-stack `::` is told with 0.0.0.0 beside it.
    """
    own = {_address(host) for host in hosts}
    has_4, has_6 = (not own.isdisjoint(addresses) for addresses in _LOOPBACKS)
    if not own or (has_4 and has_6):
        return f"http://localhost:{port}"
    if has_4 or has_6:
        return f"http://{_in_url(_LOOPBACKS[0 if has_4 else 1][0])}:{port}"
    first = min(own, key=lambda address: (address.version, int(address)))
    return f"http://{_in_url(first)}:{port}"


def _address(host: str) -> IPAddress:
    """Return a listener's address; an IPv4 one that an IPv6 socket shows is IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _in_url(address: IPAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _host(host: str) -> str | None:
    """Return a URL's host in its one spelling; None if it is none."""
    if host in ("*", "+"):
        return "localhost"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() if host and "[" not in host else None
    return "localhost" if address.is_unspecified else _in_url(address)
