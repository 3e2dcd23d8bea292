"""CPU and memory of processes, read when somebody asks."""

from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree uses: CPU in percent of one core since the last look, memory in bytes."""

    cpu_percent: float | None
    rss_bytes: int | None


class UsageMeter:
    """Remembers the processes it was asked for, because CPU use is a difference of two looks."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def usage(self, pids: Iterable[int]) -> Usage | None:
        """Return the sum over ``pids``; None when none of them lives. The first look has no CPU."""
        rss_bytes, cpu, found, seen_before = 0, 0.0, False, False
        for pid in pids:
            try:
                fresh = psutil.Process(pid)
                known = self._known.get(pid)
                if known != fresh:
                    known = self._known[pid] = fresh
                else:
                    seen_before = True
                with known.oneshot():
                    cpu += known.cpu_percent(None)
                    rss_bytes += known.memory_info().rss
                found = True
            except psutil.Error:
                self._known.pop(pid, None)
        if not found:
            return None
        return Usage(round(cpu, 1) if seen_before else None, rss_bytes)

    def forget_dead(self) -> None:
        """Let go of processes that are no more."""
        self._known = {pid: one for pid, one in self._known.items() if one.is_running()}
