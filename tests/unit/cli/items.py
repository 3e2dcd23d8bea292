"""Services as `ps --format json` shows them, with what a test says of them."""

from typing import Any

Item = dict[str, Any]

SHAPE: Item = {
    "name": "web",
    "state": "running",
    "health": "-",
    "pid": 4121,
    "run": 1,
    "restarts": 0,
    "started_at": "2026-11-23T01:02:03.456Z",
    "uptime_s": 61.2,
    "waiting_for": [],
    "next_restart_at": None,
    "exit_code": None,
    "signal": None,
    "cause": None,
    "url": None,
    "ports": [],
    "cpu_percent": 0.4,
    "rss_bytes": 133000000,
    "last_probe": None,
    "log_file": "logs/web.log",
    "command": ["serve"],
    "alternative": 0,
    "wanted": True,
    "note": None,
    "oneshot": False,
    "has_probe": False,
    "alternatives": [],
}
_AT_REST = {"stopped", "pending", "completed", "exited", "failed", "backoff"}


def item(name: str, state: str = "running", **keys: Any) -> Item:
    """Return one service; at rest it has no process."""
    resting = {"pid": None, "uptime_s": None, "started_at": None} if state in _AT_REST else {}
    return SHAPE | {"name": name, "state": state} | resting | keys


def waits(service: str, condition: str = "healthy", *, failed: bool = False) -> Item:
    """Return one thing that a pending service waits for."""
    return {"service": service, "condition": condition, "failed": failed}


def pending(name: str, *needs: Item | str) -> Item:
    """Return a service that waits for others."""
    waiting = [waits(one) if isinstance(one, str) else one for one in needs]
    return item(name, "pending", waiting_for=waiting)


def world(*items: Item) -> dict[str, Item]:
    """Return the services by name."""
    return {one["name"]: one for one in items}
