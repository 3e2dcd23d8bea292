"""The cadence of a service's probes, from the first try to the last."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.core.ports import Clock
from orchestrator.system.lag import LagMeter
from orchestrator.system.probes import ProbeResult
from orchestrator.system.target import Target

__all__ = ["Target", "watch"]

_SHARE = 0.05
_MIN_S, _MAX_S = 0.01, 1.0
_JITTER = 0.1
_EXEC_REST = 4.0
_LATE_SHARE = 0.5
_LAG_STEPS = 10


async def watch(
    target: Target,
    clock: Clock,
    rng: random.Random,
    *,
    report: Callable[[ProbeResult], None],
    healthy: Callable[[], None],
    unhealthy: Callable[[str], None],
) -> None:
    """Probe until cancelled, one probe at a time.

    While starting, the first try is at once and the next after 5 % of the time waited so far, or as
    soon as somebody listens; once healthy, every interval. So many failures in a row as the service
    allows make it unhealthy. A failure while we ourselves were held up is none.
    """
    started_s = clock.monotonic()
    was_healthy, is_healthy, failures = False, False, 0
    while True:
        results, bad, is_ours = await _probed(target)
        for result in results:
            report(result)
        if bad is None:
            failures = 0
            if not is_healthy:
                was_healthy = is_healthy = True
                healthy()
        elif is_healthy and not is_ours:
            failures += 1
            if failures >= target.health.failures:
                is_healthy = False
                unhealthy(bad.text)
        if was_healthy:
            await clock.sleep(_between(target, rng, results))
        elif target.awaits is not None:
            port = target.awaits
            await target.listeners.appeared(port, since_s=started_s, within_s=_MAX_S)
        else:
            await clock.sleep(_until_next_try(clock.monotonic() - started_s, results))


async def _probed(target: Target) -> tuple[list[ProbeResult], ProbeResult | None, bool]:
    """Return what was found, the failure in it, and whether it is our own: then none counts."""
    timeout_s = target.health.timeout_s
    with LagMeter(timeout_s / _LAG_STEPS) as meter:
        results = await target.probe()
    bad = next((result for result in results if not result.ok), None)
    is_ours = bad is not None and meter.lag_s > _LATE_SHARE * timeout_s
    if bad is not None and is_ours:
        late = f"{bad.text} (not counted: the supervisor itself was held up)"
        results[-1] = bad = replace(bad, text=late)
    return results, bad, is_ours


def _between(target: Target, rng: random.Random, results: Sequence[ProbeResult]) -> float:
    interval_s = target.health.interval_s * (1 + _JITTER * (2 * rng.random() - 1))
    return max(interval_s, _EXEC_REST * _command_took_s(results))


def _until_next_try(waited_s: float, results: Sequence[ProbeResult]) -> float:
    share_s = min(_MAX_S, max(_MIN_S, _SHARE * waited_s))
    return max(share_s, _EXEC_REST * _command_took_s(results))


def _command_took_s(results: Sequence[ProbeResult]) -> float:
    return next((result.duration_s for result in results if result.kind == "exec"), 0.0)
