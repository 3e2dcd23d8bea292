"""Who listens on which port: one look at the machine for all services, and whose a listener is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

import anyio

from orchestrator.core.ports import Clock
from orchestrator.system.sock_diag import (
    Listener,
    find_owner,
    in_other_namespace,
    listening,
    socket_inodes,
)

Tree = Callable[[], set[int]]

_LOOPBACKS = ("127.0.0.1", "::1")
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared, not bound
_FRESH_S = 0.005
_FRESH_SLOW_S = 0.5
# A look and the waking for it cost 0.15 ms: who waits for long is looked for less often.
_TICK_SHARE = 0.005
_TICK_MIN_S, _TICK_MAX_S = 0.01, 0.1
# Not to find an owner takes a walk over all descriptors of all processes.
_FORGET_UNKNOWN_S = 2.0


class Ownership(Enum):
    """Whose a listener is, as far as this user may know."""

    OWN = "own"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    NOBODY = "nobody"


# Which address of a service to try: an owner that is not known may be the service under sudo.
_PREFERRED = (Ownership.OWN, Ownership.UNKNOWN, Ownership.FOREIGN, Ownership.NOBODY)


@dataclass(frozen=True, slots=True)
class Taker:
    """Who takes a connection to ``host``; ``pid`` is a foreign owner's."""

    host: str
    ownership: Ownership
    pid: int | None = None


@dataclass(eq=False, slots=True)
class _Waiter:
    port: int
    since_s: float
    until_s: float
    rung: anyio.Event = field(default_factory=anyio.Event)


class Listeners:
    """Shares one look at the machine's listening sockets among all who ask within milliseconds.

    ``sock_diag`` false: /proc/net/tcp is read, at most twice a second.
    """

    def __init__(self, clock: Clock, *, sock_diag: bool = True) -> None:
        self._clock = clock
        self._sock_diag = sock_diag
        self._seen: dict[int, list[Listener]] = {}
        self._seen_at = float("-inf")
        self._is_blind = False
        self._owners: dict[int, int] = {}
        self._unknown: dict[int, float] = {}
        self._waiting: set[_Waiter] = set()
        self._looker: _Waiter | None = None
        self._next_look_s = 0.0

    @property
    def is_blind(self) -> bool:
        """Whether the system tells nothing: then only a connection shows who listens."""
        self._look()
        return self._is_blind

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

    # Whose it is.

    def taker(self, port: int, tree: Tree, host: str | None = None) -> Taker:
        """Return who takes a connection to the port, and at which address to try it.

        Without ``host`` a loopback address is preferred, and before that one whose listener is the
        service's own; `localhost` is both loopback addresses. ``tree`` are the own processes.
        """
        if self.is_blind:
            return Taker(host or "localhost", Ownership.UNKNOWN)
        found = self.on_port(port)
        if not found:
            return Taker(host or _LOOPBACKS[0], Ownership.NOBODY)
        own = socket_inodes(tree())
        hosts = [host or "localhost"]
        if hosts == ["localhost"]:
            hosts = [*_LOOPBACKS]
        if host is None:
            hosts += [one.address for one in found if one.address not in _WILDCARDS]
        takers = [self._taker_at(one, found, own, tree) for one in dict.fromkeys(hosts)]
        return min(takers, key=lambda one: _PREFERRED.index(one.ownership))

    def _taker_at(self, host: str, found: list[Listener], own: set[int], tree: Tree) -> Taker:
        """Return who takes a connection to ``host``: several may share it, and any may answer."""
        takers = [one for one in found if one.takes(host)]
        takers = [one for one in takers if one.address == host] or takers
        if not takers:
            return Taker(host, Ownership.NOBODY)
        others = [one for one in takers if one.inode not in own]
        if not others:
            return Taker(host, Ownership.OWN)
        owners = [pid for one in others if (pid := self.owner(one)) is not None]
        # It may have been born since it was asked who belongs to the service.
        pids = tree()
        foreign = [pid for pid in owners if pid not in pids]
        if foreign:
            return Taker(host, Ownership.FOREIGN, foreign[0])
        is_own = len(owners) == len(others)
        return Taker(host, Ownership.OWN if is_own else Ownership.UNKNOWN)

    def owner(self, listener: Listener) -> int | None:
        """Return a process that holds the socket; None where this user may not know."""
        inode = listener.inode
        known = self._owners.get(inode)
        if known is not None and inode in socket_inodes([known]):
            return known
        now = self._clock.monotonic()
        if now < self._unknown.get(inode, now):
            return None
        found = find_owner(inode)
        if found is None:
            self._unknown = {key: at for key, at in self._unknown.items() if now < at}
            self._unknown[inode] = now + _FORGET_UNKNOWN_S
        else:
            self._owners[inode] = found
        return found

    def elsewhere(self, port: int, pids: Iterable[int]) -> str:
        """Return where these processes listen instead, in words; empty when they do nowhere."""
        own = set(pids)
        hidden = in_other_namespace(own)
        if port in hidden:
            return "; this service listens on it in a network namespace of its own"
        ports = ", ".join(str(one) for one in sorted(self.ports_of(own) | hidden)[:5])
        return f"; this service listens on {ports}" if ports else ""

    # Waiting.

    async def appeared(self, port: int, *, since_s: float, within_s: float) -> None:
        """Return when somebody listens on the port, or after ``within_s``.

        One of all who wait looks for all. ``since_s``, of the clock, is when the wait began: it is
        looked for every 0.5 % of the time since then, between 10 and 100 ms.
        """
        waiter = _Waiter(port, since_s, self._clock.monotonic() + within_s)
        self._waiting.add(waiter)
        try:
            while not self._is_over(waiter):
                waiter.rung = anyio.Event()
                if self._is_looked_for(waiter):
                    await waiter.rung.wait()
                else:
                    await self._look_for_all(waiter)
        finally:
            self._waiting.discard(waiter)
            if self._looker in {waiter, None}:
                self._looker = None
                # Any of them may look for all from now on.
                for other in self._waiting:
                    other.rung.set()

    def _is_looked_for(self, waiter: _Waiter) -> bool:
        """Whether another one looks, and soon enough for this one."""
        if self._looker in {waiter, None}:
            return False
        return self._next_look_s <= self._clock.monotonic() + self._tick_s(waiter)

    async def _look_for_all(self, looker: _Waiter) -> None:
        self._looker = looker
        while self._looker is looker and not looker.rung.is_set():
            tick_s = min(map(self._tick_s, self._waiting))
            self._next_look_s = self._clock.monotonic() + tick_s
            await self._clock.sleep(tick_s)
            for waiter in self._waiting:
                if self._is_over(waiter):
                    waiter.rung.set()

    def _is_over(self, waiter: _Waiter) -> bool:
        return waiter.port in self._look() or self._clock.monotonic() >= waiter.until_s

    def _tick_s(self, waiter: _Waiter) -> float:
        if not self._sock_diag:
            return _FRESH_SLOW_S
        waited_s = self._clock.monotonic() - waiter.since_s
        return min(_TICK_MAX_S, max(_TICK_MIN_S, _TICK_SHARE * waited_s))

    def _look(self) -> dict[int, list[Listener]]:
        now = self._clock.monotonic()
        fresh_s = _FRESH_S if self._sock_diag else _FRESH_SLOW_S
        if now - self._seen_at >= fresh_s:
            by_port: dict[int, list[Listener]] = {}
            try:
                for one in listening(sock_diag=self._sock_diag):
                    by_port.setdefault(one.port, []).append(one)
                self._is_blind = False
            except OSError:
                self._is_blind = True
            self._seen, self._seen_at = by_port, now
        return self._seen
