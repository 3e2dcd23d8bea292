"""What the embedded scheduler keeps to itself, and whom it keeps out."""

import re
import stat
from pathlib import Path

import httpx2
import pytest

from tests.integration.scheduler.stage import (
    API_KEY,
    ENVIRONMENT,
    SIGNING_KEY,
    Caller,
    Process,
    Receiver,
    caller,
    embedded,
    running,
    soon,
)

ROUTES = [
    ("GET", "/"),
    ("GET", "/health"),
    ("POST", "/health"),
    ("POST", "/api/auth/token"),
    ("POST", "/api/auth/validate"),
    ("GET", "/api/mcptools/tools"),
    ("POST", "/api/mcptools/execute"),
    ("GET", "/api/conversations"),
    ("POST", "/mcp"),
    ("GET", "/mcp/tools"),
    ("POST", "/mcp/execute"),
    ("GET", "/nope"),
]
NO_KEYS = {"Auth__ApiKey": "", "Jwt__Key": ""}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "localhost.evil", "[::2]"])
def test_a_foreign_host_is_misdirected_on_every_route(
    guest: Caller, method: str, path: str, host: str
) -> None:
    answer = guest.http.request(method, path, headers={"Host": host})
    assert (answer.status_code, answer.content) == (421, b"")


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_foreign_page_is_forbidden_on_every_route(
    guest: Caller, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = guest.http.request(method, path, headers=headers)
    assert (answer.status_code, answer.content) == (403, b"")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "localhost."])
def test_our_own_names_are_known_whatever_the_port(guest: Caller, host: str) -> None:
    for written in (host, f"{host}:9999"):
        headers = {"Host": written, "Origin": f"http://{written}"}
        assert guest.http.get("/health", headers=headers).status_code == 200


def test_more_host_names_can_be_allowed(tmp_path: Path) -> None:
    with running(embedded(tmp_path, "--allow-host", "box.example")) as process:
        headers = {"Host": "box.example:5146"}
        answer = httpx2.get(f"{process.url}/health", headers=headers, trust_env=False)
        assert answer.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("missing", ["Auth__ApiKey", "Jwt__Key"])
def test_no_address_for_others_without_keys(tmp_path: Path, host: str, missing: str) -> None:
    environment = {**ENVIRONMENT, missing: ""}
    process = embedded(tmp_path, "--host", host, environment=environment).start()
    try:
        assert process.ends() == 78
        assert missing in process.log()
        assert "Traceback" not in process.log()
        assert not list(tmp_path.glob("*.sqlite"))
    finally:
        process.remove()


def test_with_keys_it_serves_others_by_address(tmp_path: Path) -> None:
    with running(embedded(tmp_path, "--host", "0.0.0.0")) as process:
        for host, status in (("192.0.2.7", 200), ("127.0.0.1", 200), ("evil.example", 421)):
            url = f"http://127.0.0.1:{process.port}/health"
            answer = httpx2.get(url, headers={"Host": host}, trust_env=False)
            assert answer.status_code == status


def test_a_short_signing_key_is_refused(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "Jwt__Key": "short-and-secret"}
    process = embedded(tmp_path, environment=environment).start()
    try:
        assert process.ends() == 78
        assert "at least 32 bytes" in process.log()
        assert "short-and-secret" not in process.log()
    finally:
        process.remove()


def test_keys_that_nobody_set_are_drawn_once_and_kept_private(tmp_path: Path) -> None:
    for _ in range(2):
        with running(embedded(tmp_path, environment=NO_KEYS)) as process:
            path = tmp_path / "scheduler.sqlite.keys"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            kept = dict(line.split("=", 1) for line in path.read_text().splitlines())
            assert str(path) in process.log()
            assert not [key for key in kept.values() if key in process.log()]
            with caller(process.url, kept["Auth__ApiKey"]) as asked:
                assert asked.ask("GET", "/mcp/tools").status_code == 200
            with pytest.raises(AssertionError, match="401"):
                caller(process.url, "").__enter__()


def test_the_data_are_for_this_user_only(scheduler: Process, tmp_path: Path) -> None:
    for path in tmp_path.glob("scheduler.sqlite*"):
        if path.suffix != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_no_secret_reaches_the_log_or_an_answer(
    scheduler: Process, client: Caller, receiver: Receiver
) -> None:
    text, path = "the-secret-text", "/the-secret-path?token=the-secret-query"
    url = f"http://user:the-secret-password@127.0.0.1:{receiver.port}{path}"
    client.becomes(client.schedule(text, soon(), url), "Completed")
    receiver.status = 500
    client.becomes(client.schedule(text, soon(), url), "Failed")
    wrong = {"clientId": "me", "apiKey": "the-secret-guess"}
    answer = client.ask("POST", "/api/auth/token", json=wrong)
    assert "the-secret" not in answer.text
    client.ask("POST", "/api/auth/token", content=b'{"apiKey":"the-secret-', headers=wrong_type())
    token = client.headers["Authorization"].split()[1]
    scheduler.stop()
    for secret in (API_KEY, SIGNING_KEY, token, "the-secret"):
        assert secret not in scheduler.log()
    assert re.search(r"delivered to http://127\.0\.0\.1:\d+$", scheduler.log(), re.MULTILINE)


def wrong_type() -> dict[str, str]:
    return {"content-type": "application/json"}


def test_deep_nesting_is_refused_and_survived(client: Caller, scheduler: Process) -> None:
    headers = {"content-type": "application/json"}
    for body in (b"[" * 500_000, b'{"name":' * 100_000):
        answer = client.ask("POST", "/api/mcptools/execute", content=body, headers=headers)
        assert answer.status_code == 400
    assert client.ask("GET", "/health").status_code == 200
    assert "Traceback" not in scheduler.log()


def test_a_body_without_a_length_is_cut_off_at_the_limit(client: Caller) -> None:
    sent = 0

    def body() -> object:
        nonlocal sent
        for _ in range(1000):
            sent += 65536
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    try:
        answer = client.ask("POST", "/api/mcptools/execute", content=body(), headers=headers)
        assert answer.status_code == 413
    except httpx2.TransportError:  # the answer was overtaken by the closing of the connection
        assert sent < 60_000_000
    assert client.ask("GET", "/health").status_code == 200
