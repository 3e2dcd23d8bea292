"""One probe of a service, each under one deadline over all that it does."""

import contextlib
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.spec.quantities import format_duration

if TYPE_CHECKING:
    import httpx2

_MAX_BODY_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 200


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


async def timed(
    kind: str, timeout_s: float, probe: Callable[[], Awaitable[tuple[bool, str]]]
) -> ProbeResult:
    """Run a probe under a deadline over the whole exchange, and say how it went."""
    started = time.perf_counter()
    ok, text = False, f"timed out after {format_duration(timeout_s)}"
    with anyio.move_on_after(timeout_s):
        ok, text = await probe()
    took_s = time.perf_counter() - started
    return ProbeResult(kind, ok, text.replace("{took}", _milliseconds(took_s)), took_s)


class Http:
    """Asks over HTTP: no redirects, no proxy or credentials from the environment, bodies capped."""

    def __init__(self) -> None:
        self._clients: dict[bool, httpx2.AsyncClient] = {}

    async def ask(self, request: HttpRequest) -> tuple[bool, str]:
        """Return whether the answer is as it must be, and what it was."""
        import httpx2

        client = self._client(verify=request.url.startswith("https:"))
        try:
            async with client.stream(
                request.method,
                request.url,
                headers={"Accept-Encoding": "identity"} | dict(request.headers),
            ) as answer:
                body = await _body(answer)
                return _judge(request, answer.status_code, answer.headers, body)
        except httpx2.ConnectError as error:
            return False, _refusal(error)
        except httpx2.HTTPError as error:
            return False, f"{_words(type(error).__name__)}: {error}".rstrip(": ")
        except (httpx2.InvalidURL, UnicodeError) as error:
            return False, f"{request.url!r} cannot be asked: {error}"

    async def aclose(self) -> None:
        """Close what is open."""
        for client in self._clients.values():
            await client.aclose()

    def _client(self, *, verify: bool) -> "httpx2.AsyncClient":
        if verify not in self._clients:
            import httpx2

            self._clients[verify] = httpx2.AsyncClient(
                verify=verify,
                trust_env=False,
                follow_redirects=False,
                timeout=None,
                # A kept connection could belong to the run before.
                limits=httpx2.Limits(max_keepalive_connections=0),
            )
        return self._clients[verify]


async def _body(answer: "httpx2.Response") -> bytes:
    """Return the body, or its beginning where it is larger than anybody's health."""
    announced = answer.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > _MAX_BODY_BYTES:
        return b""
    body = b""
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) >= _MAX_BODY_BYTES:
            break
    return body[:_MAX_BODY_BYTES]


def _judge(
    request: HttpRequest, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[bool, str]:
    if not any(low <= status <= high for low, high in request.status):
        return False, f"{status} after {{took}}{_hint(status, headers)}{_shown(body)}"
    if request.body is not None and request.body not in body.decode(errors="replace"):
        return (
            False,
            f"{status} after {{took}}, but {request.body!r} is not in the answer{_shown(body)}",
        )
    return True, f"{status} in {{took}}"


def _hint(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status <= 399:
        return f": a redirect to {headers.get('location', '?')} is not followed"
    if status in {401, 403}:
        return ": it wants credentials; give the probe `headers`, or another path"
    return ": is that the path?" if status == 404 else ""


def _shown(body: bytes) -> str:
    text = " ".join(body[: 4 * _SHOWN_CHARACTERS].decode(errors="replace").split())
    return f": {text[:_SHOWN_CHARACTERS]}" if text else ""


def _refusal(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        cause = cause.__cause__ or cause.__context__
    return f"cannot connect: {error}"


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


async def connect(host: str, port: int) -> tuple[bool, str]:
    """Return whether a TCP connection is accepted.

    A socket can connect to itself, if the system gives it the very port as its own: that is nobody.
    """
    try:
        stream = await anyio.connect_tcp(host, port)
    except OSError as error:
        return False, "connection refused" if _is_refusal(error) else f"cannot connect: {error}"
    async with stream:
        connection: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
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
