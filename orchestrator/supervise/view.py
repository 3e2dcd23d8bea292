"""A unit as the plain values that `ps` shows; the shape is a contract, keys are only ever added."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.core.status import Health, State
from orchestrator.spec.quantities import signal_name
from orchestrator.supervise.dependencies import Waiting
from orchestrator.supervise.unit import Unit
from orchestrator.system.usage import Usage

SCHEMA = 1


def timestamp(wall_s: float | None) -> str | None:
    """Return RFC 3339 in UTC with milliseconds and ``Z``; None stays None."""
    if wall_s is None:
        return None
    moment = datetime.fromtimestamp(wall_s, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def item(
    unit: Unit,
    *,
    now: float,
    wall: float,
    waiting: Iterable[Waiting],
    usage: Usage | None,
    log_file: str,
    redact: Callable[[str], str],
) -> dict[str, Any]:
    """Return one service as `ps --format json` prints it; ``wall`` is seconds since the epoch."""
    status, service = unit.status, unit.service
    lives = status.started_at is not None and status.alive
    uptime_s = (
        round(now - status.started_at, 3) if lives and status.started_at is not None else None
    )
    cause = status.cause
    return {
        "name": service.name,
        "state": status.state.value,
        "health": status.health.value,
        "pid": status.pid,
        "run": status.run,
        "restarts": status.restarts,
        "started_at": timestamp(wall - uptime_s) if uptime_s is not None else None,
        "uptime_s": uptime_s,
        "waiting_for": [
            {"service": one.service, "condition": one.condition.value, "failed": one.failed}
            for one in waiting
        ],
        "next_restart_at": timestamp(wall + max(0.0, status.retry_at - now))
        if status.state is State.BACKOFF and status.retry_at is not None
        else None,
        "exit_code": status.exit_code,
        "signal": signal_name(status.exit_signal) if status.exit_signal else None,
        "cause": {"kind": cause.kind.value, "text": redact(cause.text), "run": cause.run}
        if cause
        else None,
        "url": unit.url,
        "ports": _ports(unit),
        "cpu_percent": usage.cpu_percent if usage else None,
        "rss_bytes": usage.rss_bytes if usage else None,
        "last_probe": _probe(unit, redact),
        "log_file": log_file,
        "command": [redact(word) for word in unit.command],
        "alternative": unit.chosen.index if unit.chosen else None,
        "wanted": status.wanted,
        "note": redact(unit.note) if unit.note else None,
        "oneshot": service.oneshot,
        "has_probe": service.has_probe,
        "alternatives": _alternatives(unit),
    }


def is_well(unit: Unit) -> bool:
    """Whether it is running and, where it is probed, healthy."""
    status = unit.status
    return status.state is State.RUNNING and status.health in {Health.HEALTHY, Health.NONE}


def _probe(unit: Unit, redact: Callable[[str], str]) -> dict[str, Any] | None:
    if unit.last_probe is None:
        return None
    return {**unit.last_probe, "text": redact(str(unit.last_probe["text"]))}


def _ports(unit: Unit) -> Sequence[int]:
    return [unit.port] if unit.port is not None else []


def _alternatives(unit: Unit) -> list[dict[str, Any]]:
    if unit.chosen is None or len(unit.service.run) < 2:
        return []
    why = dict(unit.chosen.skipped)
    return [
        {
            "index": index,
            "taken": index == unit.chosen.index,
            "why": why.get(index),
            "broken": index in unit.chosen.broken,
        }
        for index in range(len(unit.service.run))
    ]
