"""The life of one service, told event by event, for tests that read like stories."""

from dataclasses import replace
from typing import Any

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.machine import step
from orchestrator.core.status import State, Status
from orchestrator.spec.model import Health, Service, TcpProbe
from orchestrator.spec.template import Template

PROBE = Health(tcp=TcpProbe(port=5432))
OfARun = (
    news.Spawned
    | news.SpawnRefused
    | news.BecameHealthy
    | news.BecameUnhealthy
    | news.Exited
    | news.TimerFired
)
EVENTS: tuple[news.Event, ...] = (
    news.StartRequested(),
    news.StopRequested(),
    news.StopRequested(grace_s=0),
    news.StopRequested(grace_s=2),
    news.RestartRequested(),
    news.RestartRequested(grace_s=0),
    news.DependenciesReady(),
    news.Resumed(pid=None),
    news.Resumed(pid=7),
    news.Spawned(run=1, pid=7),
    news.SpawnRefused(run=1, text="no such file", permanent=True),
    news.SpawnRefused(run=1, text="no memory", permanent=False),
    news.BecameHealthy(run=1),
    news.BecameUnhealthy(run=1, text="refused"),
    news.BecameUnhealthy(run=1, text="refused", held="a debugger is attached"),
    news.Exited(run=1, code=0),
    news.Exited(run=1, code=1),
    news.Exited(run=1, code=78),
    news.Exited(run=1, signal=9),
    news.Exited(run=1),
    news.Exited(run=1, code=1, port_owner="pid 812 (nginx)"),
    *(news.TimerFired(run=1, timer=timer) for timer in news.Timer),
)
"""At least one of every kind, and every shade that decides; those of a run speak of run 1."""


def service(**keys: Any) -> Service:
    """Return a service; keys as in services.yaml, ``probe=True`` for one that is probed."""
    if keys.pop("probe", False):
        keys["health"] = PROBE
    return Service.model_validate(
        {"name": "web", "run": [{"command": [Template.literal("serve")]}], **keys}
    )


def of_run(event: news.Event, run: int) -> news.Event:
    """Return the event, told of another run."""
    if isinstance(event, OfARun):
        return replace(event, run=run)
    return event


class Life:
    """A service that is told events, a clock that is wound, and the orders that were given."""

    def __init__(self, service: Service, status: Status | None = None, now: float = 1000.0) -> None:
        self.service = service
        self.status = Status() if status is None else status
        self.now = now
        self.orders: tuple[order.Action, ...] = ()

    @property
    def state(self) -> State:
        return self.status.state

    @property
    def cause(self) -> str:
        assert self.status.cause is not None
        return self.status.cause.text

    @property
    def kind(self) -> str:
        assert self.status.cause is not None
        return self.status.cause.kind

    @property
    def wait_s(self) -> float | None:
        """How long it waits for its next run; None when it is on its way already."""
        for one in self.orders:
            if isinstance(one, order.SetTimer) and one.timer is news.Timer.RETRY:
                return one.after_s
        assert order.Spawn(self.status.run) in self.orders
        return None

    def tell(self, event: news.Event, after_s: float = 0) -> tuple[order.Action, ...]:
        """Wind the clock, tell the event, and return the orders."""
        self.now += after_s
        self.status, self.orders = step(self.service, self.status, event, self.now)
        return self.orders

    # What happens often.

    def start(self) -> "Life":
        """Ask for it by hand, and let its run be spawned."""
        self.tell(news.StartRequested())
        self.tell(news.DependenciesReady())
        return self.spawned()

    def spawned(self) -> "Life":
        self.tell(news.Spawned(self.status.run, pid=100 + self.status.run))
        return self

    def healthy(self) -> "Life":
        self.tell(news.BecameHealthy(self.status.run))
        return self

    def end(self, code: int | None = 1, after_s: float = 0, **keys: Any) -> "Life":
        self.tell(news.Exited(self.status.run, code, **keys), after_s)
        return self

    def fire(self, timer: news.Timer, after_s: float = 0) -> "Life":
        self.tell(news.TimerFired(self.status.run, timer), after_s)
        return self

    def crash(self, after_s: float = 0) -> float | None:
        """Let the run crash, and return how long it waits for the next; wait it out."""
        wait_s = self.end(1, after_s).wait_s
        if wait_s is not None:
            self.fire(news.Timer.RETRY, wait_s)
        self.spawned()
        return wait_s
