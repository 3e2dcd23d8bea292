"""Durations, sizes, signals, ports and yes-or-no, as users write them."""

import math
import re
import signal as signals
from decimal import Decimal
from typing import Literal

_UNITS_S = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_LONGEST_S = 10**9
_LONGEST_TEXT = 400
_UNITS_BYTES = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_LARGEST_BYTES = 2**62
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PORT = re.compile(r"\d{1,5}", re.ASCII)


def parse_duration(value: object) -> float:
    """Return seconds for ``500ms``, ``10s``, ``1m30s``, or a number of seconds.

    Raises:
        ValueError: it is not a duration, is negative, or longer than thirty years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a duration such as 500ms, 10s or 1m30s")  # noqa: TRY004
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"{_shown(value)} is not a duration such as 500ms, 10s or 1m30s")
    if not 0 <= seconds <= _LONGEST_S:
        raise ValueError("must be a duration from zero to thirty years")
    return float(seconds)


def _seconds(value: str | float) -> Decimal | None:
    if not isinstance(value, str):
        try:
            return Decimal(str(float(value))) if value == value else None
        except OverflowError:
            return Decimal("Infinity")
    text = value.strip().replace(" ", "")
    if len(text) > _LONGEST_TEXT:
        return None
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    pieces = _DURATION.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return None
    return sum((Decimal(number) * _UNITS_S[unit] for number, unit in pieces), Decimal(0))


def format_duration(seconds: float) -> str:
    """Return the duration as users write it: ``500ms``, ``10s``, ``1m30s``; nothing is rounded."""
    exact = Decimal(repr(float(seconds)))
    if 0 < exact < 1:
        return f"{_plain(exact * 1000)}ms"
    if exact < 60 or exact != int(exact):
        return f"{_plain(exact)}s"
    text, rest = "", int(exact)
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_size(value: object) -> int:
    """Return bytes for ``10MiB`` (powers of 1024), ``10MB`` (of 1000), or a number of bytes.

    Raises:
        ValueError: it is not a size, is negative, or larger than any file.
    """
    size = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = Decimal(int(value))
    elif isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        match = _SIZE.fullmatch(value.strip())
        factor = _UNITS_BYTES.get(match[2].upper()) if match else None
        size = Decimal(match[1]) * factor if match and factor else None
    if size is None or not 0 <= size <= _LARGEST_BYTES:
        raise ValueError(f"{_shown(value)} is not a size such as 10MiB, 10MB or 4096")
    return int(size)


def format_size(size_bytes: int) -> str:
    """Return the size as users write it, in powers of 1024 where they divide it."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def parse_signal(value: object) -> int:
    """Return the number of a signal named as ``TERM``, ``SIGTERM`` or ``15``.

    Raises:
        ValueError: there is no such signal on this system.
    """
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return signals.Signals(value).value
        text = str(value).strip().upper()
        if text.isdecimal():
            return signals.Signals(int(text)).value
        return signals.Signals["SIG" + text.removeprefix("SIG")].value
    except (KeyError, ValueError):
        raise ValueError(
            f"{_shown(value)} is not a signal of this system, such as TERM or INT"
        ) from None


def signal_name(number: int) -> str:
    """Return a signal's short name, ``KILL`` for 9; the number of one that has none."""
    try:
        return signals.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def parse_flag(value: object) -> bool:
    """Return what `true`, `false` and YAML's other words for them mean.

    Raises:
        ValueError: it is none of them. Numbers are none.
    """
    if isinstance(value, bool):
        return value
    found = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be true or false")
    return found


def parse_whole(value: object) -> int:
    """Return a whole number, also from the text that a variable left.

    Raises:
        ValueError: it is not one. `true` is none, and 1.5 is not cut off.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    raise ValueError("must be a whole number")


def parse_number(value: object) -> float:
    """Return a finite number, also from the text that a variable left.

    Raises:
        ValueError: it is not one.
    """
    try:
        text = isinstance(value, str | int | float) and not isinstance(value, bool)
        number = float(value) if text else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LONGEST_S:  # what is no number compares with nothing
        raise ValueError("must be a number")
    return number


def parse_port(value: object) -> int | Literal["auto"]:
    """Return a TCP port, or ``auto``.

    Raises:
        ValueError: it is neither.
    """
    text = value.strip() if isinstance(value, str) else str(value)
    if text == "auto":
        return "auto"
    try:
        return parse_port_number(value)
    except ValueError:
        raise ValueError(f"{_shown(value)} is neither a port from 1 to 65535 nor auto") from None


def parse_port_number(value: object) -> int:
    """Return a TCP port.

    Raises:
        ValueError: it is not a number from 1 to 65535.
    """
    text = value.strip() if isinstance(value, str) else str(value)
    whole = not isinstance(value, bool) and _PORT.fullmatch(text) is not None
    if not whole or not 1 <= int(text) <= 65535:
        raise ValueError(f"{_shown(value)} is no port from 1 to 65535")
    return int(text)


def _shown(value: object) -> str:
    """Return the value for a message: short, and as it was written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    text = str(getattr(value, "text", value))
    text = text if len(text) <= 40 else f"{text[:39]}…"
    return repr(text) if isinstance(value, str) else text
