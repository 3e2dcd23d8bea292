"""Times as .NET writes and reads them: ticks of 100 ns, in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

TICKS_PER_SECOND = 10_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WIDEST_OFFSET = timedelta(hours=14)

_ZONE = r"(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?"
_LENIENT = re.compile(
    r"\s*(?P<year>\d{4})-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?"
    r"(?:(?:[Tt]|\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,32}))?)?\s*" + _ZONE + r")?\s*",
    re.ASCII,
)
_STRICT = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:T(?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,16}))?)?"
    r"(?P<zone>Z|[+-]\d{2}(?::\d{2})?)?)?",
    re.ASCII,
)

Zone = Literal["utc", "offset", "none"]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in ticks since the epoch, and how its zone was written."""

    ticks: int
    zone: Zone

    def __str__(self) -> str:
        return written(self.ticks) + {"utc": "Z", "offset": "+00:00", "none": ""}[self.zone]


def now_ticks(wall_ns: int) -> int:
    """Return ticks since the epoch for nanoseconds since the epoch."""
    return wall_ns // 100


def written(ticks: int) -> str:
    """Return the clock face in UTC, without a zone or trailing zeros of the fraction, as .NET."""
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    face = (EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return face + (f".{fraction:07}".rstrip("0") if fraction else "")


def read_leniently(text: str) -> Moment | None:
    """Read what the tools accept; None for what is no time.

    Blank for the ``T``, no seconds, no time (midnight), no zone (local time of this machine),
    any number of decimals (beyond 100 ns cut off).

    Source: ``DateTime.TryParse`` as far as ISO 8601 goes; its other forms (``1/2/2031``) depend
    on the culture of the machine and are refused.
    """
    return _moment(_LENIENT.fullmatch(text))


def read_strictly(text: str) -> Moment | None:
    """Read what the resource accepts in JSON, the extended profile of ISO 8601; else None."""
    return _moment(_STRICT.fullmatch(text))


def _moment(match: re.Match[str] | None) -> Moment | None:
    if match is None:
        return None
    part = match.groupdict()
    try:
        year, month, day, hour, minute, second = (
            int(part[name] or default) for name, default in _FACE
        )
        face = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the zone comes next
        moment = _in_zone(face, part["zone"])
        whole = (moment - EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError, OSError):
        return None
    fraction = int((part["fraction"] or "0").ljust(7, "0")[:7])
    return Moment(whole * TICKS_PER_SECOND + fraction, _kind(part["zone"]))


_FACE = (("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))


def _in_zone(face: datetime, zone: str | None) -> datetime:
    if zone is None:
        # Python has no local time at the very ends of the calendar.
        return face.replace(tzinfo=UTC) if face.year in {1, 9999} else face.astimezone()
    if zone in "Zz":
        return face.replace(tzinfo=UTC)
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if offset > WIDEST_OFFSET or int(digits[2:]) > 59:
        raise ValueError(zone)
    return face.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset))


def _kind(zone: str | None) -> Zone:
    if zone is None:
        return "none"
    return "utc" if zone in "Zz" else "offset"
