"""Who listens on a port, and how those who wait for a listener share the looking."""

import contextlib
import os
import socket
from collections.abc import Callable

import anyio
import pytest

from orchestrator.system import sock_diag
from orchestrator.system.listeners import Listeners, Ownership, Taker
from tests.fakes import FakeClock
from tests.integration.system.sockets import held, held_by_nobody, listening
from tests.processes import free_port

SOURCES = pytest.mark.parametrize("fast", [True, False], ids=["sock_diag", "proc"])
IPV4 = "AF_INET,127.0.0.1,0"


def looking(*, fast: bool = True) -> Listeners:
    return Listeners(FakeClock(), sock_diag=fast)


def tree(*pids: int) -> Callable[[], set[int]]:
    return lambda: set(pids)


US = tree(os.getpid())


@SOURCES
def test_a_listener_of_the_service_is_its_own(fast: bool) -> None:
    with held(IPV4) as one:
        found = looking(fast=fast).taker(one.port, tree(one.pid))
        assert found == Taker("127.0.0.1", Ownership.OWN)


@SOURCES
def test_a_listener_of_another_is_foreign_and_told_with_its_pid(fast: bool) -> None:
    with held(IPV4) as one:
        found = looking(fast=fast).taker(one.port, US)
        assert found == Taker("127.0.0.1", Ownership.FOREIGN, one.pid)


@SOURCES
def test_a_listener_of_a_descendant_is_its_own(fast: bool) -> None:
    with held(IPV4, below=True) as one:
        found = looking(fast=fast)
        assert found.taker(one.port, tree(one.pid, one.holder)).ownership is Ownership.OWN
        assert found.taker(one.port, tree(one.pid)).ownership is Ownership.FOREIGN


@SOURCES
def test_a_listener_whose_holder_cannot_be_seen_is_unknown(fast: bool) -> None:
    with held_by_nobody() as port:
        assert looking(fast=fast).taker(port, US) == Taker("127.0.0.1", Ownership.UNKNOWN)


@SOURCES
def test_where_nobody_listens_it_is_nobodys(fast: bool) -> None:
    assert looking(fast=fast).taker(free_port(), US).ownership is Ownership.NOBODY


def test_one_born_since_the_tree_was_looked_at_is_of_the_service_all_the_same() -> None:
    with held(IPV4) as one:
        trees = iter([set[int](), {one.pid}])
        found = looking().taker(one.port, lambda: next(trees))
        assert found.ownership is Ownership.OWN


@SOURCES
def test_a_port_shared_with_a_stranger_is_the_strangers(fast: bool) -> None:
    """The kernel deals connections out to all who share a port: any of them may answer."""
    with held(f"{IPV4},share") as other, listening(port=other.port, share=True):
        found = looking(fast=fast)
        assert found.taker(other.port, US) == Taker("127.0.0.1", Ownership.FOREIGN, other.pid)
        both = tree(os.getpid(), other.pid)
        assert found.taker(other.port, both).ownership is Ownership.OWN


@SOURCES
def test_a_more_specific_listener_takes_the_connection(fast: bool) -> None:
    with held(f"{IPV4},share") as other, listening("0.0.0.0", other.port, share=True):
        found = looking(fast=fast)
        assert found.taker(other.port, US, "127.0.0.1").ownership is Ownership.FOREIGN
        assert found.taker(other.port, tree(other.pid), "127.0.0.1").ownership is Ownership.OWN
        assert found.taker(other.port, US, "127.0.0.2").ownership is Ownership.OWN


@SOURCES
@pytest.mark.parametrize(
    ("address", "dual", "host"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("::1", False, "::1"),
        ("::", True, "127.0.0.1"),
    ],
)
def test_it_is_tried_where_the_service_listens(
    fast: bool, address: str, dual: bool, host: str
) -> None:
    with listening(address, dual=dual) as port:
        assert looking(fast=fast).taker(port, US) == Taker(host, Ownership.OWN)
        with socket.create_connection((host, port), 5):
            pass


def test_an_ipv6_wildcard_of_its_own_does_not_take_ipv4() -> None:
    with listening("::") as port:
        found = looking()
        assert found.taker(port, US) == Taker("::1", Ownership.OWN)
        assert found.taker(port, US, "127.0.0.1").ownership is Ownership.NOBODY
        assert found.hosts_of([os.getpid()], port) == ["::"]


def test_a_wildcard_of_both_families_is_told_as_both() -> None:
    with listening("::", dual=True) as port:
        assert looking().hosts_of([os.getpid()], port) == ["0.0.0.0", "::"]


@SOURCES
def test_of_two_loopback_addresses_the_one_that_is_its_own_is_tried(fast: bool) -> None:
    with held(IPV4) as other, listening("::1", other.port):
        found = looking(fast=fast)
        for host in (None, "localhost"):
            assert found.taker(other.port, US, host) == Taker("::1", Ownership.OWN)
            theirs = found.taker(other.port, tree(other.pid), host)
            assert theirs == Taker("127.0.0.1", Ownership.OWN)
        asked = found.taker(other.port, US, "127.0.0.1")
        assert asked == Taker("127.0.0.1", Ownership.FOREIGN, other.pid)


@SOURCES
def test_an_ipv6_socket_on_an_ipv4_address_is_found_there(fast: bool) -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::ffff:127.0.0.1", 0))
        server.listen()
        found = looking(fast=fast).taker(server.getsockname()[1], US)
        assert found == Taker("127.0.0.1", Ownership.OWN)


def test_the_sources_tell_the_same() -> None:
    with listening() as one, listening("::1") as another:
        told = [
            {(here.address, here.port, here.inode, here.uid) for here in found}
            for found in (sock_diag.listening(), sock_diag.listening(sock_diag=False))
        ]
        mine = [{here for here in found if here[1] in {one, another}} for found in told]
        assert mine[0] == mine[1]
        assert len(mine[0]) == 2


def test_a_kernel_that_has_no_list_of_sockets_is_not_taken_for_one_without_listeners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says so in the last message of an answer that is empty otherwise."""
    no_such_protocol = 254
    monkeypatch.setattr(socket, "IPPROTO_TCP", no_such_protocol)
    with pytest.raises(OSError, match="No such file"):
        sock_diag.dump(socket.AF_INET)
    with listening() as port:
        assert looking().taker(port, US).ownership is Ownership.OWN


def test_where_the_system_tells_nothing_only_a_connection_can_show_who_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = {socket.AF_INET: "not to be had"}
    monkeypatch.setattr("orchestrator.system.sock_diag._FILES", hidden)
    found = looking(fast=False)
    assert found.is_blind
    assert found.taker(1, US) == Taker("localhost", Ownership.UNKNOWN)
    assert found.taker(1, US, "::1") == Taker("::1", Ownership.UNKNOWN)


def test_a_service_that_listens_elsewhere_is_told_with_its_ports() -> None:
    with listening() as port:
        found = looking()
        assert str(port) in found.elsewhere(1, [os.getpid()])
        assert found.ports_of([os.getpid()]) >= {port}


# Waiting.


async def advance(clock: FakeClock, seconds: float) -> None:
    """Wind on in steps that no look is missed in."""
    for _ in range(round(seconds / 0.01)):
        await clock.advance(0.01)


class Waiting:
    """Those who wait for listeners, by name, and when each was told."""

    def __init__(self, clock: FakeClock, tasks: anyio.abc.TaskGroup) -> None:
        self.listeners = Listeners(clock)
        self.told: dict[str, float] = {}
        self._clock = clock
        self._tasks = tasks
        self._scopes: dict[str, anyio.CancelScope] = {}

    async def begin(self, name: str, port: int, within_s: float = 100.0) -> None:
        self._scopes[name] = anyio.CancelScope()
        self._tasks.start_soon(self._wait, name, port, within_s)
        await anyio.wait_all_tasks_blocked()

    async def cancel(self, name: str) -> None:
        self._scopes[name].cancel()
        await anyio.wait_all_tasks_blocked()

    async def _wait(self, name: str, port: int, within_s: float) -> None:
        began_s = self._clock.monotonic()
        with self._scopes[name]:
            await self.listeners.appeared(port, since_s=began_s, within_s=within_s)
            self.told[name] = self._clock.monotonic() - began_s


async def test_a_listener_is_seen_by_those_who_wait_for_it_and_by_no_others() -> None:
    clock, missing = FakeClock(), free_port()
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(clock, tasks)
        with contextlib.ExitStack() as later:
            wanted = free_port()
            for name in ("a", "b", "c"):
                await waiting.begin(name, wanted)
            await waiting.begin("other", missing)
            await advance(clock, 0.1)
            assert not waiting.told
            later.enter_context(listening(port=wanted))
            await advance(clock, 0.02)
            assert waiting.told.keys() == {"a", "b", "c"}
        tasks.cancel_scope.cancel()


async def test_who_waits_to_no_end_is_told_when_the_time_is_over() -> None:
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(clock, tasks)
        await waiting.begin("a", free_port(), within_s=1.0)
        await waiting.begin("b", free_port(), within_s=0.5)
        await advance(clock, 0.6)
        assert waiting.told.keys() == {"b"}
        await advance(clock, 0.6)
        assert waiting.told.keys() == {"a", "b"}


@pytest.mark.parametrize("order", ["abc", "cba", "bac"])
async def test_when_the_one_who_looks_is_cancelled_another_looks(order: str) -> None:
    clock, port = FakeClock(), free_port()
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(clock, tasks)
        for name in (*"abc", "last"):
            await waiting.begin(name, port)
        for name in order:
            await waiting.cancel(name)
            await advance(clock, 0.05)
        assert not waiting.told
        with listening(port=port):
            await advance(clock, 0.02)
        assert waiting.told.keys() == {"last"}


async def test_all_who_look_are_cancelled_at_once_and_a_new_one_looks_again() -> None:
    clock, port = FakeClock(), free_port()
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(clock, tasks)
        async with anyio.create_task_group() as first:
            others = Waiting(clock, first)
            others.listeners = waiting.listeners
            for name in "abc":
                await others.begin(name, port)
            first.cancel_scope.cancel()
        await waiting.begin("new", port)
        with listening(port=port):
            await advance(clock, 0.02)
        assert waiting.told.keys() == {"new"}


async def test_one_who_has_waited_for_long_does_not_slow_down_one_who_comes_now() -> None:
    clock, port = FakeClock(), free_port()
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(clock, tasks)
        await waiting.begin("old", free_port())
        await clock.advance(60)
        await waiting.begin("new", port)
        with listening(port=port):
            await advance(clock, 0.02)
            assert waiting.told.keys() == {"new"}
        tasks.cancel_scope.cancel()


async def test_when_the_quick_looker_goes_the_slow_one_looks_on() -> None:
    clock, port = FakeClock(), free_port()
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(clock, tasks)
        await waiting.begin("old", port)
        await clock.advance(60)
        await waiting.begin("new", free_port())
        await advance(clock, 0.03)
        await waiting.cancel("new")
        with listening(port=port):
            await advance(clock, 0.2)
            assert waiting.told.keys() == {"old"}
