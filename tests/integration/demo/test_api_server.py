"""The API server that users copy, with a real scheduler behind it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.integration.scheduler.stage import (
    Process,
    api_server,
    embedded,
    free_port,
    running,
    wait_until,
    write_config,
)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Process]:
    with running(embedded(tmp_path)) as process:
        write_config(tmp_path / "config.json", process.url)
        yield process


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Process]:
    with running(api_server(tmp_path, tmp_path / "config.json")) as process:
        yield process


@pytest.fixture
def http(api: Process) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=api.url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Return a client of an API server that is shared by a whole module."""
    folder = tmp_path_factory.mktemp("shared")
    config_path = folder / "config.json"
    with running(embedded(folder)) as scheduler:
        write_config(config_path, scheduler.url)
        with (
            running(api_server(folder, config_path)) as api,
            httpx2.Client(base_url=api.url, trust_env=False, timeout=10) as client,
        ):
            yield client


def received(http: httpx2.Client) -> list[str]:
    return [message["text"] for message in http.get("/received").json()]


def test_a_conversation_comes_back_to_the_server_that_scheduled_it(
    scheduler: Process, http: httpx2.Client
) -> None:
    made = http.post("/conversations", json={"text": "hello", "in_s": 0.5})
    assert made.status_code == 201
    wanted = made.json()["id"]
    wait_until(lambda: received(http) == ["hello"])
    assert http.get("/received").json()[0]["id"] == wanted

    def status() -> str:
        return str(http.get(f"/conversations/{wanted}").json()["status"])

    wait_until(lambda: status() == "Completed")


def test_a_conversation_can_be_cancelled_once(guest: httpx2.Client) -> None:
    at = "2031-01-31T09:30:00+01:00"
    wanted = guest.post("/conversations", json={"text": "later", "at": at}).json()["id"]
    assert guest.get(f"/conversations/{wanted}").json() == {"id": wanted, "status": "Scheduled"}
    assert guest.delete(f"/conversations/{wanted}").json() == {"id": wanted, "cancelled": True}
    assert guest.get(f"/conversations/{wanted}").json() == {"id": wanted, "status": "Cancelled"}
    assert guest.delete(f"/conversations/{wanted}").json() == {"id": wanted, "cancelled": False}


def test_a_delivery_that_comes_twice_is_kept_once(scheduler: Process, http: httpx2.Client) -> None:
    for _ in range(2):
        answer = http.post("/callback", content=b"x", headers={"X-Conversation-Id": "one"})
        assert answer.status_code == 200
    assert received(http) == ["x"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"text":"x"}', 400),
        (b'{"text":"x","in_s":-1}', 400),
        (b'{"text":"x","in_s":"1"}', 400),
        (b'{"text":"x","at":"tomorrow"}', 400),
        (b'{"text":"x","at":"2020-01-01"}', 400),
        (b'{"text":"x","in_s":1,"additional_info":7}', 400),
        (b'"' + b"x" * 1_100_000 + b'"', 413),
    ],
)
def test_a_bad_wish_is_told_why(guest: httpx2.Client, body: bytes, status: int) -> None:
    answer = guest.post("/conversations", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_an_unknown_conversation_is_404(guest: httpx2.Client) -> None:
    answer = guest.get("/conversations/00000000-0000-0000-0000-000000000000")
    assert answer.status_code == 404
    assert "not found" in answer.json()["error"]


def test_a_scheduler_that_is_down_costs_calls_and_not_the_client(
    tmp_path: Path, scheduler: Process, http: httpx2.Client
) -> None:
    wish = {"text": "x", "in_s": 100}
    assert http.post("/conversations", json=wish).status_code == 201
    port = scheduler.port
    scheduler.child.kill()
    scheduler.ends()
    answer = http.post("/conversations", json=wish)
    assert answer.status_code == 503
    assert "cannot reach" in answer.json()["error"]
    assert http.get("/health").status_code == 200
    with running(embedded(tmp_path, port=port)):
        assert http.post("/conversations", json=wish).status_code == 201


def test_a_changed_config_is_followed(
    tmp_path: Path, scheduler: Process, http: httpx2.Client
) -> None:
    config_path = tmp_path / "config.json"
    other = tmp_path / "other"
    other.mkdir()
    keys = {"Auth__ApiKey": "another-key", "Jwt__Key": "another-signing-key-of-forty-characters!"}
    wish = {"text": "x", "in_s": 100}
    with running(embedded(other, environment=keys)) as second:
        write_config(config_path, second.url, "a-wrong-key")
        answer = http.post("/conversations", json=wish)
        assert answer.status_code == 503
        assert "refuses the credentials" in answer.json()["error"]
        assert "a-wrong-key" not in answer.text
        write_config(config_path, second.url, "another-key")
        assert http.post("/conversations", json=wish).status_code == 201


def test_without_config_it_answers_503_until_there_is_one(
    tmp_path: Path, http: httpx2.Client
) -> None:
    wish = {"text": "x", "in_s": 100}
    answer = http.post("/conversations", json=wish)
    assert answer.status_code == 503
    assert "config.json" in answer.json()["error"]
    with running(embedded(tmp_path)) as process:
        write_config(tmp_path / "config.json", process.url)
        assert http.post("/conversations", json=wish).status_code == 201


def test_a_foreign_host_is_refused(api: Process) -> None:
    headers = {"Host": "evil.example"}
    answer = httpx2.get(f"{api.url}/received", headers=headers, trust_env=False)
    assert answer.status_code == 400


def test_both_loopback_families_are_served(tmp_path: Path, api: Process) -> None:
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert httpx2.get(f"http://{host}:{api.port}/health", trust_env=False).status_code == 200


def test_sigterm_ends_it_with_0_and_without_a_traceback(tmp_path: Path, api: Process) -> None:
    httpx2.get(f"{api.url}/health", trust_env=False)
    assert api.stop(signal.SIGTERM) == 0
    assert "Traceback" not in api.log()


def test_a_taken_port_is_named(tmp_path: Path, api: Process) -> None:
    other = tmp_path / "other"
    other.mkdir()
    second = api_server(other, tmp_path / "config.json", api.port).start()
    try:
        assert second.ends() == 1
        assert "address already in use" in second.log().lower()
    finally:
        second.remove()


def test_health_does_not_wait_for_the_scheduler(tmp_path: Path, http: httpx2.Client) -> None:
    write_config(tmp_path / "config.json", f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    assert http.get("/health").json() == {"status": "healthy"}
    assert time.monotonic() - started < 0.5
