"""One probe of a service, each under one deadline over all that it does."""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import anyio
import h11
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from orchestrator.spec.quantities import format_duration

_MAX_BODY_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 200
_CLOSED = "the connection was closed before there was an answer"
_IS_TLS = "the answer is TLS: is the URL https?"
_NO_TLS = "there is no TLS: is the URL http?"
# The first bytes of an alert. Source: RFC 8446, 5.1.
_TLS_ALERT = b"\x15\x03"
_LOOPBACKS = ("127.0.0.1", "::1")
# What stands in a path or a query as it is, the percent sign of what is encoded already included.
_IN_TARGET = "/?:@!$&'()*+,;=%"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe found. ``groups`` are the named groups of a `log` probe's pattern."""

    kind: str
    ok: bool
    text: str
    duration_s: float = 0.0
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is asked, and what must come back."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: Sequence[tuple[int, int]] = ((200, 299),)
    body: str | None = None
    content: bytes = b""
    """What is sent; ``body`` is looked for in what comes back."""
    address: str | None = None
    """Where to connect to, instead of the URL's host."""
    is_known: bool = False
    """Whether the kernel has told who answers there: no certificate could tell more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: names of headers in lower case, the body up to what was wanted of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False


class Unanswered(Exception):
    """There was no answer to a request; its text says why."""


async def timed(
    kind: str, timeout_s: float, probe: Callable[[], Awaitable[tuple[bool, str]]]
) -> ProbeResult:
    """Run a probe under a deadline over the whole exchange, and say how it went."""
    started = time.perf_counter()
    ok, text = False, f"timed out after {format_duration(timeout_s)}"
    with anyio.move_on_after(timeout_s):
        ok, text = await probe()
    took_s = time.perf_counter() - started
    return ProbeResult(kind, ok, text.replace("{took}", _milliseconds(took_s), 1), took_s)


async def ask(request: HttpRequest) -> tuple[bool, str]:
    """Return whether the answer to a request is as it must be, and what it was.

    There is no deadline in here: it belongs around all of it.
    """
    try:
        answer = await fetch(request)
    except Unanswered as error:
        return False, str(error)
    return _judge(request, answer.status, answer.headers, answer.body)


def _never_enough(_answer: Answer) -> bool:
    return False


async def fetch(
    request: HttpRequest,
    limit_bytes: int = _MAX_BODY_BYTES,
    is_enough: Callable[[Answer], bool] = _never_enough,
) -> Answer:
    """Return the answer to a request, its body read up to ``limit_bytes`` or to what is enough.

    One connection for one request, so that an answer is always the present listener's. Redirects
    are not followed, no proxy and no credentials are taken from the environment.

    It speaks h11 itself: the whole of an HTTP client takes longer to import than many a service to
    start, and is a fifth of the supervisor's memory.

    Raises:
        Unanswered: nobody answered, or not in HTTP.
    """
    try:
        url = urlsplit(request.url)
        stream = await _open(request, url)
    except (OSError, ValueError) as error:
        raise Unanswered(_refusal(error)) from error
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
        raise Unanswered(_CLOSED) from error
    async with stream:
        try:
            return await _exchange(stream, request, url, limit_bytes, is_enough)
        except h11.RemoteProtocolError as error:
            raise Unanswered(f"the answer is no HTTP: {str(error).lower()}") from error
        except (h11.LocalProtocolError, UnicodeError) as error:
            # What it says may hold a header's value, and that may be a secret.
            problem = f"{request.url!r} cannot be asked: HTTP forbids its path or a header"
            raise Unanswered(problem) from error
        except ssl.SSLError as error:
            # Who wants a certificate of us says so after the handshake.
            raise Unanswered(f"TLS failed: {_tls_reason(error)}") from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
            raise Unanswered(_CLOSED) from error


async def _open(request: HttpRequest, url: SplitResult) -> ByteStream:
    host = url.hostname or ""
    if url.scheme != "https":
        return await _connected(request.address or host, url.port or 80)
    context = ssl.create_default_context()
    if request.is_known:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    stream = await _connected(request.address or host, url.port or 443)
    try:
        # Servers that close without a farewell are no rarity, and HTTP tells its own end.
        return await TLSStream.wrap(
            stream, hostname=host, ssl_context=context, standard_compatible=False
        )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


async def _connected(host: str, port: int) -> ByteStream:
    """Return a connection; `localhost` is both loopback addresses, and nobody is asked for it."""
    if host != "localhost":
        return await anyio.connect_tcp(host, port)
    try:
        return await anyio.connect_tcp(_LOOPBACKS[0], port)
    except OSError as error:
        with contextlib.suppress(OSError):
            return await anyio.connect_tcp(_LOOPBACKS[1], port)
        raise error from error.__cause__


async def _exchange(
    stream: ByteStream,
    request: HttpRequest,
    url: SplitResult,
    limit_bytes: int,
    is_enough: Callable[[Answer], bool],
) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    await stream.send(_written(connection, request, url))
    status, headers, body = 0, dict[str, str](), b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await _received(stream)
            if not status and (not data or data.startswith(_TLS_ALERT)):
                raise Unanswered(_IS_TLS if data else _CLOSED)
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if is_enough(Answer(status, headers, body)):
                return Answer(status, headers, body)
        elif not isinstance(event, h11.InformationalResponse):
            break
        needless = request.body is None and _is_larger(headers, limit_bytes)
        if status and (needless or len(body) > limit_bytes):
            return Answer(status, headers, body[:limit_bytes], is_cut=True)
    if not status:
        raise Unanswered(_CLOSED)
    return Answer(status, headers, body)


def _written(connection: h11.Connection, request: HttpRequest, url: SplitResult) -> bytes:
    """Return the request as it goes over the wire."""
    target = quote(url.path or "/", _IN_TARGET)
    target += f"?{quote(url.query, _IN_TARGET)}" if url.query else ""
    headers = {
        "Host": url.netloc.rpartition("@")[2],
        "User-Agent": "orchestrator",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **({"Content-Length": str(len(request.content))} if request.content else {}),
    }
    given = {name.lower() for name in request.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given}
    merged = {**headers, **request.headers}
    sent = [(name.encode(), value.encode()) for name, value in merged.items()]
    head = connection.send(h11.Request(method=request.method, target=target, headers=sent))
    content = connection.send(h11.Data(data=request.content)) if request.content else b""
    return (head or b"") + (content or b"") + (connection.send(h11.EndOfMessage()) or b"")


async def _received(stream: ByteStream) -> bytes:
    """Return what came, or what h11 takes for the end."""
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""


def _is_larger(headers: Mapping[str, str], limit_bytes: int) -> bool:
    """Whether the body is announced as larger than what is wanted of it; then it is not read."""
    size = headers.get("content-length", "")
    return size.isdigit() and int(size) > limit_bytes


def _judge(
    request: HttpRequest, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[bool, str]:
    if not any(low <= status <= high for low, high in request.status):
        return False, f"{status} after {{took}}{hint(status, headers)}{shown(body)}"
    if request.body is not None and request.body not in body.decode(errors="replace"):
        return (
            False,
            f"{status} after {{took}}, but {request.body!r} is not in the answer{shown(body)}",
        )
    return True, f"{status} in {{took}}"


def hint(status: int, headers: Mapping[str, str]) -> str:
    """Return what a status that is not wanted commonly means."""
    if 300 <= status <= 399:
        return f": a redirect to {headers.get('location', '?')} is not followed"
    if status in {401, 403}:
        return ": it wants credentials; give the probe `headers`, or another path"
    return ": is that the path?" if status == 404 else ""


def shown(body: bytes) -> str:
    """Return the beginning of a body, for people."""
    text = " ".join(body[: 4 * _SHOWN_CHARACTERS].decode(errors="replace").split())
    return f": {text[:_SHOWN_CHARACTERS]}" if text else ""


def _refusal(error: Exception) -> str:
    if _is_refusal(error):
        return "connection refused"
    if getattr(error, "reason", None) in {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING"}:
        return _NO_TLS
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return f"cannot connect: {reason or error}"


def _tls_reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


async def connect(host: str, port: int) -> tuple[bool, str]:
    """Return whether a TCP connection is accepted.

    A socket can connect to itself, if the system gives it the very port as its own: that is nobody.
    """
    try:
        stream = await _connected(host, port)
    except (OSError, ValueError) as error:
        return False, _refusal(error)
    async with stream:
        connection: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610
        with contextlib.suppress(OSError):
            if connection.getsockname() == connection.getpeername():
                return False, "connection refused"
        return True, "connected in {took}"


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, ConnectionRefusedError):
        return True
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refusal(one) for one in error.exceptions)
    return error.__cause__ is not None and _is_refusal(error.__cause__)


def judge_exec(result: Any) -> tuple[bool, str]:  # noqa: ANN401  the spawner's ExecResult, or a test's
    """Return whether a probe's command went well, and what it said."""
    said = (
        f": {' '.join(result.output.split())[-_SHOWN_CHARACTERS:]}" if result.output.strip() else ""
    )
    if result.refused is not None:
        return False, result.refused.text
    if result.timed_out:
        return False, f"timed out after {{took}}{said}"
    if result.code == 0:
        return True, "exit code 0 in {took}"
    how = f"exit code {result.code}" if result.code is not None else f"signal {result.signal}"
    return False, f"{how} after {{took}}{said}"


def search(pattern: str, lines: Sequence[str]) -> ProbeResult:
    """Look for the pattern in the lines."""
    compiled = re.compile(pattern)
    for line in lines:
        found = compiled.search(line)
        if found is not None:
            groups = {name: text or "" for name, text in found.groupdict().items()}
            return ProbeResult("log", True, f"found {found[0][:_SHOWN_CHARACTERS]!r}", 0.0, groups)  # noqa: FBT003
    return ProbeResult("log", False, f"{pattern!r} was not logged yet")  # noqa: FBT003


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1f} ms"
