"""When a command that waits has its answer, and which; pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Item = Mapping[str, Any]

SETTLED_S = 1.0
"""A service without a probe is taken for well once its run has lasted this long."""

_ENDED = {"completed", "exited", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is decided, and which services are there only for a failure's sake."""

    done: bool
    failed: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether anything failed, or is not there because something else did."""
        return bool(self.failed or self.behind)


def is_well(item: Item, running_for_s: float) -> bool:
    """Whether a service runs and is healthy; without a probe, once its run has lasted a second."""
    if item["state"] != "running":
        return False
    if item["has_probe"]:
        return bool(item["health"] == "healthy")
    return running_for_s >= SETTLED_S


def has_begun(name: str, items: Mapping[str, Item]) -> bool:
    """Whether a service was spawned, was refused, or waits for others."""
    item = items[name]
    if item["state"] == "pending":
        return any(not _is_met(items.get(one["service"]), one) for one in item["waiting_for"])
    return item["state"] != "starting" or item["pid"] is not None


def is_behind(name: str, items: Mapping[str, Item]) -> bool:
    """Whether a pending service waits for something that will not come true by itself."""
    return _is_behind(name, items, set())


def _is_behind(name: str, items: Mapping[str, Item], seen: set[str]) -> bool:
    item = items.get(name)
    if item is None or item["state"] != "pending" or name in seen:
        return False
    seen.add(name)
    return any(
        _is_hopeless(items.get(one["service"]), one) or _is_behind(one["service"], items, seen)
        for one in item["waiting_for"]
    )


def _is_hopeless(needed: Item | None, one: Mapping[str, Any]) -> bool:
    """Whether a condition will not come true before somebody mends or starts that service."""
    return needed is None or (needed["state"] in _ENDED and not _is_met(needed, one))


def _is_met(needed: Item | None, one: Mapping[str, Any]) -> bool:
    """Whether a condition is true by now: who waits for it hears of it a moment later."""
    if needed is None:
        return False
    state = needed["state"]
    match one["condition"]:
        case "completed":
            return bool(state == "completed")
        case "started":
            live = state in {"starting", "running"} and needed["pid"] is not None
            return live or state in {"completed", "exited"}
        case _:
            is_healthy = not needed["has_probe"] or needed["health"] == "healthy"
            return bool(state == "completed" or (state == "running" and is_healthy))


def waited(
    names: Iterable[str], items: Mapping[str, Item], running_for_s: Callable[[str], float]
) -> Verdict:
    """Decide for `up --wait`: each healthy, completed, exited, failed, or pending behind such."""
    failed, behind, still = [], [], []
    for name in names:
        item = items.get(name)
        if item is None:
            continue
        if item["state"] == "failed":
            failed.append(name)
        elif item["state"] in _ENDED or is_well(item, running_for_s(name)):
            continue
        elif is_behind(name, items):
            behind.append(name)
        else:
            still.append(name)
    return Verdict(not still, tuple(failed), tuple(behind), tuple(still))


def reached(
    condition: str,
    names: Iterable[str],
    items: Mapping[str, Item],
    running_for_s: Callable[[str], float],
) -> Verdict:
    """Decide for `wait --for`: all there, or some that cannot get there by themselves."""
    failed, still = [], []
    for name in names:
        item = items[name]
        if _is_there(condition, item, running_for_s(name)):
            continue
        gone = item["state"] in _ENDED and condition != "stopped"
        if gone or is_behind(name, items):
            failed.append(name)
        still.append(name)
    return Verdict(not still or bool(failed), tuple(failed), (), tuple(still))


def _is_there(condition: str, item: Item, running_for_s: float) -> bool:
    state = item["state"]
    match condition:
        case "healthy":
            return state == "completed" or is_well(item, running_for_s)
        case "started":
            live = state in {"starting", "running"} and item["pid"] is not None
            return live or state in {"completed", "exited"}
        case "completed":
            return bool(state == "completed" or (state == "exited" and not item["oneshot"]))
        case _:
            # No process, whatever the reason.
            return item["pid"] is None and state not in {"starting", "stopping"}


def is_over(items: Iterable[Item]) -> bool:
    """Whether nothing runs and nothing is due to: what an attached `up` waits for to end."""
    every = {item["name"]: item for item in items}
    return all(item["state"] in _ENDED or is_behind(name, every) for name, item in every.items())


def problems_first(items: Sequence[Item]) -> list[Item]:
    """Return the services with what needs attention on top, else in the file's order."""
    rank = {"failed": 0, "backoff": 1}
    return sorted(
        items,
        key=lambda item: 2 if item["health"] == "unhealthy" else rank.get(item["state"], 3),
    )
