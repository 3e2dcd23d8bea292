"""Times, GUIDs, bodies and settings, read and written."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.errors import Rejected
from orchestrator.scheduler.reading import read_status, read_time, time_on_the_wire
from orchestrator.scheduler.server.bodies import as_text
from orchestrator.scheduler.server.conversations import status_number
from orchestrator.scheduler.server.endpoints import is_web_address, place
from orchestrator.scheduler.server.guids import read_guid
from orchestrator.scheduler.server.moments import (
    EPOCH,
    Moment,
    now_ticks,
    read_leniently,
    read_strictly,
    written,
)
from orchestrator.scheduler.server.settings import (
    ConfigurationRefused,
    Keys,
    is_loopback,
    keys_from,
)
from orchestrator.scheduler.values import STATUSES, Status
from orchestrator.scheduler.wire import base_of

GUID = "0a1b2c3d-0000-1111-2222-0123456789ab"
KEYS = {"Auth__ApiKey": "k", "Jwt__Key": "x" * 32}


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "face"),
    [
        ("2031-01-31T09:30:00Z", "2031-01-31T09:30:00Z"),
        ("2031-01-31T09:30:00.1200000Z", "2031-01-31T09:30:00.12Z"),
        ("2031-01-31T09:30:00.12345678Z", "2031-01-31T09:30:00.1234567Z"),
        ("2031-01-31T09:30:00+02:00", "2031-01-31T07:30:00+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
    ],
)
def test_a_time_is_kept_to_100_ns(text: str, face: str) -> None:
    assert str(read_leniently(text)) == face
    assert str(read_strictly(text)) == face


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))
def test_what_is_written_is_read_again(face: datetime) -> None:
    moment = face.replace(tzinfo=UTC)
    ticks = (moment - EPOCH) // timedelta(microseconds=1) * 10
    assert read_strictly(written(ticks) + "Z") == Moment(ticks, "utc")
    assert read_time(written(ticks)) == moment


@given(st.text(max_size=40))
def test_no_text_makes_the_readers_stumble(text: str) -> None:
    for read in (read_leniently, read_strictly):
        found = read(text)
        assert found is None or str(found)
    guid = read_guid(text)
    assert guid is None or len(guid) == 36
    assert is_web_address(text) in {True, False}
    assert isinstance(status_number(text), int | None)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"], indirect=True)
def test_a_time_without_a_zone_is_this_machines(zone: str) -> None:
    hour = {"Europe/Berlin": "10", "America/New_York": "16"}[zone]
    assert str(read_leniently("2031-07-01T12:00:00")) == f"2031-07-01T{hour}:00:00"
    assert time_on_the_wire("2031-07-01T12:00:00") == f"2031-07-01T{hour}:00:00Z"
    assert time_on_the_wire(datetime(2031, 7, 1, 12)) == f"2031-07-01T{hour}:00:00Z"
    assert str(read_leniently("0001-01-01")) == "0001-01-01T00:00:00"


def test_what_is_sent_is_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert time_on_the_wire(datetime(2031, 1, 1, 5, 30, tzinfo=east)) == "2031-01-01T00:00:00Z"
    assert time_on_the_wire(" 2031-01-01T00:00:00.5Z ") == "2031-01-01T00:00:00.500000Z"
    for text in ("", "x", "2031-13-01", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(Rejected):
            time_on_the_wire(text)


def test_what_is_read_back_without_a_zone_is_utc() -> None:
    face = datetime(2031, 1, 1, 9, tzinfo=UTC)
    for text in ("2031-01-01T09:00:00", "2031-01-01T09:00:00Z", "2031-01-01T10:00:00+01:00"):
        assert read_time(text) == face
    assert read_time("2031-01-01T09:00:00.1234567").microsecond == 123456


def test_a_status_is_read_as_number_and_word() -> None:
    assert [status.number for status in STATUSES] == [0, 1, 2, 3, 4]
    for status in STATUSES:
        assert read_status(status.number) is read_status(status.value) is status
    for strange in (5, -1, "x", None):
        with pytest.raises(ValueError, match="is not a valid Status"):
            read_status(strange)
    assert [status for status in STATUSES if status.is_final] == [
        *(Status.COMPLETED, Status.FAILED, Status.CANCELLED),
    ]


def test_nanoseconds_become_ticks() -> None:
    assert now_ticks(1_000_000_199) == 10_000_001


@pytest.mark.parametrize(
    "text", [GUID, GUID.upper(), f"{{{GUID}}}", f"({GUID})", GUID.replace("-", ""), f" {GUID}\n"]
)
def test_a_guid_has_many_forms(text: str) -> None:
    assert read_guid(text) == GUID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        GUID[:-1],
        f"{{{GUID}",
        f"{{{GUID})",
        GUID.replace("-", "", 1),
        f"{GUID}{GUID}",
        "{}",
    ],
)
def test_what_is_no_guid(text: str) -> None:
    assert read_guid(text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("x", "x"),
        (True, "True"),
        (False, "False"),
        (7, "7"),
        (2.5, "2.5"),
        ([1, "é", None, True], '[1,"é",null,true]'),
        ({"a": {"b": []}}, '{"a":{"b":[]}}'),
    ],
)
def test_arguments_become_text(value: Any, text: str | None) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://x",
        "https://x:1/y?z#f",
        "HTTP://X/",
        " http://x ",
        "http://[::1]:80/",
        "http://ü.de/é",
    ],
)
def test_a_web_address(endpoint: str) -> None:
    assert is_web_address(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("", "x", "http://", "http:///x", "ftp://x", "file:///x", "//x", "http://x:y/"),
        *("http://x:99999/", "http://x:0/", "http://x/a b", "http://x/\r\nHost: y", "http://[::1/"),
        "javascript:alert(1)",
    ],
)
def test_what_is_no_web_address(endpoint: str) -> None:
    assert not is_web_address(endpoint)


def test_the_log_is_told_no_path_and_no_password() -> None:
    assert place("https://user:word@host:8/secret?key=1") == "https://host:8"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:5146/mcp", "http://localhost:5146"),
        ("http://localhost:5146/mcp/", "http://localhost:5146"),
        ("http://localhost:5146", "http://localhost:5146"),
        ("https://host/scheduler/mcp", "https://host/scheduler"),
        ("http://[::1]:1/", "http://[::1]:1"),
    ],
)
def test_the_dialect_hangs_beside_the_mcp_endpoint(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        *(("localhost", True), ("LOCALHOST", True), ("127.0.0.1", True), ("127.9.9.9", True)),
        *(("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("", False)),
        *(("192.168.0.1", False), ("example.org", False), ("127.0.0.1.example.org", False)),
    ],
)
def test_what_only_this_machine_can_reach(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    more = {"Jwt__Issuer": "i", "Jwt__Audience": "a", "Jwt__ExpiryMinutes": "5"}
    keys = keys_from({**KEYS, **more}, "0.0.0.0", tmp_path / "d")
    assert keys == Keys("k", "x" * 32, "i", "a", 300)
    assert not list(tmp_path.iterdir())
    assert "x" * 32 not in repr(keys)
    assert "'k'" not in repr(keys)


def test_keys_that_are_not_set_are_drawn_once(tmp_path: Path) -> None:
    first = keys_from({}, "localhost", tmp_path / "deep" / "d")
    assert keys_from({}, "localhost", tmp_path / "deep" / "d") == first
    assert first.api_key != first.signing_key
    mixed = keys_from({"Auth__ApiKey": "mine"}, "localhost", tmp_path / "deep" / "d")
    assert (mixed.api_key, mixed.signing_key) == ("mine", first.signing_key)


@pytest.mark.parametrize("environment", [{}, {"Auth__ApiKey": "k"}, {**KEYS, "Jwt__Key": ""}])
def test_others_are_not_served_without_keys(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationRefused, match="can be reached from other machines"):
        keys_from(environment, "0.0.0.0", tmp_path / "d")


def test_a_spoilt_file_of_keys_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.keys").write_text("nonsense\n")
    with pytest.raises(ConfigurationRefused, match="must stand in it"):
        keys_from({}, "localhost", tmp_path / "d")
