"""One probe, and the servers it may meet: whatever they do, there is a result and no error."""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.model import Health
from orchestrator.spec.template import Ref, Template
from orchestrator.system.clock import SystemClock
from orchestrator.system.listeners import Listeners
from orchestrator.system.probes import (
    HttpRequest,
    ProbeResult,
    Unanswered,
    ask,
    connect,
    fetch,
    judge_exec,
    search,
    timed,
)
from orchestrator.system.spawner import ExecResult, Spawner
from orchestrator.system.target import Target
from tests.integration.system.raw import (
    OK,
    Raw,
    certificate,
    drip,
    drip_head,
    flood,
    go_on,
    hang,
    raw,
    reset,
)
from tests.integration.system.sockets import held, held_by_nobody, in_own_network
from tests.processes import free_port

LONG_S = 10.0
SHORT_S = 0.2
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


async def asked(request: HttpRequest, timeout_s: float = LONG_S) -> ProbeResult:
    return await timed("http", timeout_s, lambda: ask(request))


async def answered(answer: Any, **request: Any) -> ProbeResult:
    """Return what a probe finds at a server that answers so."""
    with raw(answer) as server:
        return await asked(HttpRequest(server.url, **request))


# Good answers.


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 20 + OK,
        OK + OK,
    ],
)
async def test_an_answer_that_is_well_formed_is_well(answer: bytes) -> None:
    found = await answered(answer)
    assert found.ok, found
    assert found.text.startswith(("200 in ", "204 in "))


async def test_the_answer_must_hold_the_text_that_is_wanted_chunked_or_not() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"
    )
    assert (await answered(chunked, body="ready")).ok
    found = await answered(OK, body="ready")
    assert not found.ok
    assert "but 'ready' is not in the answer: ok" in found.text


async def test_only_the_wanted_status_is_well() -> None:
    found = await answered(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
    assert not found.ok
    assert found.text.startswith("503 after ")
    assert found.text.endswith(": busy")
    assert (await answered(b"HTTP/1.1 503 Busy\r\n\r\n", status=((500, 599),))).ok


async def test_a_head_request_has_no_body() -> None:
    assert (await answered(BODY % 5000, method="HEAD")).ok


async def test_a_redirect_is_not_followed() -> None:
    with raw(OK) as other:
        head = f"HTTP/1.1 302 Found\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n"
        found = await answered(head.encode())
        assert not found.ok
        assert f"a redirect to {other.url} is not followed" in found.text
        assert not other.asked


async def test_proxies_and_credentials_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with raw(OK) as proxy, raw(OK) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert (await asked(HttpRequest(server.url))).ok
        assert not proxy.asked
        assert b"canary" not in server.asked[0]
        assert b"uthorization" not in server.asked[0]


async def test_what_is_given_is_what_is_sent() -> None:
    with raw(OK) as server:
        url = f"http://127.0.0.1:{server.port}/a b?c=ä&d=%20"
        await asked(HttpRequest(url, headers={"host": "mine", "X-One": "1"}, method="POST"))
    (sent,) = server.asked
    assert sent.startswith(b"POST /a%20b?c=%C3%A4&d=%20 HTTP/1.1\r\n")
    assert b"host: mine" in sent
    assert b"X-One: 1" in sent
    assert sent.lower().count(b"host:") == 1


# Much.


async def test_a_body_without_end_is_read_so_far_and_no_further() -> None:
    assert (await answered(flood)).ok


async def test_a_body_that_is_announced_as_large_is_not_waited_for() -> None:
    assert (await answered(BODY % (5 << 30))).ok


async def test_text_is_looked_for_in_the_first_64_kib() -> None:
    early = BODY % 200_000 + b"x" * 60_000 + b"ready" + b"x" * 139_995
    assert (await answered(early, body="ready")).ok
    late = BODY % 200_000 + b"x" * 190_000 + b"ready" + b"x" * 9_995
    assert not (await answered(late, body="ready")).ok


async def test_headers_without_end_are_no_answer() -> None:
    found = await answered(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000)
    assert not found.ok
    assert "the answer is no HTTP" in found.text


# Late.


@pytest.mark.parametrize("late", [hang, drip, drip_head, go_on])
async def test_one_deadline_is_over_the_whole_exchange(
    late: Callable[[Raw, socket.socket], None],
) -> None:
    with raw(late) as server:
        found = await asked(HttpRequest(server.url, body="never"), SHORT_S)
        assert (found.ok, found.text) == (False, "timed out after 200ms")


async def test_who_takes_no_connection_is_late_as_well() -> None:
    """A full backlog answers nothing at all."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        found = await timed("tcp", SHORT_S, lambda: connect("127.0.0.1", port))
        assert (found.ok, found.text) == (False, "timed out after 200ms")
        for one in waiting:
            one.close()


# Bad.


async def test_nobody_is_refused() -> None:
    port = free_port()
    found = await asked(HttpRequest(f"http://127.0.0.1:{port}/"))
    assert (found.ok, found.text) == (False, "connection refused")
    both = await timed("tcp", LONG_S, lambda: connect("localhost", port))
    assert (both.ok, both.text) == (False, "connection refused")


@pytest.mark.parametrize("broken", [reset, b"", b"HTTP/1.1 2", BODY % 5 + b"ok"])
async def test_an_answer_that_is_broken_off_is_none(broken: Any) -> None:
    assert not (await answered(broken)).ok


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\xff" * 100,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 99999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ],
)
async def test_garbage_is_no_answer(garbage: bytes) -> None:
    found = await answered(garbage, body="never")
    assert not found.ok
    assert found.text


async def test_what_an_answer_says_is_harmless_to_the_text_about_it() -> None:
    found = await answered(b"HTTP/1.1 500 {took}\r\nContent-Length: 12\r\n\r\n{took}\xff\x00{x}\n")
    assert not found.ok
    assert found.text.startswith("500 after ")
    assert "{took}\N{REPLACEMENT CHARACTER}" in found.text


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"X": "\udcff"}},
        {"headers": {"X": "a\r\nb"}},
        {"headers": {"\udcff": "x"}},
        {"headers": {"": "x"}},
        {"path": "/\udcff"},
        {"method": "G\udcff"},
        {"method": "GÄT"},
    ],
)
async def test_a_request_that_cannot_be_written_is_told_without_its_headers(
    changes: dict[str, Any],
) -> None:
    """Values of the environment need be no UTF-8, and a probe's headers can be made of them."""
    path = changes.pop("path", "/")
    with raw(OK) as server:
        changes["headers"] = {"Authorization": "canary"} | changes.get("headers", {})
        found = await asked(HttpRequest(f"http://127.0.0.1:{server.port}{path}", **changes))
    assert not found.ok
    assert "cannot be asked" in found.text
    assert "canary" not in found.text


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://127.0.0.1:99999/", "http://", "http://a\udcff/", "http://\x00/"]
)
async def test_an_address_that_is_none_is_told(url: str) -> None:
    found = await asked(HttpRequest(url))
    assert not found.ok
    assert found.text.startswith("cannot connect")


async def test_a_body_is_cut_where_it_was_said() -> None:
    with raw(BODY % 10 + b"0123456789") as server:
        answer = await fetch(HttpRequest(server.url, body="x"), limit_bytes=4)
    assert (answer.body, answer.is_cut) == (b"0123", True)


async def test_nobody_answering_is_an_error_of_fetch() -> None:
    with pytest.raises(Unanswered, match="connection refused"):
        await fetch(HttpRequest(f"http://127.0.0.1:{free_port()}/"))


def test_a_connection_to_itself_is_nobodys() -> None:
    """Where the system hands out ports, one that connects can be given the very port."""
    said = in_own_network("""
import anyio
from orchestrator.system.probes import connect
pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40001")
print({anyio.run(connect, "127.0.0.1", 40000) for _ in range(20)})
""")
    assert said == "{(False, 'connection refused')}"


# TLS.


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def context(pem: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    return made


def https(server: Raw) -> HttpRequest:
    return HttpRequest(f"https://127.0.0.1:{server.port}/", is_known=True)


async def test_who_is_known_by_the_kernel_needs_no_certificate(pem: Path) -> None:
    with raw(OK, tls=context(pem)) as server:
        assert (await asked(https(server))).ok
        found = await asked(HttpRequest(f"https://127.0.0.1:{server.port}/"))
        assert not found.ok
        assert "self-signed certificate" in found.text


async def test_tls_and_none_are_told_apart() -> None:
    with raw(OK) as server:
        found = await asked(https(server))
        assert (found.ok, found.text) == (False, "there is no TLS: is the URL http?")
    alert = b"\x15\x03\x03\x00\x02\x02\x28"
    found = await answered(alert)
    assert (found.ok, found.text) == (False, "the answer is TLS: is the URL https?")


async def test_a_server_that_wants_a_certificate_of_its_client_is_not_well(pem: Path) -> None:
    """With TLS 1.3 it says so after the handshake."""
    wanting = context(pem)
    wanting.verify_mode = ssl.CERT_REQUIRED
    wanting.load_verify_locations(pem)
    with raw(OK, tls=wanting) as server:
        found = await asked(https(server))
        assert not found.ok
        assert "certificate required" in found.text


async def test_garbage_within_tls_is_no_answer(pem: Path) -> None:
    def garbage(_: Raw, connection: socket.socket) -> None:
        os.write(connection.fileno(), b"this is no TLS at all")

    with raw(garbage, tls=context(pem)) as server:
        found = await asked(https(server))
        assert (found.ok, found.text) == (False, "TLS failed: wrong version number")


async def test_a_handshake_that_is_not_answered_is_late() -> None:
    with raw(hang) as server:
        found = await asked(https(server), SHORT_S)
        assert (found.ok, found.text) == (False, "timed out after 200ms")


# Commands.


async def ran(*command: str, timeout_s: float = LONG_S) -> ProbeResult:
    """Return what an `exec` probe finds."""
    health = {"exec": {"command": list(command)}, "timeout": timeout_s}
    async with Spawner.start() as spawner:
        one = target(None, set(), run_exec=spawner.run_probe, **health)
        (found,) = await one.probe()
        assert found.kind == "exec"
        return found


async def test_a_command_that_ends_well_is_well() -> None:
    assert (await ran("true")).text.startswith("exit code 0 in ")


async def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    found = await ran("sh", "-c", "echo one; echo two >&2; exit 3")
    assert not found.ok
    assert found.text.startswith("exit code 3 after ")
    assert found.text.endswith(": one two")


async def test_a_command_that_is_killed_or_late_or_missing_is_told() -> None:
    assert "signal 9 after " in (await ran("sh", "-c", "kill -9 $$")).text
    late = await ran("sh", "-c", "echo begun; sleep 100", timeout_s=SHORT_S)
    assert late.text.startswith("timed out after ")
    assert late.text.endswith(": begun")
    assert "no-such-command" in (await ran("no-such-command")).text


def test_of_what_a_command_says_the_end_is_shown() -> None:
    words = ExecResult(
        1, None, timed_out=False, refused=None, output="x" * 500 + "END", duration_s=0
    )
    ok, text = judge_exec(words)
    assert not ok
    assert text.endswith("xEND")
    assert len(text) < 300


# Logs.


async def test_a_log_probe_waits_for_its_line_and_remembers_it() -> None:
    news = [["starting"], [], ["listening on 4711"], ["bye"]]
    one = target(None, set(), new_lines=lambda: news.pop(0), log={"pattern": r"on (?P<port>\d+)"})
    for _ in range(2):
        (found,) = await one.probe()
        assert (found.ok, found.text) == (False, "'on (?P<port>\\\\d+)' was not logged yet")
    for _ in range(2):
        (found,) = await one.probe()
        assert (found.ok, found.groups) == (True, {"port": "4711"})
    assert news == [["bye"]]


async def test_a_log_that_cannot_be_read_is_told() -> None:
    def refused() -> list[str]:
        raise PermissionError(13, "Permission denied")

    (found,) = await target(None, set(), new_lines=refused, log={"pattern": "x"}).probe()
    assert (found.ok, found.text) == (False, "the log cannot be read: Permission denied")


def test_a_group_that_found_nothing_is_empty() -> None:
    assert search(r"a(?P<more>b)?", ["xa"]).groups == {"more": ""}


# Whom it asks.


async def nothing(*_: object) -> None:
    """Run no command."""


def target(port: int | None, pids: set[int], **more: Any) -> Target:
    """Return the target of a run whose processes are ``pids``."""
    given: dict[str, Any] = {
        name: more.pop(name) for name in ("run_exec", "new_lines") if name in more
    }
    hands: dict[str, Any] = dict[str, Any](run_exec=nothing, new_lines=list) | given
    return Target.of(
        "web",
        Health.model_validate({"timeout": LONG_S} | more),
        port=port,
        render=lambda template: template.render(lambda ref: "canary"),
        listeners=Listeners(SystemClock()),
        tree=lambda: pids,
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        **hands,
    )


US = {os.getpid()}
SECRET = {
    "Authorization": "Bearer x",
    "X-Key": Template((Ref(("secrets", "key")),)),
    "X-Plain": "plain",
}


async def probed(one: Target) -> ProbeResult:
    (found,) = await one.probe()
    return found


async def test_the_service_itself_is_asked_with_all_headers() -> None:
    with raw(OK) as server:
        found = await probed(target(server.port, US, http={"path": "/", "headers": SECRET}))
        assert found.ok, found
        (sent,) = server.asked
        assert b"X-Key: canary" in sent
        assert b"Authorization" in sent


async def test_a_foreign_listener_is_asked_nothing() -> None:
    with raw(OK) as server:
        asked: tuple[dict[str, Any], ...] = ({"http": {"path": "/"}}, {"tcp": {}})
        for health in asked:
            one = target(server.port, {1}, **health)
            found = await probed(one)
            assert not found.ok
            assert f"pid {os.getpid()}, not of this service" in found.text
            assert one.awaits is None
        assert not server.asked


async def test_a_foreign_listener_that_is_allowed_gets_no_credentials() -> None:
    with raw(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n") as server:
        health = {"http": {"path": "/", "headers": SECRET}, "listener": "any"}
        found = await probed(target(server.port, {1}, **health))
        assert not found.ok
        assert "headers with credentials were kept back" in found.text
        (sent,) = server.asked
        assert b"X-Plain: plain" in sent
        assert b"canary" not in sent
        assert b"Authorization" not in sent


async def test_a_listener_of_nobody_knows_whom_is_asked_without_credentials() -> None:
    with held_by_nobody() as port:
        health = {"http": {"path": "/", "headers": SECRET}, "timeout": SHORT_S}
        found = await probed(target(port, US, **health))
        assert "timed out after 200ms" in found.text
        assert "were kept back" in found.text


async def test_of_two_loopback_addresses_the_services_own_is_asked() -> None:
    with raw(OK, "::1") as server, held(f"AF_INET,127.0.0.1,{server.port}"):
        assert (await probed(target(server.port, US, http={"path": "/"}))).ok
        url = {"url": f"http://localhost:{server.port}/", "headers": SECRET}
        assert (await probed(target(None, US, http=url))).ok
        assert b"canary" in server.asked[1]
        exact = {"url": f"http://127.0.0.1:{server.port}/"}
        assert "not of this service" in (await probed(target(None, US, http=exact))).text
        assert (await probed(target(server.port, US, tcp={}))).ok
        elsewhere = {"tcp": {"host": "127.0.0.1", "port": server.port}}
        assert "not of this service" in (await probed(target(None, US, **elsewhere))).text


async def test_where_nobody_listens_no_connection_is_tried() -> None:
    port = free_port()
    one = target(port, US, http={"path": "/"})
    found = await probed(one)
    assert found.text.startswith(f"connection refused: nothing listens on port {port}")
    assert one.awaits == port
    with raw(OK, port=port):
        assert (await probed(target(port, US, http={"path": "/"}))).ok


async def test_up_to_the_first_failure_all_probes_are_asked() -> None:
    with raw(OK) as server:
        one = target(
            server.port, US, tcp={}, http={"path": "/", "body": "no"}, log={"pattern": "x"}
        )
        assert [found.kind for found in await one.probe()] == ["log"]
        one.new_lines = lambda: ["x"]
        assert [found.kind for found in await one.probe()] == ["log", "tcp", "http"]
