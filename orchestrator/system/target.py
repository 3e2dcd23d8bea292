"""What is probed of one run, and who must be there to answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from orchestrator.errors import OrchestratorError
from orchestrator.shim.identity import read_stat
from orchestrator.spec.model import Health
from orchestrator.spec.template import Template
from orchestrator.system.listeners import Listeners, Ownership, Taker
from orchestrator.system.mcp_probe import McpServer
from orchestrator.system.probes import (
    HttpRequest,
    ProbeResult,
    ask,
    connect,
    judge_exec,
    search,
    timed,
)

# Source: RFC 9110, 11.6.2 and 11.7.2; RFC 6265, 4.2.
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})
_KEPT_BACK = (
    "; headers with credentials were kept back: the listener was not seen to be the service's"
)

Render = Callable[[Template], str]
RunExec = Callable[[Sequence[str], Mapping[str, str], str, float], Awaitable[Any]]


@dataclass(slots=True)
class Target:
    """One live run and all that its probes need."""

    name: str
    health: Health
    port: int | None
    listeners: Listeners
    tree: Callable[[], set[int]]
    run_exec: RunExec
    new_lines: Callable[[], list[str]]
    env: Mapping[str, str]
    cwd: str
    http_path: str | None = None
    request: HttpRequest | None = None
    secret_headers: frozenset[str] = frozenset()
    """Headers that go to nobody but the service itself."""
    command: tuple[str, ...] = ()
    mcp: McpServer | None = None
    find_port: Callable[[], int | None] = lambda: None
    """Where the service is found to listen when it is given no port."""
    logged: ProbeResult | None = None
    awaits: int | None = None
    """The port on which nobody listened at the last probe, which therefore tried no connection."""

    @classmethod
    def of(
        cls,
        name: str,
        health: Health,
        *,
        port: int | None,
        render: Render,
        listeners: Listeners,
        tree: Callable[[], set[int]],
        run_exec: RunExec,
        new_lines: Callable[[], list[str]],
        env: Mapping[str, str],
        cwd: str,
    ) -> "Target":
        """Return a target with every text of ``health`` replaced by ``render``."""
        target = cls(name, health, port, listeners, tree, run_exec, new_lines, env, cwd)
        asked = health.http
        if asked is not None:
            target.http_path = render(asked.path) if asked.path is not None else None
            target.request = HttpRequest(
                url=render(asked.url) if asked.url is not None else "",
                method=asked.method,
                headers={key: render(value) for key, value in asked.headers.items()},
                status=asked.status,
                body=asked.body,
            )
            target.secret_headers = frozenset(filter(_is_secret(asked.headers), asked.headers))
        if health.exec is not None:
            target.command = tuple(render(word) for word in health.exec.command)
        return target

    async def probe(self) -> list[ProbeResult]:
        """Ask every probe, up to the first that fails."""
        self.awaits = None
        results: list[ProbeResult] = []
        for one in (self._log, self._tcp, self._http, self._mcp, self._exec):
            result = await one()
            if result is not None:
                results.append(result)
                if not result.ok:
                    break
        return results

    async def _log(self) -> ProbeResult | None:
        if self.health.log is None:
            return None
        if self.logged is None:
            try:
                lines = self.new_lines()
            except OSError as error:
                return _no("log", f"the log cannot be read: {error.strerror or error}")
            found = search(self.health.log.pattern, lines)
            if not found.ok:
                return found
            self.logged = found
        return self.logged

    async def _tcp(self) -> ProbeResult | None:
        asked = self.health.tcp
        if asked is None:
            return None
        port = asked.port or self.port
        if port is None:
            return None
        host = asked.host
        if host is None or _is_local(host):
            taker, refusal = self._approach(port, host)
            if refusal is not None:
                return _no("tcp", refusal)
            host = taker.host
        to = host
        return await timed("tcp", self.health.timeout_s, lambda: connect(to, port))

    async def _http(self) -> ProbeResult | None:
        request = self.request
        if request is None:
            return None
        taker: Taker | None = None
        place = self._place(request)
        if place is not None:
            taker, refusal = self._approach(*place)
            if refusal is not None:
                return _no("http", refusal)
            request = self._addressed(request, taker)
        asked = request
        result = await timed("http", self.health.timeout_s, lambda: ask(asked))
        if result.ok or taker is None or taker.ownership is Ownership.OWN:
            return result
        return replace(result, text=result.text + (_KEPT_BACK if self.secret_headers else ""))

    def _place(self, request: HttpRequest) -> tuple[int, str | None] | None:
        """Return the port and the host to probe on this machine; None for another's URL."""
        if self.http_path is not None:
            return None if self.port is None else (self.port, None)
        try:
            url = urlsplit(request.url)
            port = url.port or (443 if url.scheme == "https" else 80)
        except ValueError:
            return None  # the request itself will say what is wrong with it
        return (port, url.hostname) if url.hostname and _is_local(url.hostname) else None

    def _addressed(self, request: HttpRequest, taker: Taker) -> HttpRequest:
        """Return the request as it goes to who takes it: secrets go to the service alone."""
        is_own = taker.ownership is Ownership.OWN
        secret = frozenset() if is_own else self.secret_headers
        headers = {name: value for name, value in request.headers.items() if name not in secret}
        request = replace(request, headers=headers, address=taker.host, is_known=is_own)
        if self.http_path is None:
            return request
        return replace(request, url=f"{_origin(taker.host, self.port)}{self.http_path}")

    async def _mcp(self) -> ProbeResult | None:
        server = self.mcp
        if server is None:
            return None
        port = self.port if self.port is not None else self.find_port()
        if port is None:
            return _no("mcp", "it listens nowhere yet")
        taker, refusal = self._approach(port, None)
        if refusal is not None:
            return _no("mcp", refusal)

        def is_ours() -> bool:
            seen = self.listeners.taker(port, self.tree, taker.host)
            return seen.ownership is Ownership.OWN

        async def ask_server() -> tuple[bool, str]:
            return await server.ask(_origin(taker.host, port), is_ours)

        return await timed("mcp", self.health.timeout_s, ask_server)

    async def _exec(self) -> ProbeResult | None:
        if not self.command:
            return None

        async def run() -> tuple[bool, str]:
            timeout_s = self.health.timeout_s
            try:
                ran = await self.run_exec(self.command, self.env, self.cwd, timeout_s)
            except OrchestratorError as error:
                return False, error.message
            return judge_exec(ran)

        # The runner has the same deadline and tells what was said until then.
        return await timed("exec", self.health.timeout_s + 1.0, run)

    def _approach(self, port: int, host: str | None) -> tuple[Taker, str | None]:
        """Return whom to ask, or why nobody is asked: the kernel tells without a connection."""
        taker = self.listeners.taker(port, self.tree, host)
        if taker.ownership is Ownership.NOBODY:
            if not self.listeners.on_port(port):
                self.awaits = port
            where = f"port {port}" if host in {None, "localhost"} else f"port {port} of {host}"
            elsewhere = self.listeners.elsewhere(port, self.tree())
            return taker, f"connection refused: nothing listens on {where}{elsewhere}"
        if taker.ownership is Ownership.FOREIGN and self.health.listener == "own":
            whose = f"pid {taker.pid}, not of this service{_program(taker.pid)}"
            return taker, f"the listener on port {port} is {whose}"
        return taker, None


def _is_secret(headers: Mapping[str, Template]) -> Callable[[str], bool]:
    def is_secret(name: str) -> bool:
        refers = any(ref.path[0] == "secrets" for ref in headers[name].refs)
        return refers or name.lower() in _CREDENTIALS

    return is_secret


def _is_local(host: str) -> bool:
    """Whether a connection to the host stays on this machine, whatever a resolver says."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(host: str, port: int | None) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _program(pid: int | None) -> str:
    stat = None if pid is None else read_stat(pid)
    return "" if stat is None else f": it is {stat.comm!r}"


def _no(kind: str, text: str) -> ProbeResult:
    return ProbeResult(kind, ok=False, text=text)
