"""Ports before a start: who holds one, and which is free."""

import errno
import pwd
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from orchestrator.errors import OrchestratorError, PortOwner
from orchestrator.spec.quantities import format_duration
from orchestrator.system.sock_diag import (
    ANY_STATE,
    FAMILIES,
    Listener,
    dump,
    find_owner,
    listening,
    socket_inodes,
)

_BOTH_FAMILIES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_DRAWN_FROM = (10_000, 65_000)
_TRIES = 200


@dataclass(frozen=True, slots=True)
class PortHeld:
    """A port that somebody else holds, and at which address."""

    port: int
    address: str
    owner: PortOwner


def holder(port: int, ours: Callable[[], set[int]]) -> PortHeld | None:
    """Return who keeps a service of ours from listening on ``port``; None when nobody does.

    ``ours`` are the pids of our own services, which may go on holding it.
    """
    found = [one for one in _listening(port) if one.takes_ipv4 or one.takes_ipv6]
    if found:
        own = socket_inodes(ours())
        foreign = [one for one in found if one.inode not in own]
        return _held(foreign[0]) if foreign else None
    for family, address in _BOTH_FAMILIES:
        if not _can_bind(family, address, port):
            bound = _bound(family, port)
            if bound is None:
                return PortHeld(port, address, PortOwner())
            if bound.inode not in socket_inodes(ours()):
                return _held(bound)
    return None


def free_port(taken: set[int], rng: random.Random) -> int:
    """Return a port that is free on both loopback families, and that the system hands to nobody.

    Where it hands out (nearly) all of them, one that is free now has to do.

    Raises:
        OrchestratorError: none was found.
    """
    low, high = _ephemeral_range()
    for attempt in range(2 * _TRIES):
        port = rng.randrange(*_DRAWN_FROM)
        if port in taken or (attempt < _TRIES and low <= port <= high):
            continue
        if holder(port, set) is None:
            return port
    raise OrchestratorError("cannot find a free port")


def describe(held: PortHeld) -> str:
    """Return the owner in words: `pid 812 (python3) of root, for 3m`."""
    owner = held.owner
    if owner.pid is None:
        whose = f"a process of {owner.user}, which" if owner.user else "a process which"
        return f"{whose} is not visible to this user"
    text = f"pid {owner.pid}"
    text += f" ({owner.program})" if owner.program else ""
    text += f" of {owner.user}" if owner.user else ""
    text += f", running for {format_duration(round(owner.age_s))}" if owner.age_s else ""
    return text


def message(service: str, held: PortHeld) -> str:
    """Return what is wrong, why, and what to do about it."""
    lines = [
        f"cannot start {service!r}: port {held.port} is in use at {held.address}",
        f"  held by {describe(held)}",
        "  nothing was started, and nothing of theirs was touched",
    ]
    another = f"give {service!r} another `port` in services.yaml, or `port: auto`"
    if held.owner.pid is None:
        lines.append(f"  {another}")
    else:
        lines.append(f"  to free it: end that program (kill {held.owner.pid}), or {another}")
    return "\n".join(lines)


def _listening(port: int) -> list[Listener]:
    try:
        return [one for one in listening() if one.port == port]
    except OSError:
        return []  # then to bind it is all that can be tried


def _bound(family: int, port: int) -> Listener | None:
    """Return a socket that holds the port without listening; None where no list names it."""
    try:
        # A wildcard of both families is listed under IPv6 alone.
        families = sorted(FAMILIES, key=lambda one: one != family)
        found = (one for each in families for one in dump(each, ANY_STATE) if one.port == port)
        # What is left of a closed connection belongs to nobody and hinders nobody.
        return next((one for one in found if one.inode), None)
    except (OSError, struct.error):
        return None


def _held(listener: Listener) -> PortHeld:
    pid = find_owner(listener.inode)
    if pid is None:
        return PortHeld(listener.port, listener.address, PortOwner(user=_user(listener.uid)))
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            owner = PortOwner(
                pid, process.name(), process.username(), time.time() - process.create_time()
            )
    except psutil.Error:
        owner = PortOwner(pid)
    return PortHeld(listener.port, listener.address, owner)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _can_bind(family: int, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: what is left of closed connections is no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _ephemeral_range() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            low, high = file.read().split()
            return int(low), int(high)
    except (OSError, ValueError):
        return 32768, 60999
