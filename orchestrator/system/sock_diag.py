"""The kernel's list of TCP sockets, and what proc(5) tells where that is not to be had."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Source: include/net/tcp_states.h. A socket that is bound and no more is told since Linux 6.8.
LISTENING = 1 << 10
ANY_STATE = 0x3FFF

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SKV6ONLY = 11
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE = struct.Struct("=BBBB2s2s16s16s12sIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_CODE = struct.Struct("=i")
_LISTEN = "0A"
_FILES: dict[int, str] = {socket.AF_INET: "tcp", socket.AF_INET6: "tcp6"}
_LONGEST_S = 1.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One TCP socket at a local address. ``address`` as text; ``inode`` names the socket.

    ``v6_only`` None: the source does not tell whether a wildcard of IPv6 takes IPv4 as well.
    """

    family: int
    address: str
    port: int
    inode: int
    uid: int
    v6_only: bool | None = True

    @property
    def takes_ipv4(self) -> bool:
        """Whether a connection to 127.0.0.1 may end here, if nobody is more specific."""
        if self.family == socket.AF_INET:
            return self.address in {"0.0.0.0", "127.0.0.1"}  # noqa: S104  compared, not bound
        return self.address == "::" and not self.v6_only

    @property
    def takes_ipv6(self) -> bool:
        """Whether a connection to ::1 may end here, if nobody is more specific."""
        return self.family == socket.AF_INET6 and self.address in {"::", "::1"}

    def takes(self, host: str) -> bool:
        """Whether a connection to this address may end here, if nobody is more specific."""
        if self.address == host:
            return True
        if ip_address(host).version == 4:
            return self.takes_ipv4 and self.address != "127.0.0.1"
        return self.address == "::"


def listening(*, sock_diag: bool = True) -> list[Listener]:
    """Return all listening TCP sockets of this network namespace.

    Raises:
        OSError: the system does not tell them.

    Source: sock_diag(7); where that is not to be had, /proc/net/tcp and tcp6 (proc(5)).
    """
    return [one for family in FAMILIES for one in _of_family(family, sock_diag=sock_diag)]


def _of_family(family: int, *, sock_diag: bool) -> list[Listener]:
    if sock_diag:
        with contextlib.suppress(OSError, struct.error):
            return dump(family)
    return read_proc("self", family)


def dump(family: int, states: int = LISTENING) -> list[Listener]:
    """Return the TCP sockets of one family in any of ``states`` (bits), as the kernel tells them.

    Raises:
        OSError: the kernel does not tell.
        struct.error: it tells something that is not understood.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_LONGEST_S)
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states)
        size = _HEADER.size + len(body)
        kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0) + body)
        found: list[Listener] = []
        while not _read_messages(kernel.recv(1 << 16), family, found):
            pass
        return found


def _read_messages(data: bytes, family: int, found: list[Listener]) -> bool:
    """Add what the kernel tells; true at its last message."""
    position = 0
    while position + _HEADER.size <= len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, position)
        content = data[position + _HEADER.size : position + size]
        if kind == _NLMSG_DONE:
            _refuse_failure(content)
            return True
        if kind == _NLMSG_ERROR or size < _HEADER.size:
            raise OSError("the kernel refuses a dump of sockets")
        found.append(_told(content, family))
        position += (size + 3) & ~3
    return False


def _refuse_failure(last: bytes) -> None:
    """Raise the error that ended a dump: a kernel without tcp_diag says so only in its end."""
    code = _CODE.unpack_from(last)[0] if len(last) >= _CODE.size else 0
    if code < 0:
        raise OSError(-code, os.strerror(-code))


def _told(message: bytes, family: int) -> Listener:
    fields = _MESSAGE.unpack_from(message)
    address = fields[6][:4] if family == socket.AF_INET else fields[6]
    only = _is_v6_only(message[_MESSAGE.size :])
    return _listener(address, int.from_bytes(fields[4], "big"), fields[13], fields[12], only)


def _is_v6_only(attributes: bytes) -> bool:
    position = 0
    while position + _ATTRIBUTE.size < len(attributes):
        size, kind = _ATTRIBUTE.unpack_from(attributes, position)
        if kind == _SKV6ONLY:
            return attributes[position + _ATTRIBUTE.size] != 0
        position += max(_ATTRIBUTE.size, (size + 3) & ~3)
    return False


def _listener(packed: bytes, port: int, inode: int, uid: int, v6_only: bool | None) -> Listener:  # noqa: FBT001
    """Return a socket; the IPv4 address that an IPv6 socket was bound to is IPv4."""
    if len(packed) == 4:
        return Listener(socket.AF_INET, str(IPv4Address(packed)), port, inode, uid, v6_only)
    address = IPv6Address(packed)
    if address.ipv4_mapped is not None:
        return Listener(socket.AF_INET, str(address.ipv4_mapped), port, inode, uid, v6_only)
    return Listener(socket.AF_INET6, str(address), port, inode, uid, v6_only)


# What proc(5) tells.


def read_proc(pid: int | str, family: int) -> list[Listener]:
    """Return who listens in the network namespace of a process, one family; none if it has none.

    Raises:
        OSError: the system does not tell.
    """
    try:
        with open(f"/proc/{pid}/net/{_FILES[family]}", encoding="ascii") as file:
            lines = file.readlines()[1:]
    except FileNotFoundError:
        if family == socket.AF_INET:
            raise
        return []  # a kernel without IPv6
    rows = (line.split() for line in lines)
    return [_row(words) for words in rows if words[3] == _LISTEN]


def _row(words: list[str]) -> Listener:
    raw, _, port = words[1].partition(":")
    # Words in the machine's byte order.
    numbers = [int(raw[at : at + 8], 16) for at in range(0, len(raw), 8)]
    packed = struct.pack(f"={len(numbers)}I", *numbers)
    return _listener(packed, int(port, 16), int(words[9]), int(words[7]), None)


def socket_inodes(pids: Iterable[int]) -> set[int]:
    """Return the inodes of the sockets that these processes hold open."""
    return {inode for pid in pids for inode in _sockets_of(pid)}


def find_owner(inode: int) -> int | None:
    """Return a process that holds the socket; None where this user may not know."""
    for name in os.listdir("/proc"):
        if name.isdigit() and inode in _sockets_of(int(name)):
            return int(name)
    return None


def in_other_namespace(pids: Iterable[int]) -> set[int]:
    """Return the ports on which these processes listen in a network namespace that is not ours."""
    found = set()
    here = _namespace("self")
    for pid in pids:
        there = _namespace(pid)
        if there is None or there == here:
            continue
        with contextlib.suppress(OSError):
            own = set(_sockets_of(pid))
            seen = [one for family in FAMILIES for one in read_proc(pid, family)]
            found |= {one.port for one in seen if one.inode in own}
    return found


def _namespace(pid: int | str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
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
