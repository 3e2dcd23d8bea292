"""Places where a test may have the shim killed; inert unless a request names them."""

from __future__ import annotations

import os

from orchestrator.shim import signals

POINTS = (
    "spawn.before_record",
    "rotate.after_rename",
    "rotate.after_open",
    "exit.before_reap",
    "exit.before_record",
)

_armed: dict[str, str] = {}


def arm(wanted: dict[str, str]) -> None:
    """Take over the points of a request. Raises ValueError for one that does not exist."""
    unknown = [point for point in wanted if point not in POINTS]
    if unknown:
        raise ValueError(f"no such failpoint: {', '.join(unknown)}")
    _armed.update(wanted)


def reach(point: str) -> None:
    """Die here by SIGKILL if the point is armed."""
    if _armed.get(point) == "kill":
        os.kill(os.getpid(), signals.SIGKILL)
