"""Turns the news of shims into events of the core, and into what people are told."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.core import events as news
from orchestrator.core.status import State
from orchestrator.supervise.lastwords import reason_of
from orchestrator.supervise.supervisor import Supervisor
from orchestrator.supervise.unit import LiveRun, Unit
from orchestrator.system import ports

logger = logging.getLogger(__name__)


class Hearing:
    """What shims say of their runs, told to the supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def listener(self, unit: Unit) -> Callable[[dict[str, Any]], None]:
        """Return what takes the events of the unit's shim."""

        def on_event(message: dict[str, Any]) -> None:
            self._heard(unit, message)

        return on_event

    def _heard(self, unit: Unit, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "spawned":
                self.note_live(unit, message)
                self._tell(unit, news.Spawned(message["run"], message["pid"]))
            case "refused":
                self._tell(
                    unit,
                    news.SpawnRefused(message["run"], message["text"], message["permanent"]),
                )
            case "exit":
                self.exited(unit, message)
            case "busy":
                self._busy(unit)
            case "signalled" | "killing":
                if unit.acknowledged is not None:
                    unit.acknowledged.set()
            case "stuck":
                self._stuck(unit, message)
            case "log":
                self._logging(unit, message)
            case "traced":
                unit.note = f"its exit is held by a tracer, pid {message['pid']}"
            case _:
                pass

    def _busy(self, unit: Unit) -> None:
        if unit.status.state is State.STARTING and unit.status.pid is None:
            text = f"an earlier run of {unit.name!r} is not over yet"
            self._tell(unit, news.SpawnRefused(unit.status.run, text, permanent=False))

    def exited(self, unit: Unit, message: Mapping[str, Any]) -> None:
        """Tell the end of a run, with all that says why."""
        run, code, signal_number = message["run"], message.get("code"), message.get("signal")
        live, unit.live = unit.live, None
        well = code is not None and code in unit.service.success_exit_codes
        said = "" if well else self._last_words(unit, live, message)
        left = _leftovers(message.get("leftovers") or ())
        self._tell(
            unit,
            news.Exited(
                run,
                code=code,
                signal=signal_number,
                port_owner=None if well else self._foreign_holder(unit),
                text="; ".join(text for text in (said, left) if text),
            ),
        )

    def _last_words(self, unit: Unit, live: LiveRun | None, message: Mapping[str, Any]) -> str:
        """Return the reason that the run itself wrote; nothing of one that was asked to end."""
        end = message.get("log_offset")
        if live is None or end is None or unit.status.state is State.STOPPING:
            return ""
        return reason_of(
            self._supervisor.project.root_dir / unit.service.log, live.log_offset, int(end)
        )

    def _foreign_holder(self, unit: Unit) -> str | None:
        if unit.port is None or unit.status.state is State.STOPPING:
            return None
        held = ports.holder(unit.port, self._supervisor.pids)
        return None if held is None else ports.describe(held)

    def note_live(self, unit: Unit, run: Mapping[str, Any]) -> None:
        """Note which run lives, and forget what was found of the one before."""
        wall = run.get("wall", run.get("started_wall", 0.0))
        unit.live = LiveRun(int(run["run"]), float(wall), int(run["log_offset"]))
        unit.log_groups = {}
        unit.url = None

    def _stuck(self, unit: Unit, message: Mapping[str, Any]) -> None:
        pids = ", ".join(str(pid) for pid in message["pids"])
        unit.note = f"cannot be killed yet: pid {pids}"
        self._supervisor.bus.publish(
            {"type": "warning", "text": f"{unit.name}: {unit.note}", "service": unit.name}
        )

    def _logging(self, unit: Unit, message: Mapping[str, Any]) -> None:
        unit.logging_problem = message.get("problem")
        text = (
            f"{unit.name}: its log can't be written ({unit.logging_problem}); nothing is lost, "
            "the service waits when its pipe is full"
            if unit.logging_problem
            else f"{unit.name}: its log is written again"
        )
        logger.warning("%s", text)
        self._supervisor.bus.publish({"type": "warning", "text": text, "service": unit.name})

    def _tell(self, unit: Unit, event: news.Event) -> None:
        self._supervisor.tell(unit.name, event)


def _leftovers(found: Sequence[Sequence[object]]) -> str:
    if not found:
        return ""
    shown = ", ".join(f"{comm} (pid {pid})" for comm, pid in list(found)[:5])
    return (
        f"it left {shown} behind, which was killed; "
        "if it puts itself into the background, start it in the foreground"
    )
