"""The cadence of a service's probes, from the first try to the last."""

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.core.ports import Clock
from orchestrator.spec.model import Health
from orchestrator.spec.template import Template
from orchestrator.system.listeners import Listener, Listeners, is_own, socket_inodes
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

_SHARE = 0.05
_MIN_S, _MAX_S = 0.01, 1.0
_JITTER = 0.1
_EXEC_REST = 4.0

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
    command: tuple[str, ...] = ()
    mcp: McpServer | None = None
    find_port: Callable[[], int | None] = lambda: None
    """Where the service is found to listen when it is given no port."""
    logged: ProbeResult | None = None
    owned: bool = False
    """Whether the listener was seen to be the service's own; looked at again after a failure."""

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
        if health.exec is not None:
            target.command = tuple(render(word) for word in health.exec.command)
        return target

    async def probe(self) -> list[ProbeResult]:
        """Ask every probe, up to the first that fails."""
        results: list[ProbeResult] = []
        for one in (self._log, self._tcp, self._http, self._mcp, self._exec):
            result = await one()
            if result is not None:
                results.append(result)
                if not result.ok:
                    self.owned = False
                    break
        return results

    async def _log(self) -> ProbeResult | None:
        if self.health.log is None:
            return None
        if self.logged is None:
            found = search(self.health.log.pattern, self.new_lines())
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
        if host is None:
            hosts, refusal = self._own_hosts(port)
            if refusal is not None:
                return ProbeResult("tcp", False, refusal)  # noqa: FBT003
            host = hosts
        return await timed("tcp", self.health.timeout_s, lambda: connect(host, port))

    async def _http(self) -> ProbeResult | None:
        request = self.request
        if request is None:
            return None
        if self.http_path is not None and self.port is not None:
            host, refusal = self._own_hosts(self.port)
            if refusal is not None:
                return ProbeResult("http", False, refusal)  # noqa: FBT003
            place = f"[{host}]" if ":" in host else host
            request = replace(request, url=f"http://{place}:{self.port}{self.http_path}")
        asked = request
        return await timed("http", self.health.timeout_s, lambda: ask(asked))

    async def _mcp(self) -> ProbeResult | None:
        server = self.mcp
        if server is None:
            return None
        port = self.port if self.port is not None else self.find_port()
        if port is None:
            return ProbeResult("mcp", False, "it listens nowhere yet")  # noqa: FBT003
        host, refusal = self._own_hosts(port)
        if refusal is not None:
            return ProbeResult("mcp", False, refusal)  # noqa: FBT003
        base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

        async def ask_server() -> tuple[bool, str]:
            return await server.ask(base, lambda: self._is_ours(host, port))

        return await timed("mcp", self.health.timeout_s, ask_server)

    def _is_ours(self, host: str, port: int) -> bool:
        """Whether whoever may take a connection is seen to be the service: it gets credentials."""
        takers = [one for one in self.listeners.on_port(port) if _may_take(one, host)]
        own = socket_inodes(self.tree())
        return bool(takers) and all(one.inode in own for one in takers)

    async def _exec(self) -> ProbeResult | None:
        if not self.command:
            return None

        async def run() -> tuple[bool, str]:
            timeout_s = self.health.timeout_s
            return judge_exec(await self.run_exec(self.command, self.env, self.cwd, timeout_s))

        # The runner has the same deadline and tells what was said until then.
        return await timed("exec", self.health.timeout_s + 1.0, run)

    def _own_hosts(self, port: int) -> tuple[str, str | None]:
        """Return the address to probe, or why there is none: the kernel is asked, not the port."""
        found = self.listeners.on_port(port)
        if not found:
            return "127.0.0.1", f"connection refused: nothing listens on port {port}"
        if self.health.listener == "any":
            return _loopback(found), None
        own, foreign = is_own(found, self.tree(), self.listeners.owner)
        if own:
            return _loopback(own), None
        if foreign is not None and foreign not in self.tree():
            return "", f"the listener on port {port} is pid {foreign}, not of this service"
        return _loopback(found), None


def _may_take(listener: Listener, host: str) -> bool:
    if host == "127.0.0.1":
        return listener.takes_ipv4
    return listener.takes_ipv6 or host != "::1"


def _loopback(listeners: Iterable[Listener]) -> str:
    found = list(listeners)
    if any(one.takes_ipv4 for one in found):
        return "127.0.0.1"
    return "::1" if any(one.takes_ipv6 for one in found) else found[0].address


async def watch(
    target: Target,
    clock: Clock,
    rng: random.Random,
    *,
    report: Callable[[ProbeResult], None],
    healthy: Callable[[], None],
    unhealthy: Callable[[str], None],
) -> None:
    """Probe until cancelled, one probe at a time.

    While starting, the first try is at once and the next after 5 % of the time waited so far; once
    healthy, every interval. So many failures in a row as the service allows make it unhealthy.
    """
    started = clock.monotonic()
    was_healthy, is_healthy, failures = False, False, 0
    while True:
        before = clock.monotonic()
        results = await target.probe()
        took_s = clock.monotonic() - before
        for result in results:
            report(result)
        bad = next((result for result in results if not result.ok), None)
        if bad is None:
            failures = 0
            if not is_healthy:
                was_healthy = is_healthy = True
                healthy()
        elif is_healthy and not _was_held_up(target, took_s):
            failures += 1
            if failures >= target.health.failures:
                is_healthy = False
                unhealthy(bad.text)
        rest_s = _rest(target, rng, clock.monotonic() - started, was_healthy=was_healthy)
        if target.command:
            rest_s = max(rest_s, _EXEC_REST * took_s)
        await clock.sleep(rest_s)


def _rest(target: Target, rng: random.Random, waited_s: float, *, was_healthy: bool) -> float:
    if was_healthy:
        return target.health.interval_s * (1 + _JITTER * (2 * rng.random() - 1))
    return min(_MAX_S, max(_MIN_S, _SHARE * waited_s))


def _was_held_up(target: Target, took_s: float) -> bool:
    """Whether it was us who were late (a suspended machine, a busy loop): then nothing is known."""
    return took_s > 2 * target.health.timeout_s + 2.0
