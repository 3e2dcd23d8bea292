"""Quantities as users write them."""

import math
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.quantities import (
    format_duration,
    format_size,
    parse_duration,
    parse_flag,
    parse_number,
    parse_port,
    parse_port_number,
    parse_signal,
    parse_size,
    parse_whole,
    signal_name,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("0.1s", 0.1),
        (" 3 ", 3.0),
        ("1.5", 1.5),
        (0, 0.0),
        (2, 2.0),
        (2.5, 2.5),
        ("0", 0.0),
    ],
)
def test_a_duration_has_units_or_is_seconds(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "s",
        "10x",
        "10 seconds",
        "-1s",
        "1s2",
        "\u0661s",
        "1e3",
        "9" * 401,
        -1,
        math.nan,
        math.inf,
        10**400,
        10**9 + 1,
        "100000d",
        True,
        None,
        [1],
        {},
    ],
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (0.00025, "0.25ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59, "59s"),
        (60, "1m"),
        (90, "1m30s"),
        (90.5, "90.5s"),
        (120, "2m"),
        (3600, "1h"),
        (3661, "1h1m1s"),
        (86400, "24h"),
    ],
)
def test_a_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 1e9))
def test_a_duration_that_is_written_is_read_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [
        ("10MiB", 10 * 1024**2),
        ("10MB", 10_000_000),
        ("1.5KiB", 1536),
        ("1 gib", 1024**3),
        ("5B", 5),
        ("5", 5),
        (0, 0),
        (4096, 4096),
    ],
)
def test_a_size_has_units_or_is_bytes(value: object, size_bytes: int) -> None:
    assert parse_size(value) == size_bytes


@pytest.mark.parametrize(
    "value", ["", "MiB", "1TiB", "-1", "1e3", "9" * 401, -1, 1.5, 2**63, True, None, [1]]
)
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_size(value)


@given(st.integers(0, 2**62))
def test_a_size_that_is_written_is_read_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize("value", ["TERM", "SIGTERM", "term", " Term ", 15, "15"])
def test_a_signal_has_a_name_or_a_number(value: object) -> None:
    assert parse_signal(value) == signal.SIGTERM


@pytest.mark.parametrize("value", ["TREM", "", 0, 99, "99", True, None, "²"])
def test_anything_else_is_no_signal(value: object) -> None:
    with pytest.raises(ValueError, match="is not a signal of this system"):
        parse_signal(value)


def test_a_signal_is_shown_by_its_short_name() -> None:
    assert signal_name(9) == "KILL"
    assert signal_name(33) == "33"


@pytest.mark.parametrize("value", [True, "true", "Yes", " on "])
def test_people_say_yes_in_several_ways(value: object) -> None:
    assert parse_flag(value) is True


@pytest.mark.parametrize("value", [False, "false", "no", "OFF"])
def test_and_no_as_well(value: object) -> None:
    assert parse_flag(value) is False


@pytest.mark.parametrize("value", [0, 1, "1", "", None, []])
def test_anything_else_is_neither(value: object) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        parse_flag(value)


def test_a_whole_number_may_be_text() -> None:
    assert [parse_whole(value) for value in (5, "5", " -3 ")] == [5, 5, -3]
    for value in (True, 1.0, "1.0", "", "x", None, "9" * 19):
        with pytest.raises(ValueError, match="must be a whole number"):
            parse_whole(value)


def test_a_number_may_be_text() -> None:
    assert [parse_number(value) for value in (5, 0.5, "0.5", " -3 ")] == [5.0, 0.5, 0.5, -3.0]
    for value in (True, "", "x", None, math.nan, math.inf, "nan", 10**400, "1e10"):
        with pytest.raises(ValueError, match="must be a number"):
            parse_number(value)


def test_a_port_is_a_number_or_auto() -> None:
    assert [parse_port(value) for value in (1, "65535", " 80 ", "auto")] == [1, 65535, 80, "auto"]
    for value in (0, 65536, -1, True, "x", None, 80.0, "\u0661", [80]):
        with pytest.raises(ValueError, match="is neither a port from 1 to 65535 nor auto"):
            parse_port(value)
    with pytest.raises(ValueError, match="'auto' is no port from 1 to 65535"):
        parse_port_number("auto")
    with pytest.raises(ValueError, match="a mapping is no port"):
        parse_port_number({})


def test_a_long_text_is_shown_short_in_a_message() -> None:
    with pytest.raises(ValueError, match="x…' is no port"):
        parse_port_number("x" * 1000)
