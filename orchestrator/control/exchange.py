"""One HTTP/1.0 request and its answer on a connected socket.

The standard library's client loads mail parsing and TLS, which takes as long as all else that `ps`
does. Over HTTP/1.0 the answer's end is the connection's, and there is nothing more to know.
"""

import socket
from typing import BinaryIO

_MAX_HEAD_BYTES = 64 * 1024


class Garbled(OSError):
    """What came is no answer, or was cut off in the middle."""


class Answer:
    """An answer whose head has been read; the body is read as it comes."""

    def __init__(self, status: int, length: int | None, body: BinaryIO) -> None:
        self.status = status
        self._length = length
        self._body = body

    def read(self) -> bytes:
        """Return the whole body.

        Raises:
            Garbled: it ended too early.
            OSError: it did not come in time, or the connection broke.
        """
        found = self._body.read() if self._length is None else self._body.read(self._length)
        if self._length is not None and len(found) < self._length:
            raise Garbled("the answer was cut off")
        return found

    def readline(self) -> bytes:
        """Return the next line of the body, empty at its end."""
        return self._body.readline()

    def close(self) -> None:
        """Let go of the connection; whoever made it closes it."""
        self._body.close()


def send(connection: socket.socket, method: str, path: str, content: bytes | None) -> None:
    """Send a request; ``content`` is JSON."""
    head = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\n"
    if content is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    connection.sendall(head.encode() + b"\r\n" + (content or b""))


def receive(connection: socket.socket) -> Answer:
    """Return the answer once its head is there.

    Raises:
        Garbled: it is none.
        OSError: it did not come in time, or the connection broke.
    """
    body = connection.makefile("rb")
    try:
        return Answer(_status(_line(body)), _length(body), body)
    except BaseException:
        body.close()
        raise


def _line(body: BinaryIO) -> bytes:
    line = body.readline(_MAX_HEAD_BYTES)
    if not line.endswith(b"\n"):
        raise Garbled("the answer was cut off" if line else "there was no answer")
    return line


def _length(body: BinaryIO) -> int | None:
    """Read the headers; return how long the body is, None if that is not said."""
    length, left = None, _MAX_HEAD_BYTES
    while line := _line(body).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        left -= len(line)
        if left < 0:
            raise Garbled("the answer's head has no end")
    return length


def _status(line: bytes) -> int:
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise Garbled("what answers does not speak HTTP")
    return int(words[1])
