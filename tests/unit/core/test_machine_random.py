"""Anything may happen, for long: random events on a clock that is wound, with real run numbers.

What the walk asserts of quantised worlds is asserted here of true times and whole histories.
"""

from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.machine import step
from orchestrator.core.status import State, Status
from orchestrator.spec.model import Service
from tests.unit.core.life import EVENTS, of_run, service

LIMITS = st.none() | st.builds(
    lambda failures, within: {"failures": failures, "within": within},
    st.integers(1, 6),
    st.sampled_from([1, 30, 120]),
)
POLICIES = st.sampled_from(["on-failure", "always", "no"])
GRACES = st.none() | st.sampled_from([0.0, 1.0, 30.0])


@dataclass
class Ordered:
    """One run that was ordered and is not over."""

    run: int
    pid: int | None = None


class AnyLife(RuleBasedStateMachine):
    """A service, the process that it has, its open timers, and everything that may happen."""

    @initialize(
        probe=st.booleans(), oneshot=st.booleans(), policy=POLICIES, limit=LIMITS, grace=GRACES
    )
    def begin(
        self, probe: bool, oneshot: bool, policy: str, limit: object, grace: float | None
    ) -> None:
        self.service: Service = service(
            probe=probe,
            oneshot=oneshot,
            restart={"policy": policy, "limit": limit},
            stop={"grace": 10.0 if grace is None else grace},
        )
        self.status, self.now = Status(), 1000.0
        self.process: Ordered | None = None
        self.timers: dict[Timer, tuple[float, int]] = {}
        self.runs = 0

    def tell(self, event: news.Event) -> None:
        before = self.status
        self.status, orders = step(self.service, before, event, self.now)
        if self.status.run != before.run or self.status.state.at_rest:
            self.timers.clear()
        for one in orders:
            self.perform(one)
        if isinstance(event, news.Exited | news.SpawnRefused) and self.status != before:
            self.judge_end(before)

    def perform(self, one: order.Action) -> None:
        match one:
            case order.Spawn(run):
                assert self.process is None, "two processes"
                assert run == self.runs + 1
                assert self.status.wanted
                self.runs = run
                self.process = Ordered(run)
            case order.SetTimer(run, timer, after_s):
                assert run == self.status.run
                assert after_s >= 0
                self.timers[timer] = (self.now + after_s, run)
            case order.Terminate(run):
                assert self.process is not None
                assert self.process.run == run
                assert self.process.pid is not None
            case order.Kill(run):
                assert self.process is not None
                assert self.process.run == run
            case order.CheckDependencies() | order.StartProbing() | order.StopProbing():
                pass

    def judge_end(self, before: Status) -> None:
        assert self.status.cause is not None
        assert self.status.cause.run == before.run
        if not before.wanted:
            assert self.status.state is State.STOPPED
        if self.status.state is State.BACKOFF:
            assert self.status.retry_at is not None
            assert 0 <= self.status.retry_at - self.now <= self.service.restart.backoff.max_s
        limit = self.service.restart.limit
        if limit and self.status.state in {State.BACKOFF, State.STARTING}:
            recent = [at for at in self.status.failures if self.now - at <= limit.within_s]
            assert len(recent) <= limit.failures

    # What people ask for.

    @rule()
    def start(self) -> None:
        self.tell(news.StartRequested())
        assert self.status.wanted

    @rule(grace_s=GRACES)
    def stop(self, grace_s: float | None) -> None:
        self.tell(news.StopRequested(grace_s))
        assert not self.status.wanted
        assert self.status.state.at_rest or self.status.state is State.STOPPING

    @rule(grace_s=GRACES)
    def restart(self, grace_s: float | None) -> None:
        self.tell(news.RestartRequested(grace_s))
        assert self.status.wanted

    # What the surroundings do.

    @precondition(lambda self: self.status.state is State.PENDING)
    @rule()
    def dependencies_get_ready(self) -> None:
        self.tell(news.DependenciesReady())
        assert self.status.state is State.STARTING

    @precondition(lambda self: self.process is not None and self.process.pid is None)
    @rule()
    def spawn(self) -> None:
        assert self.process is not None
        self.process.pid = 100 + self.process.run
        self.tell(news.Spawned(self.process.run, self.process.pid))

    @precondition(lambda self: self.process is not None and self.process.pid is None)
    @rule(permanent=st.booleans())
    def refuse(self, permanent: bool) -> None:
        assert self.process is not None
        refused = news.SpawnRefused(self.process.run, "refused", permanent=permanent)
        self.process = None
        self.tell(refused)

    @precondition(lambda self: self.process is not None and self.process.pid is not None)
    @rule(
        code=st.none() | st.sampled_from([0, 1, 78]),
        signal=st.none() | st.sampled_from([9, 15]),
        port_owner=st.none() | st.just("pid 812"),
    )
    def end(self, code: int | None, signal: int | None, port_owner: str | None) -> None:
        assert self.process is not None
        run, self.process = self.process.run, None
        self.tell(news.Exited(run, code if signal is None else None, signal, port_owner))

    @precondition(lambda self: self.process is not None and self.process.pid is not None)
    @rule(well=st.booleans(), held=st.none() | st.just("a debugger is attached"))
    def probe(self, well: bool, held: str | None) -> None:
        assert self.process is not None
        run = self.process.run
        self.tell(news.BecameHealthy(run) if well else news.BecameUnhealthy(run, "no", held))

    @rule(event=st.sampled_from(EVENTS), older=st.integers(1, 3))
    def old_news_comes_late(self, event: news.Event, older: int) -> None:
        if hasattr(event, "run"):
            before = self.status
            self.tell(of_run(event, before.run - older))
            assert self.status == before

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 61.0, 130.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers:
            timer, (at, run) = min(self.timers.items(), key=lambda one: one[1])
            if at > until:
                break
            del self.timers[timer]
            self.now = max(self.now, at)
            self.tell(news.TimerFired(run, timer))
        self.now = until

    @rule(interrupted=st.booleans())
    def the_supervisor_is_killed(self, interrupted: bool) -> None:
        self.timers.clear()
        if self.process is None:
            self.tell(news.Resumed(None))
        elif interrupted:
            run, self.process = self.process.run, None
            self.tell(news.Resumed(None))
            self.tell(news.Exited(run, text="its start was interrupted"))
        else:
            self.process.pid = 100 + self.process.run
            self.tell(news.Resumed(self.process.pid))

    # What is always true.

    @invariant()
    def what_is_known_is_what_is(self) -> None:
        assert self.status.alive == (self.process is not None)
        assert self.status.pid == (self.process and self.process.pid)
        assert self.status.run == self.runs

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        match self.status.state:
            case State.BACKOFF:
                assert Timer.RETRY in self.timers
            case State.STOPPING:
                assert Timer.KILL in self.timers or self.status.killed_at is not None
            case State.STARTING:
                assert self.status.pid is None or Timer.START_TIMEOUT in self.timers
            case _:
                pass

    @invariant()
    def at_rest_nothing_runs_and_no_timer_is_open(self) -> None:
        if self.status.state.at_rest:
            assert self.process is None
            assert not self.timers

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.status.failures) <= 100


AnyLife.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnythingMayHappen = AnyLife.TestCase
