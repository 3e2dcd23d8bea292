"""The table of `ps`: what needs attention on top, and why."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from orchestrator.cli.outcome import problems_first

Item = Mapping[str, Any]

_COLUMNS = ("NAME", "STATE", "HEALTH", "PID", "UPTIME", "RESTARTS", "URL")
_DROPPED_FIRST = ("URL", "PID", "RESTARTS")
_NARROW = 80
_COMMAND_CHARACTERS = 50
_EXPLAINED = {"failed", "backoff", "stopping", "exited"}
_COLOURS = {
    "running": 32,
    "completed": 32,
    "healthy": 32,
    "starting": 33,
    "stopping": 33,
    "pending": 33,
    "checking": 33,
    "backoff": 33,
    "failed": 31,
    "unhealthy": 31,
}


def has_colour(environ: Mapping[str, str]) -> bool:
    """Whether stdout wants colours. Source: no-color.org."""
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """Return the columns of the terminal on stdout; None where there is none: nothing is cut."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns


def render(
    items: Sequence[Item],
    *,
    colour: bool,
    width: int | None = None,
    only: Collection[str] | None = None,
) -> list[str]:
    """Return the lines of the table; where it is narrow some columns are left out.

    ``only``: no heading, and no other rows than these, in the same columns.
    """
    columns = list(_COLUMNS)
    rows = [_cells(item) for item in problems_first(items)]
    for dropped in _DROPPED_FIRST:
        if width is not None and width < _NARROW and _width(columns, rows) > width:
            columns.remove(dropped)
    widths = {one: max(len(one), *(len(row[one]) for row in rows), 0) for one in columns}
    lines = ["  ".join(one.ljust(widths[one]) for one in columns).rstrip()] if only is None else []
    for item, row in zip(problems_first(items), rows, strict=True):
        if only is not None and item["name"] not in only:
            continue
        cells = [_paint(row[one].ljust(widths[one]), row[one], on=colour) for one in columns]
        lines.append("  ".join(cells).rstrip())
        told = [*reasons(item), *_alternative(item)]
        lines += [f"  └ {why}" for why in told]
    return lines


def reasons(item: Item) -> list[str]:
    """Return why a service is not simply well."""
    found = []
    state = item["state"]
    if state == "pending" and item["waiting_for"]:
        found.append(f"waits for {waiting_text(item)}")
    if state == "backoff" and item["next_restart_at"]:
        found.append(f"next try {_until(item['next_restart_at'])}")
    cause = item["cause"]
    if cause and (state in _EXPLAINED or item["restarts"]):
        found.append(cause["text"] + (f" (run {cause['run']})" if cause["run"] else ""))
    probe = item["last_probe"]
    if probe and not probe["ok"] and (item["health"] == "unhealthy" or state == "starting"):
        found.append(f"{probe['kind']}: {probe['text']}")
    if item.get("note"):
        found.append(item["note"])
    found += [
        f"alternative {one['index']} was passed over: {one['why']}"
        for one in item.get("alternatives", ())
        if one["why"] and (state == "failed" or one.get("broken"))
    ]
    return [harmless(text) for text in found]


def _alternative(item: Item) -> list[str]:
    """Return which alternative of its `run` a service has, and in short why not one before it."""
    of = item.get("alternatives", ())
    taken = next((one["index"] for one in of if one["taken"]), None)
    if taken is None or item["pid"] is None:
        return []
    words = [
        PurePath(word).name if word.startswith("/") else word for word in item["command"] or ()
    ]
    command = " ".join(words)
    if len(command) > _COMMAND_CHARACTERS:
        command = command[:_COMMAND_CHARACTERS].rpartition(" ")[0] + " …"
    told = [f"alternative {taken} of its run: {command}"]
    # One that is broken stands among the reasons.
    told += [
        f"{one['index']} was passed over: {one['why'].partition('; ')[0]}"
        for one in of
        if one["why"] and not one.get("broken")
    ]
    return [harmless(" · ".join(told))]


def harmless(text: str) -> str:
    """Return a text that may come from a service as one line that only shows itself."""
    flat = " ".join(text.split())
    if flat.isprintable():
        return flat
    from orchestrator.logs.clean import clean

    return clean(flat.encode("utf-8", "replace"), colour=False)


def waiting_text(item: Item) -> str:
    """Return what a pending service waits for, in words."""
    return ", ".join(
        f"{one['service']} ({one['condition']}{'; it failed' if one.get('failed') else ''})"
        for one in item["waiting_for"]
    )


def duration(seconds: float | None) -> str:
    """Return a duration as people read it: `4.2s`, `3m12s`, `2h05m`, `3d04h`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"


def paint(text: str, code: int | str, *, on: bool) -> str:
    """Return the text in a colour, if colours are on."""
    return f"\x1b[{code}m{text}\x1b[0m" if on else text


def _until(moment: str) -> str:
    """Return how long it is until a time in RFC 3339."""
    from datetime import UTC, datetime

    # Only shown; nothing is decided by it.
    left_s = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()  # noqa: TID251
    return f"in {duration(left_s)}" if left_s > 0 else "now"


def _paint(padded: str, word: str, *, on: bool) -> str:
    code = _COLOURS.get(word)
    return paint(padded, code, on=on) if code else padded


def _cells(item: Item) -> dict[str, str]:
    return {
        "NAME": item["name"],
        "STATE": item["state"],
        "HEALTH": item["health"],
        "PID": str(item["pid"] or "-"),
        "UPTIME": duration(item["uptime_s"]),
        "RESTARTS": str(item["restarts"]),
        "URL": harmless(item["url"] or "-"),
    }


def _width(columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> int:
    every = list(rows)
    return sum(max(len(one), *(len(row[one]) for row in every), 0) + 2 for one in columns)
