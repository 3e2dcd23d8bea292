"""Starting and ending, both schedulers: addresses, settings, signals, and what is due meanwhile."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.integration.scheduler.stage import (
    ENVIRONMENT,
    Process,
    Receiver,
    caller,
    embedded,
    free_port,
    receiving,
    running,
    soon,
    wait_until,
)

Make = Callable[..., Process]


@pytest.fixture
def make(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return a maker of either scheduler, always on the same data."""
    if kind == "dotnet":
        dotnet = request.getfixturevalue("dotnet")
        return lambda port=0, **environment: dotnet.process(tmp_path, port=port, **environment)
    return lambda port=0, **environment: embedded(
        tmp_path, port=port, environment={**ENVIRONMENT, **environment}
    )


def test_a_free_port_is_taken_and_told(make: Make) -> None:
    with running(make()) as process:
        assert process.port > 0
        assert httpx2.get(f"{process.url}/health", trust_env=False).status_code == 200


def test_a_taken_port_is_named(make: Make, kind: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = make(port=port).start()
        try:
            assert process.ends(10) == (8 if kind == "embedded" else -signal.SIGABRT)
            host = "localhost" if kind == "embedded" else "127.0.0.1"
            words = f"Failed to bind to address http://{host}:{port}: address already in use."
            assert words in process.log()
            assert (kind == "dotnet") == ("Traceback" in process.log() or "   at " in process.log())
        finally:
            process.remove()


def test_the_settings_come_from_the_environment(make: Make) -> None:
    changed = {
        "Jwt__Issuer": "Somebody",
        "Jwt__Audience": "Anybody",
        "Jwt__ExpiryMinutes": "3",
        "Auth__ApiKey": "another",
    }
    with running(make(**changed)) as process:
        body = {"clientId": "me", "apiKey": "another"}
        answer = httpx2.post(f"{process.url}/api/auth/token", json=body, trust_env=False).json()
        assert answer["expiresIn"] == 180
        with caller(process.url, "another") as asked:
            assert asked.ask("GET", "/mcp/tools").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_ends_it_with_0(make: Make, number: int) -> None:
    with running(make()) as process:
        httpx2.get(f"{process.url}/health", trust_env=False)
        assert process.stop(number) == 0
        assert "Traceback" not in process.log()


def test_a_stop_waits_for_the_delivery_under_way_and_records_its_end(
    make: Make, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    with running(make()) as process:
        with caller(process.url) as asked:
            made = asked.schedule("slow", soon(), receiver.url)
            later = asked.schedule("later", soon(0.8), receiver.url)
            wait_until(receiver.texts)
            process.child.send_signal(signal.SIGTERM)
        passed = time.time() + 1
        wait_until(lambda: time.time() > passed)  # the second one's time goes by
        assert process.child.poll() is None
        receiver.may_answer.set()
        assert process.ends() == 0
        assert receiver.texts() == ["slow"]
    with running(make()) as process, caller(process.url) as asked:
        assert asked.status(made) == "Completed"
        asked.becomes(later, "Completed")
        assert receiver.texts() == ["slow", "later"]


def test_what_fell_due_while_it_was_down_comes_within_a_second(
    make: Make, receiver: Receiver
) -> None:
    with running(make()) as process, caller(process.url) as asked:
        made = asked.schedule("x", soon(0.4), receiver.url)
        process.child.kill()
        process.ends()
        due = time.time() + 0.5
    wait_until(lambda: time.time() > due)
    with running(make()) as process:
        listening = time.time()
        wait_until(receiver.texts)
        assert receiver.deliveries[0].at - listening < 1
        with caller(process.url) as asked:
            asked.becomes(made, "Completed")
    assert receiver.texts() == ["x"]


def test_a_conversation_caught_by_a_kill_is_sent_again_by_the_embedded_scheduler(
    make: Make, kind: str
) -> None:
    with receiving() as receiver:
        receiver.may_answer.clear()
        with running(make()) as process, caller(process.url) as asked:
            made = asked.schedule("x", soon(), receiver.url)
            wait_until(receiver.texts)
            process.child.kill()
            process.ends()
        receiver.may_answer.set()
        with running(make()) as process, caller(process.url) as asked:
            if kind == "embedded":
                asked.becomes(made, "Completed")
                assert [d.id for d in receiver.deliveries] == [made, made]
            else:
                assert asked.status(made) == "InProgress"
                assert receiver.texts() == ["x"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_times_are_compared_as_instants_in_every_zone_by_the_embedded_scheduler(
    make: Make, kind: str, receiver: Receiver, zone: str
) -> None:
    if kind == "dotnet":
        pytest.skip("the published service compares clock faces: launch it with TZ=UTC")
    with running(make(TZ=zone)) as process, caller(process.url) as asked:
        past = asked.tool(
            "scheduleConversation",
            conversationText="x",
            scheduledTime=soon(-1),
            endpoint=receiver.url,
        )
        assert past.status_code == 400
        asked.becomes(asked.schedule("x", soon(0.3), receiver.url), "Completed")
        made = asked.schedule("far", "2031-07-01T12:00:00", receiver.url)
        read = asked.ask("GET", f"/api/conversations/{made}").json()["scheduledTime"]
        hour = {"Europe/Berlin": "10:00", "America/New_York": "16:00", "Asia/Kolkata": "06:30"}
        assert read == f"2031-07-01T{hour[zone]}:00"


def test_both_loopback_families_are_served_by_default(tmp_path: Path) -> None:
    with running(embedded(tmp_path)) as process:
        assert process.url == f"http://localhost:{process.port}"
        for host in ("127.0.0.1", "[::1]", "localhost"):
            url = f"http://{host}:{process.port}/health"
            assert httpx2.get(url, trust_env=False).status_code == 200


def test_a_port_taken_on_the_other_family_is_seen(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", port))
        other.listen()
        process = embedded(tmp_path, port=port).start()
        try:
            assert process.ends() == 8
        finally:
            process.remove()
