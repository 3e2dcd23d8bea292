"""The sentences of causes: how a run ended, as people say it."""

from orchestrator.core.events import Exited
from orchestrator.core.status import Cause, CauseKind, Status
from orchestrator.spec.quantities import signal_name

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def how_it_ended(status: Status, event: Exited, now: float) -> Cause:
    """Return the cause of an end that nobody asked for."""
    lasted = "" if status.started_at is None else f" after {readable(now - status.started_at)}"
    kind = CauseKind.EXIT if event.signal is None else CauseKind.SIGNAL
    if event.signal is not None:
        text = f"killed by SIG{signal_name(event.signal)} (not by us){lasted}"
    elif event.code is not None:
        text = f"exit code {event.code}{lasted}"
    else:
        text = f"ended{lasted}, nobody could see how"
    return and_(Cause(kind, text, status.run), event.text)


def how_it_stopped(status: Status, event: Exited) -> Cause:
    """Return the cause of an end that was asked for."""
    if status.started_at is None:
        text = "stopped before it ran"
    elif status.killed_at is not None:
        text = _killed_after(status.killed_at - status.since)
    elif event.signal is not None:
        text = f"stopped (SIG{signal_name(event.signal)})"
    else:
        text = "stopped" if event.code is None else f"stopped (exit {event.code})"
    return and_(Cause(CauseKind.STOP, text, status.run), event.text)


def and_(cause: Cause, more: str) -> Cause:
    """Return the cause with more said; as it is when there is no more to say."""
    return Cause(cause.kind, f"{cause.text}; {more}", cause.run) if more else cause


def readable(seconds: float) -> str:
    """Return a duration with as much as people read of it: ``310 ms``, ``4.2 s``, ``1 h 5 min``."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{round(seconds, 1):g} s"
    rest, words = round(seconds), []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2])


def _killed_after(grace_s: float) -> str:
    return f"killed after {readable(grace_s)} of grace" if grace_s > 0 else "killed at once"
