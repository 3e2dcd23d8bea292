"""Prints docs/states.md from the state machine: python -m tests.docs.states > docs/states.md."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.machine import step
from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from orchestrator.spec.model import Policy, Service
from tests.unit.core.life import service

NOW = 1000.0
PLAIN, PROBED = service(), service(probe=True)

STATES = {
    State.STOPPED: "Asked to stop, or never asked to start.",
    State.PENDING: "Waits for what it depends on; `ps` names what.",
    State.STARTING: "Started, and not healthy yet.",
    State.RUNNING: "Up: it was healthy once, or has no probe.",
    State.STOPPING: "Was told to end; over when none of its processes is left.",
    State.BACKOFF: "Failed, and waits for its next try; `ps` tells when.",
    State.COMPLETED: "A one-shot that ended with a success code.",
    State.EXITED: "Another that ended with a success code and is not to be restarted.",
    State.FAILED: "Ended in any other way and is not tried again; the cause says why.",
}
HEALTHS = {
    Health.HEALTHY: "All its probes pass.",
    Health.UNHEALTHY: "Its probes failed as often in a row as `health.failures` says.",
    Health.CHECKING: "Not known yet.",
    Health.NONE: "It has no probe, or does not run.",
}
CAUSES = {
    CauseKind.EXIT: "It ended with an exit code.",
    CauseKind.SIGNAL: "A signal that was not ours ended it.",
    CauseKind.HEALTH: "It was ended because it was unhealthy.",
    CauseKind.TIMEOUT: "It was ended because it was not healthy within `health.start_timeout`.",
    CauseKind.SPAWN: "It could not be started.",
    CauseKind.PORT: "It ended, and a process of somebody else holds its port.",
    CauseKind.DEPENDENCY: "What it depends on failed.",
    CauseKind.LIMIT: "It failed too often; the text tells how often and the last reason.",
    CauseKind.STOP: "It was asked to stop, or to restart.",
}


@dataclass(frozen=True)
class Case:
    """One thing that may happen, in the words of the page."""

    words: str
    event: news.Event
    service: Service = PROBED
    status: dict[str, object] = field(default_factory=dict)
    """What is special about the status that it happens to."""


@dataclass(frozen=True)
class Section:
    """One state, or one of its shades."""

    title: str
    status: Status
    cases: tuple[Case, ...]


ASKED = (
    Case("`start`", news.StartRequested()),
    Case("`stop`", news.StopRequested()),
    Case("`stop` with a grace of 0", news.StopRequested(grace_s=0)),
    Case("`restart`", news.RestartRequested()),
)
SUPERVISED = (
    Case("a new supervisor finds it alive", news.Resumed(pid=7)),
    Case("a new supervisor finds it not alive", news.Resumed(pid=None)),
)
FAILED_ONCE: dict[str, object] = {"failures": (999.0,)}
FAILED_OFTEN: dict[str, object] = {"failures": (995.0, 996.0, 997.0, 998.0, 999.0)}
NEVER = service(probe=True, restart={"policy": Policy.NO})
ENDS = (
    Case("ends with a success code", news.Exited(1, code=0)),
    Case("… a one-shot", news.Exited(1, code=0), service(oneshot=True)),
    Case("… under `always`", news.Exited(1, code=0), service(restart={"policy": Policy.ALWAYS})),
    Case("ends in any other way, the first failure", news.Exited(1, code=1)),
    Case("… a later failure", news.Exited(1, code=1), status=FAILED_ONCE),
    Case("… one more than `restart.limit`", news.Exited(1, code=1), status=FAILED_OFTEN),
    Case("… under `no`", news.Exited(1, code=1), NEVER),
    Case("… with exit code 78", news.Exited(1, code=78)),
    Case("… while somebody else holds its port", news.Exited(1, code=1, port_owner="pid 812")),
)
REFUSALS = (
    Case("cannot be started at all", news.SpawnRefused(1, "", permanent=True)),
    Case("cannot be started now", news.SpawnRefused(1, "", permanent=False)),
    Case("… a later failure", news.SpawnRefused(1, "", permanent=False), status=FAILED_ONCE),
)
PROBES = (
    Case("is healthy", news.BecameHealthy(1)),
    Case("… and failed before", news.BecameHealthy(1), status=FAILED_ONCE),
    Case("is unhealthy", news.BecameUnhealthy(1, "")),
    Case("… while a debugger holds it", news.BecameUnhealthy(1, "", held="held")),
)
ALIVE = Status(wanted=True, run=1, alive=True, pid=7, started_at=990.0)


def rung(timer: Timer, words: str, **status: object) -> Case:
    return Case(words, news.TimerFired(1, timer), status=status)


def at_rest(state: State) -> Section:
    return Section(state, Status(state, run=1), (*ASKED, *SUPERVISED))


def stopping(title: str, *, wanted: bool, ending: Cause | None = None) -> Section:
    status = replace(ALIVE, state=State.STOPPING, wanted=wanted, ending=ending)
    return Section(
        title,
        status,
        (
            *ASKED,
            Case("its process is there only now", news.Spawned(1, 7), status={"pid": None}),
            rung(Timer.KILL, "its grace is over"),
            Case("is gone", news.Exited(1, code=0)),
            Case("… and failed before", news.Exited(1, code=0), status=FAILED_ONCE),
            Case("… and failed as often as it may", news.Exited(1, code=0), status=FAILED_OFTEN),
            *SUPERVISED,
        ),
    )


SECTIONS = (
    *(at_rest(state) for state in State if state.at_rest),
    Section(
        State.PENDING,
        Status(State.PENDING, wanted=True, run=0),
        (
            *ASKED,
            Case("what it depends on is ready", news.DependenciesReady()),
            *SUPERVISED,
        ),
    ),
    Section(
        "starting, its process not there yet",
        replace(ALIVE, state=State.STARTING, pid=None),
        (
            *ASKED,
            Case("its process is there", news.Spawned(1, 7)),
            Case("… without a probe", news.Spawned(1, 7), PLAIN),
            *REFUSALS,
            *SUPERVISED,
        ),
    ),
    Section(
        "starting",
        replace(ALIVE, state=State.STARTING, health=Health.CHECKING),
        (*ASKED, *PROBES, rung(Timer.START_TIMEOUT, "took too long"), *ENDS, *SUPERVISED),
    ),
    Section(
        State.RUNNING,
        replace(ALIVE, state=State.RUNNING, health=Health.HEALTHY),
        (
            *ASKED,
            *PROBES,
            rung(Timer.FORGIVE, "ran well for `restart.forgive_after`", failures=(998.0, 999.0)),
            *ENDS,
            *SUPERVISED,
        ),
    ),
    stopping("stopping, for good", wanted=False),
    stopping("stopping, for a new run", wanted=True),
    stopping("stopping, for its health", wanted=True, ending=Cause(CauseKind.HEALTH, "", 1)),
    Section(
        State.BACKOFF,
        Status(State.BACKOFF, wanted=True, run=1, failures=(998.0, 999.0), retry_at=1000.5),
        (*ASKED, rung(Timer.RETRY, "its wait is over"), *SUPERVISED),
    ),
)

HEAD = """\
# States, health and causes

Printed from the state machine, `orchestrator/core/machine.py`, by `python -m tests.docs.states`;
a test compares. What the settings are by default: [services.yaml](services-yaml.md).
"""
RULES = """\
## In short

- What is asked for and what is are two things: a service that is wanted up can be in any state.
  While it is not asked to be up, every end is final.
- A run is over when none of its processes is left, not when its main process ended. Only then a
  next one starts.
- Each run has a number. News of an earlier run changes nothing.
- The first failure is retried at once, the second after `restart.backoff.initial`, each later one
  after `factor` times the wait before, up to `max`; up to `jitter` of it is added.
- `restart.forgive_after` of running well forgives one failure, the oldest. Being unhealthy forgives
  nothing.
- It has failed after more than `restart.limit.failures` failures within `restart.limit.within`, or
  as many runs in a row that were never healthy, however long each took. Without a probe a run that
  lasted 1 s was well.
- A start that took too long and a restart for bad health are failures like a crash: same waits,
  same limit.
- A port that somebody else holds is waited for, with the same waits; it counts for no limit.
- A start by hand forgets all failures.
"""


def page() -> str:
    """Return the whole page."""
    parts = [
        HEAD,
        _glossary("State", STATES),
        _glossary("Health", HEALTHS),
        _glossary("Cause", CAUSES),
        RULES,
        _diagram(),
        "## What moves it\n",
        *(_section(section) for section in SECTIONS),
    ]
    return "\n".join(parts)


def outcomes(section: Section) -> Iterator[tuple[Case, Status, Status, tuple[order.Action, ...]]]:
    """Return what each case of a section does: it, the status before and after, the orders."""
    for case in section.cases:
        before = replace(section.status, **case.status)  # type: ignore[arg-type]
        after, orders = step(case.service, before, case.event, NOW)
        yield case, before, after, orders


def _glossary(
    title: str, words: dict[State, str] | dict[Health, str] | dict[CauseKind, str]
) -> str:
    rows = (f"| `{word}` | {text} |" for word, text in words.items())
    return "\n".join([f"| {title} | |", "|---|---|", *rows, ""])


def _diagram() -> str:
    edges: dict[tuple[State, State], None] = {}
    for section in SECTIONS:
        for case, before, after, _ in outcomes(section):
            if before.state is not after.state and not isinstance(case.event, news.Resumed):
                edges[before.state, after.state] = None
    lines = [f"  {before} --> {after}" for before, after in sorted(edges)]
    return "\n".join(["```mermaid", "stateDiagram-v2", "  [*] --> stopped", *lines, "```", ""])


def _section(section: Section) -> str:
    rows, nothing = [], []
    for case, before, after, orders in outcomes(section):
        if not orders and replace(after, since=before.since) == before:
            nothing.append(case.words)
        else:
            rows.append(f"| {case.words} | {_becomes(before, after)} | {_ordered(orders)} |")
    lines = [f"### {section.title}", "", "| what happens | it is | what is done |", "|---|---|---|"]
    note = ["", f"Changes nothing: {_listed(nothing)}."] if nothing else []
    return "\n".join([*lines, *rows, *note, ""])


def _becomes(before: Status, after: Status) -> str:
    words = [str(after.state)]
    if after.health is not before.health and after.health is not Health.NONE:
        words.append(str(after.health))
    if after.state is State.STOPPING:
        words.append("for good" if not after.wanted else "for its health" if after.ending else "")
        if after.ending and after.ending.kind is CauseKind.TIMEOUT:
            words[-1] = "for its slow start"
        words[-1] = words[-1] or "for a new run"
    if after.state.at_rest and before.wanted and not after.wanted and before.state is after.state:
        words.append("not wanted")
    return ", ".join(words)


def _ordered(orders: Iterable[order.Action]) -> str:
    return ", ".join(_in_words(one) for one in orders) or "nothing more"


def _in_words(one: order.Action) -> str:
    match one:
        case order.CheckDependencies():
            return "look at what it depends on"
        case order.Spawn():
            return "start the next run"
        case order.Terminate():
            return "send `stop.signal`"
        case order.Kill():
            return "KILL all its processes"
        case order.SetTimer(timer=timer, after_s=after_s):
            return _TIMERS[timer].format(after_s=f"{after_s:g} s")
        case order.StartProbing():
            return "begin to probe"
        case order.StopProbing():
            return "end probing"


_TIMERS = {
    Timer.RETRY: "try again after {after_s}",
    Timer.START_TIMEOUT: "give it `health.start_timeout`",
    Timer.KILL: "give it `stop.grace`",
    Timer.FORGIVE: "forgive one failure after `restart.forgive_after`",
}


def _listed(words: Iterable[str]) -> str:
    return ", ".join(word.removeprefix("… ") for word in words)


if __name__ == "__main__":
    print(page(), end="")
