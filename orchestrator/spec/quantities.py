"""Durations, sizes and signals as users write them."""

import re
import signal as signals

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
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
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_duration(value: object) -> float:
    """Return seconds for ``500ms``, ``10s``, ``1m30s``, or a number of seconds.

    Raises:
        ValueError: it is not a duration, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a duration such as 500ms, 10s or 1m30s")  # noqa: TRY004
    if isinstance(value, str):
        text = value.strip().replace(" ", "")
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        pieces = _DURATION.findall(text)
        if not pieces or "".join(number + unit for number, unit in pieces) != text:
            raise ValueError(f"{value!r} is not a duration such as 500ms, 10s or 1m30s")
        return sum(float(number) * _UNITS_S[unit] for number, unit in pieces)
    if value < 0 or value != value or value == float("inf"):
        raise ValueError("must be a duration of zero or more")
    return float(value)


def format_duration(seconds: float) -> str:
    """Return the duration as users write it: ``500ms``, ``10s``, ``1m30s``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    if seconds < 60 or seconds != int(seconds):
        return f"{seconds:g}s"
    text, rest = "", int(seconds)
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text


def parse_size(value: object) -> int:
    """Return bytes for ``10MiB`` (powers of 1024), ``10MB`` (of 1000), or a number of bytes.

    Raises:
        ValueError: it is not a size, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].upper() not in _UNITS_BYTES:
        raise ValueError(f"{value!r} is not a size such as 10MiB, 10MB or 4096")
    return int(float(match[1]) * _UNITS_BYTES[match[2].upper()])


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
        if text.isdigit():
            return signals.Signals(int(text)).value
        return signals.Signals["SIG" + text.removeprefix("SIG")].value
    except (KeyError, ValueError):
        raise ValueError(f"{value!r} is not a signal of this system, such as TERM or INT") from None


def signal_name(number: int) -> str:
    """Return a signal's short name, ``KILL`` for 9; the number of one that has none."""
    try:
        return signals.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)
