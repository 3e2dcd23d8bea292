"""Who listens on which port, asked of the kernel in one look for all services."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from orchestrator.core.ports import Clock

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_LISTEN = 10
_SKV6ONLY = 11
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE = struct.Struct("=BBBB2s2s16s16s12sIIIII")
_FRESH_S = 0.005
_FRESH_SLOW_S = 0.5


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening TCP socket. ``address`` as text; ``inode`` names the socket."""

    family: int
    address: str
    port: int
    inode: int
    uid: int
    v6_only: bool = True

    @property
    def takes_ipv4(self) -> bool:
        """Whether a connection to 127.0.0.1 ends here, if nobody is more specific."""
        if self.family == socket.AF_INET:
            return self.address in {"0.0.0.0", "127.0.0.1"}  # noqa: S104  compared, not bound
        return self.address == "::" and not self.v6_only

    @property
    def takes_ipv6(self) -> bool:
        """Whether a connection to ::1 ends here."""
        return self.family == socket.AF_INET6 and self.address in {"::", "::1"}


class Listeners:
    """Shares one look at the machine's listening sockets among all who ask within milliseconds."""

    def __init__(self, clock: Clock, *, sock_diag: bool = True) -> None:
        self._clock = clock
        self._sock_diag = sock_diag
        self._seen: dict[int, list[Listener]] = {}
        self._seen_at = float("-inf")
        self._owners: dict[int, int] = {}

    def on_port(self, port: int) -> list[Listener]:
        """Return who listens on ``port``, at most some milliseconds old."""
        return self._look().get(port, [])

    def own(self, pids: Iterable[int]) -> list[Listener]:
        """Return the listening sockets that processes of ``pids`` hold."""
        inodes = socket_inodes(pids)
        return [one for found in self._look().values() for one in found if one.inode in inodes]

    def ports_of(self, pids: Iterable[int]) -> set[int]:
        """Return the ports on which processes of ``pids`` listen."""
        return {one.port for one in self.own(pids)}

    def hosts_of(self, pids: Iterable[int], port: int | None) -> list[str]:
        """Return the addresses at which processes of ``pids`` listen on ``port``."""
        own = [one for one in self.own(pids) if one.port == port]
        hosts = {one.address for one in own}
        if any(one.address == "::" and one.takes_ipv4 for one in own):
            hosts.add("0.0.0.0")  # noqa: S104  a dual-stack wildcard, as told
        return sorted(hosts)

    def owner(self, listener: Listener) -> int | None:
        """Return a process that holds the socket; None where this user may not know."""
        known = self._owners.get(listener.inode)
        if known is not None and listener.inode in socket_inodes([known]):
            return known
        found = find_owner(listener.inode)
        if found is not None:
            self._owners[listener.inode] = found
        return found

    def _look(self) -> dict[int, list[Listener]]:
        now = self._clock.monotonic()
        fresh_s = _FRESH_S if self._sock_diag else _FRESH_SLOW_S
        if now - self._seen_at >= fresh_s:
            by_port: dict[int, list[Listener]] = {}
            for one in listening(sock_diag=self._sock_diag):
                by_port.setdefault(one.port, []).append(one)
            self._seen, self._seen_at = by_port, now
        return self._seen


def listening(*, sock_diag: bool = True) -> list[Listener]:
    """Return all listening TCP sockets of this network namespace.

    Source: sock_diag(7); where that is not to be had, /proc/net/tcp and tcp6 (proc(5)).
    """
    if sock_diag:
        with contextlib.suppress(OSError, struct.error):
            return [*dump_with_sock_diag(socket.AF_INET), *dump_with_sock_diag(socket.AF_INET6)]
    return [*_read_proc("tcp", socket.AF_INET), *_read_proc("tcp6", socket.AF_INET6)]


def socket_inodes(pids: Iterable[int]) -> set[int]:
    """Return the inodes of the sockets that these processes hold open."""
    return {inode for pid in pids for inode in _sockets_of(pid)}


def find_owner(inode: int) -> int | None:
    """Return a process that holds the socket; None where this user may not know."""
    for name in os.listdir("/proc"):
        if name.isdigit() and inode in _sockets_of(int(name)):
            return int(name)
    return None


def _sockets_of(pid: int) -> list[int]:
    found: list[int] = []
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for fd in fds:
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if target.startswith("socket:["):
                found.append(int(target[8:-1]))
    return found


def dump_with_sock_diag(family: int) -> list[Listener]:
    """Return the listening sockets of one family, as the kernel tells them.

    Raises:
        OSError: the kernel does not tell.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _LISTEN)
        size = _HEADER.size + len(body)
        kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0) + body)
        found: list[Listener] = []
        while True:
            data = kernel.recv(1 << 18)
            if _read_messages(data, family, found):
                return found


def _read_messages(data: bytes, family: int, found: list[Listener]) -> bool:
    """Add what the kernel tells; true at its last message."""
    position = 0
    while position + _HEADER.size <= len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, position)
        if kind == _NLMSG_DONE:
            return True
        if kind == _NLMSG_ERROR:
            raise OSError("the kernel refuses a dump of listening sockets")
        fields = _MESSAGE.unpack_from(data, position + _HEADER.size)
        attributes = data[position + _HEADER.size + _MESSAGE.size : position + size]
        address = (
            str(IPv4Address(fields[6][:4]))
            if family == socket.AF_INET
            else str(IPv6Address(fields[6]))
        )
        port = int.from_bytes(fields[4], "big")
        only = _is_v6_only(attributes)
        found.append(Listener(family, address, port, fields[13], fields[12], only))
        position += (size + 3) & ~3
    return False


def _is_v6_only(attributes: bytes) -> bool:
    position = 0
    while position + 4 <= len(attributes):
        size, kind = struct.unpack_from("=HH", attributes, position)
        if kind == _SKV6ONLY:
            return attributes[position + 4] != 0
        position += max(4, (size + 3) & ~3)
    return False


def _read_proc(name: str, family: int) -> list[Listener]:
    found = []
    try:
        with open(f"/proc/self/net/{name}", encoding="ascii") as file:
            lines = file.readlines()[1:]
    except OSError:
        return []
    for line in lines:
        words = line.split()
        if int(words[3], 16) != _LISTEN:
            continue
        raw, _, port = words[1].partition(":")
        address = _address(raw)
        # The file does not tell whether a v6 wildcard takes v4 as well; it does by default.
        found.append(Listener(family, address, int(port, 16), int(words[9]), int(words[7]), False))  # noqa: FBT003
    return found


def _address(raw: str) -> str:
    """Return an address that proc(5) prints as words in the machine's byte order."""
    words = [int(raw[at : at + 8], 16) for at in range(0, len(raw), 8)]
    data = struct.pack(f"={len(words)}I", *words)
    return str(IPv4Address(data)) if len(data) == 4 else str(IPv6Address(data))


def is_own(
    listeners: list[Listener], pids: Iterable[int], owner: Callable[[Listener], int | None]
) -> tuple[list[Listener], int | None]:
    """Return those of ``listeners`` that ``pids`` hold; else a foreign holder, if known."""
    inodes = socket_inodes(pids)
    own = [one for one in listeners if one.inode in inodes]
    if own:
        return own, None
    return [], next((pid for one in listeners if (pid := owner(one)) is not None), None)
