"""Ports before a start: who keeps a service from listening, and which port is free."""

import random
import socket

import pytest

from orchestrator.errors import OrchestratorError, PortOwner
from orchestrator.system.ports import PortHeld, describe, free_port, holder, message
from tests.integration.system.sockets import held, held_by_nobody, in_own_network, listening
from tests.processes import free_port as some_port

PLACES = ["AF_INET,127.0.0.1", "AF_INET,0.0.0.0", "AF_INET6,::1", "AF_INET6,::", "AF_INET6,::,dual"]


def ours(*pids: int) -> set[int]:
    return set(pids)


def place(text: str) -> str:
    """Return the words of a socket on a free port."""
    family, address, *flags = text.split(",")
    return ",".join([family, address, "0", *flags])


def test_a_port_that_nobody_has_is_nobodys() -> None:
    assert holder(some_port(), ours) is None


@pytest.mark.parametrize("where", PLACES)
def test_who_listens_on_it_is_named(where: str) -> None:
    with held(place(where)) as other:
        found = holder(other.port, ours)
        assert found is not None
        assert (found.port, found.address) == (other.port, where.split(",")[1])
        assert found.owner.pid == other.pid
        assert f"pid {other.pid} (python" in describe(found)
        assert f"kill {other.pid}" in message("web", found)


@pytest.mark.parametrize("where", PLACES)
def test_who_has_bound_it_without_listening_is_named_too(where: str) -> None:
    with held(f"{place(where)},bound") as other:
        found = holder(other.port, ours)
        assert found is not None
        assert (found.port, found.address) == (other.port, where.split(",")[1])


@pytest.mark.parametrize("more", ["", ",bound"])
@pytest.mark.parametrize("where", PLACES)
def test_what_our_own_services_hold_is_no_hindrance(where: str, more: str) -> None:
    with held(place(where) + more) as own:
        assert holder(own.port, lambda: ours(own.pid)) is None


def test_beside_one_of_our_own_a_stranger_is_named() -> None:
    with held("AF_INET,127.0.0.1,0") as own, held(f"AF_INET6,::1,{own.port}") as other:
        found = holder(own.port, lambda: ours(own.pid))
        assert found is not None
        assert (found.address, found.owner.pid) == ("::1", other.pid)


def test_a_listener_of_another_address_of_the_machine_is_no_hindrance() -> None:
    with held("AF_INET,127.0.0.2,0") as other:
        assert holder(other.port, ours) is None


def test_what_is_left_of_a_closed_connection_is_no_hindrance() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        # The side that closes first keeps the port for a minute.
        client.shutdown(socket.SHUT_RDWR)
    assert holder(port, ours) is None


def test_an_owner_that_cannot_be_seen_is_told_with_its_user() -> None:
    with held_by_nobody() as port:
        found = holder(port, ours)
        assert found is not None
        assert found.owner.pid is None
        assert "not visible to this user" in describe(found)
        assert "port: auto" in message("web", found)
        assert "kill" not in message("web", found)


def test_of_an_owner_only_what_is_known_is_told() -> None:
    assert describe(PortHeld(1, "::1", PortOwner(7, "nginx", "root", 180.0))) == (
        "pid 7 (nginx) of root, running for 3m"
    )
    assert describe(PortHeld(1, "::1", PortOwner(7))) == "pid 7"
    assert describe(PortHeld(1, "::1", PortOwner())) == (
        "a process which is not visible to this user"
    )


# Free ports.


def test_a_free_port_can_be_listened_on_and_is_not_given_to_two() -> None:
    rng, taken = random.Random(7), set[int]()
    for _ in range(20):
        port = free_port(taken, rng)
        assert port not in taken
        taken.add(port)
        for address in ("127.0.0.1", "::1"):
            with listening(address, port):
                pass


def test_a_free_port_is_none_that_is_held() -> None:
    first = free_port(set(), random.Random(7))
    with listening("::1", first):
        assert free_port(set(), random.Random(7)) != first


def test_where_all_are_taken_that_is_told() -> None:
    with pytest.raises(OrchestratorError, match="cannot find a free port"):
        free_port(set(range(65536)), random.Random(7))


def test_a_system_that_hands_out_every_port_has_free_ones_all_the_same() -> None:
    said = in_own_network("""
import random
pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")
from orchestrator.system.ports import free_port
print(free_port(set(), random.Random(7)))
""")
    assert 10_000 <= int(said) < 65_000
