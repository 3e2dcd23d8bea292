#!/usr/bin/env python3
"""A service that misbehaves as its arguments say: behaviours and their values, done in order.

    evil.py ignterm print ready hang
    evil.py control /path/to.sock hang     # then lines such as "exit 3" on the socket, too

Standard library only; starts fast. Every behaviour is a function below with a line on what it
does. When the words are used up the program ends with exit code 0.
"""

import fcntl
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

BEHAVIOURS: dict[str, Callable[..., None]] = {}
BLOCK = 1 << 16


def behaviour(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a word of the command line; its parameters are the words after it."""
    BEHAVIOURS[function.__name__.rstrip("_")] = function
    return function


def obey(words: deque[str]) -> None:
    """Do what the words say, one after the other."""
    while words:
        function = BEHAVIOURS[words.popleft()]
        values = [words.popleft() for _ in range(function.__code__.co_argcount)]
        function(*values)


def write_all(data: bytes) -> None:
    """Write to stdout by write(2), past any buffer."""
    while data:
        data = data[os.write(1, data) :]


def orphan(work: Callable[[], Any], *, session: bool = True) -> None:
    """Do ``work`` in a process whose parent is gone."""
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return
    if session:
        os.setsid()
    if os.fork() == 0:
        work()
    os._exit(0)


def child(*prepare: Callable[[], Any]) -> None:
    """Start a child that hangs; return when it has done what it does before."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        for step in prepare:
            step()
        os.close(reader)
        os.close(writer)
        pause_for_ever()
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)


def pause_for_ever() -> None:
    """Wait for signals."""
    while True:
        signal.pause()


def null_output() -> None:
    """Point stdout and stderr elsewhere, and let go of every other descriptor."""
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.closerange(3, 4096)


# words about the end


@behaviour
def exit_(code: str) -> None:
    """Exit at once with CODE."""
    os._exit(int(code))


@behaviour
def signal_(number: str) -> None:
    """Die by signal NUMBER, sent to itself."""
    if int(number) not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(int(number), signal.SIG_DFL)
    os.kill(os.getpid(), int(number))


@behaviour
def hang() -> None:
    """Do nothing for ever."""
    pause_for_ever()


@behaviour
def sleep(seconds: str) -> None:
    """Go on with the next word after SECONDS."""
    time.sleep(float(seconds))


@behaviour
def ignterm() -> None:
    """Ignore TERM, INT and HUP."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@behaviour
def linger(seconds: str) -> None:
    """On TERM work on for SECONDS, then exit 0."""

    def leave(*_: object) -> None:
        time.sleep(float(seconds))
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


@behaviour
def on_term(code: str) -> None:
    """On TERM say so and exit with CODE."""

    def leave(*_: object) -> None:
        write_all(b"got TERM\n")
        os._exit(int(code))

    signal.signal(signal.SIGTERM, leave)


@behaviour
def stop() -> None:
    """Stop itself by SIGSTOP; goes on after CONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


@behaviour
def ok_then_die(seconds: str) -> None:
    """Say ready, work for SECONDS, die with 1."""
    write_all(b"ready\n")
    time.sleep(float(seconds))
    os._exit(1)


@behaviour
def never_ready() -> None:
    """Run, but never listen nor say ready."""
    pause_for_ever()


# words about processes that get away


@behaviour
def setsid() -> None:
    """Start a child that leads a session of its own, ignores TERM and hangs."""
    child(os.setsid, ignterm)


@behaviour
def dfork() -> None:
    """Start an orphan in a session of its own that hangs."""
    orphan(pause_for_ever)


@behaviour
def dforkenv() -> None:
    """Start an orphan with an empty environment that hangs."""
    orphan(lambda: os.execve("/bin/sleep", ["sleep", "1000"], {}))


@behaviour
def dforkclean() -> None:
    """Start an orphan with an empty environment and all descriptors closed that hangs."""

    def work() -> None:
        null_output()
        os.execve("/bin/sleep", ["sleep", "1000"], {})

    orphan(work)


@behaviour
def hopper(microseconds: str) -> None:
    """Start a process that forks itself and exits every MICROSECONDS, for ever."""

    def work() -> None:
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(int(microseconds) / 1e6)

    orphan(work)


@behaviour
def leader_quits() -> None:
    """On TERM the leader exits 0; a member of its group ignores TERM and hangs."""
    child(ignterm)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


@behaviour
def member() -> None:
    """Start a child in the same group that hangs and ends on TERM."""
    child(lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


@behaviour
def holdpipe() -> None:
    """Start an orphan that keeps stdout open and writes a line when told to end, then hangs."""

    def work() -> None:
        ignterm()
        write_all(b"the orphan holds the pipe\n")
        pause_for_ever()

    orphan(work)


@behaviour
def daemonize() -> None:
    """Go on in an orphan with the words that follow; the leader exits 0."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


@behaviour
def orphans(count: str) -> None:
    """Leave COUNT orphans behind, one after the other, each dead at once."""
    for _ in range(int(count)):
        orphan(lambda: os._exit(0), session=False)


# words about output


@behaviour
def print_(text: str) -> None:
    """Write TEXT and a newline."""
    write_all(text.encode("utf-8", "surrogateescape") + b"\n")


@behaviour
def partial(text: str) -> None:
    """Write TEXT without a newline."""
    write_all(text.encode())


@behaviour
def closeout() -> None:
    """Close stdout and stderr."""
    os.close(1)
    os.close(2)


@behaviour
def closeall() -> None:
    """Close every descriptor."""
    os.closerange(0, 4096)


@behaviour
def flood(size: str) -> None:
    """Write SIZE bytes in blocks of 64 KiB at full speed; 0 for ever."""
    block = (b"x" * 99 + b"\n") * (BLOCK // 100)
    left = int(size) or 1 << 62
    while left > 0:
        write_all(block[:left])
        left -= len(block)


@behaviour
def longline(size: str) -> None:
    """Write SIZE bytes without a newline, and one at the end."""
    left = int(size)
    while left > 0:
        write_all(b"z" * min(left, BLOCK))
        left -= BLOCK
    write_all(b"\n")


@behaviour
def binary(count: str) -> None:
    """Write all 256 bytes COUNT times."""
    write_all(bytes(range(256)) * int(count))


@behaviour
def numbered(count: str) -> None:
    """Write the numbers from 0 to COUNT - 1, a line each, a few dozen lines a write."""
    write_numbers(int(count), 64, 0.0)


@behaviour
def numbered_slowly(count: str, seconds: str) -> None:
    """Write COUNT numbers, a line and a write each, SECONDS apart."""
    write_numbers(int(count), 1, float(seconds))


def write_numbers(count: int, lines: int, pause_s: float) -> None:
    """Write 0 to ``count`` - 1 in writes of ``lines`` lines."""
    for first in range(0, count, lines):
        numbers = range(first, min(first + lines, count))
        write_all(b"".join(b"%d\n" % number for number in numbers))
        if pause_s:
            time.sleep(pause_s)


@behaviour
def alternate(count: str) -> None:
    """Write COUNT numbers, in turn to stdout and stderr."""
    for number in range(int(count)):
        os.write(1 + number % 2, b"%d\n" % number)


@behaviour
def watched(count: str) -> None:
    """Write COUNT numbers through asyncio's connect_write_pipe, which watches stdout."""
    import asyncio

    async def write() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(1, "wb", 0))
        for number in range(int(count)):
            transport.write(b"%d\n" % number)
            if number % 50 == 0:
                await asyncio.sleep(0.001)
        transport.close()
        await asyncio.sleep(0.01)

    asyncio.run(write())


@behaviour
def nonblock() -> None:
    """Set O_NONBLOCK on stdout, as node does."""
    os.set_blocking(1, False)


@behaviour
def ansi() -> None:
    """Write colours, a title, a bell, a cleared screen and bidirectional characters."""
    write_all(b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x07 \xe2\x80\xaegnp.exe\n")


@behaviour
def canary() -> None:
    """Write the value of the environment's CANARY, a secret."""
    write_all(os.environ.get("CANARY", "").encode() + b"\n")


@behaviour
def self_() -> None:
    """Write what it was given, as a line of JSON: pid, mask, limits, signals, descriptors."""
    umask = os.umask(0)
    os.umask(umask)
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        status = dict(line.split(":", 1) for line in file.read().splitlines() if ":" in line)
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    flags = {}
    for number in numbers:
        try:
            flags[number] = fcntl.fcntl(number, fcntl.F_GETFL)
        except OSError:
            continue
    told = {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "cwd": os.getcwd(),
        "umask": umask,
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "fsize": resource.getrlimit(resource.RLIMIT_FSIZE),
        "ignored": status["SigIgn"].strip(),
        "blocked": status["SigBlk"].strip(),
        "descriptors": flags,
        "environment": dict(os.environ),
        "stdin": os.readlink("/proc/self/fd/0"),
    }
    write_all(json.dumps(told).encode() + b"\n")


# words about resources


@behaviour
def alloc(size: str) -> None:
    """Take SIZE bytes of memory and touch them."""
    KEPT.append(bytearray(b"x") * int(size))


KEPT: list[bytearray] = []


@behaviour
def touch(path: str) -> None:
    """Create the file PATH."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


@behaviour
def wait_file(path: str) -> None:
    """Go on when PATH exists."""
    while not os.path.exists(path):
        time.sleep(0.002)


@behaviour
def exec_(command: str) -> None:
    """Become a shell that runs COMMAND."""
    os.execv("/bin/sh", ["sh", "-c", command])


@behaviour
def system(command: str) -> None:
    """Run COMMAND in a shell and go on."""
    os.system(command)


# words about ports


def listener(port: str) -> socket.socket:
    """Listen on a loopback port, 0 for a free one, and say which."""
    server = socket.create_server(("127.0.0.1", int(port)))
    write_all(f"listening on http://127.0.0.1:{server.getsockname()[1]}\n".encode())
    return server


@behaviour
def listen(port: str) -> None:
    """Listen on PORT, accept and say nothing, in the background."""
    threading.Thread(target=accept_for_ever, args=(listener(port),), daemon=True).start()


@behaviour
def listen_after(seconds: str, port: str) -> None:
    """Listen on PORT after SECONDS, in the background."""
    threading.Timer(float(seconds), listen, [port]).start()


def accept_for_ever(server: socket.socket) -> None:
    """Keep every connection open and silent."""
    kept = []
    while True:
        kept.append(server.accept()[0])


def serve(port: str, answer: Callable[[socket.socket], None]) -> None:
    """Answer every connection on PORT in a thread of its own, in the background."""
    server = listener(port)

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(BLOCK)
                answer(connection)
            except OSError:
                return

    def accept() -> None:
        while True:
            threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@behaviour
def http_ok(port: str) -> None:
    """Answer 200 with "ok"."""
    serve(port, lambda to: to.sendall(HEAD + b"Content-Length: 2\r\n\r\nok"))


@behaviour
def http_status(port: str, status: str) -> None:
    """Answer with STATUS and an empty body."""
    head = f"HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    serve(port, lambda to: to.sendall(head.encode()))


@behaviour
def http_hang(port: str) -> None:
    """Take the request and never answer."""
    serve(port, lambda _: time.sleep(3600))


@behaviour
def http_drip(port: str) -> None:
    """Answer a byte every quarter of a second."""

    def drip(to: socket.socket) -> None:
        for byte in HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100000:
            to.sendall(bytes([byte]))
            time.sleep(0.25)

    serve(port, drip)


@behaviour
def http_redirect(port: str, target: str) -> None:
    """Answer 302 to TARGET."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    serve(port, lambda to: to.sendall(head.encode()))


@behaviour
def http_huge(port: str) -> None:
    """Answer 200 with a body that does not end."""

    def huge(to: socket.socket) -> None:
        to.sendall(HEAD + b"\r\n")
        while True:
            to.sendall(b"x" * BLOCK)

    serve(port, huge)


@behaviour
def control(path: str) -> None:
    """Obey lines of words that come in on the unix socket PATH, too; answers "ok"."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen()

    def talk() -> None:
        while True:
            connection = server.accept()[0]
            with connection, connection.makefile("rw") as lines:
                for line in lines:
                    obey(deque(line.split()))
                    lines.write("ok\n")
                    lines.flush()

    threading.Thread(target=talk, daemon=True).start()


if __name__ == "__main__":
    obey(deque(sys.argv[1:]))
