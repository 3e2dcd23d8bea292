"""Sockets that other processes hold, as ports and probes meet them."""

import array
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

_PROGRAM = """
import os, socket, sys
kept = []
def held(word):
    family, address, port, *flags = word.split(",")
    one = socket.socket(getattr(socket, family))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, "bound" not in flags)
    if "share" in flags:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == "AF_INET6":
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "dual" not in flags)
    one.bind((address, int(port)))
    if "bound" not in flags:
        one.listen()
    return one
below = sys.argv[1] == "below"
pid = os.fork() if below else 0
if pid:
    # Its socket is held by what it started, not by itself.
    sys.stdin.read()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
else:
    kept = [held(word) for word in sys.argv[2:]]
    print(kept[0].getsockname()[1], os.getpid(), flush=True)
    sys.stdin.read()
"""

# SIOCSIFFLAGS of `lo` with IFF_UP. Source: netdevice(7).
_LOOPBACK_UP = """
import fcntl, pathlib, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))
"""


@dataclass(frozen=True)
class Held:
    """Sockets in a process of their own: the process that was started, and the one with them."""

    port: int
    pid: int
    holder: int


@contextlib.contextmanager
def held(*sockets: str, below: bool = False) -> Iterator[Held]:
    """Hold sockets `AF_INET,127.0.0.1,0[,share][,dual][,bound]` in another process.

    ``below``: in a child of that process.
    """
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, "below" if below else "itself"]
    with subprocess.Popen(
        [*command, *sockets], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port, holder = process.stdout.readline().split()
            yield Held(int(port), process.pid, int(holder))
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(5)


@contextlib.contextmanager
def held_by_nobody() -> Iterator[int]:
    """Give the port of a listener that no process has open: it is under way between two sockets.

    So looks, to a user without rights, a listener of somebody else.
    """
    sender, receiver = socket.socketpair()
    with sender, receiver:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
            rights = array.array("i", [listener.fileno()])
            sender.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        yield port


@contextlib.contextmanager
def listening(
    address: str = "127.0.0.1", port: int = 0, *, share: bool = False, dual: bool = False
) -> Iterator[int]:
    """Listen in this process; give the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server(
        (address, port), family=family, reuse_port=share, dualstack_ipv6=dual
    ) as server:
        yield int(server.getsockname()[1])


def in_own_network(program: str) -> str:
    """Return what a program prints in a network namespace of its own, where it may do all."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare")
    done = subprocess.run(
        [unshare, "-rn", sys.executable, "-c", _LOOPBACK_UP + program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=30,
    )
    if "unshare" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("no network namespace to be had")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
