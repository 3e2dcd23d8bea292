"""How a new supervisor goes on with what an earlier one kept."""

import pytest

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.status import Health, State, Status
from tests.unit.core.life import Life, service


def test_a_healthy_service_goes_on_running_and_is_looked_at_anew() -> None:
    life = Life(service(probe=True)).start()
    life.crash()
    life.healthy().now += 30
    before = life.status
    assert life.tell(news.Resumed(102)) == (
        order.StartProbing(2),
        order.SetTimer(2, Timer.FORGIVE, 60),
    )
    assert (life.state, life.status.health) == (State.RUNNING, Health.CHECKING)
    assert (life.status.started_at, life.status.since) == (before.started_at, before.since)


def test_a_healthy_service_without_failures_needs_only_its_probes() -> None:
    life = Life(service(probe=True)).start().healthy()
    assert life.tell(news.Resumed(101)) == (order.StartProbing(1),)


def test_a_service_without_a_probe_goes_on_as_it_is() -> None:
    life = Life(service()).start()
    before = life.status
    assert life.tell(news.Resumed(101)) == ()
    assert life.status == before


def test_a_start_under_way_gets_its_timeout_and_its_probes_again() -> None:
    life = Life(service(probe=True)).start()
    assert life.tell(news.Resumed(101)) == (
        order.SetTimer(1, Timer.START_TIMEOUT, 120),
        order.StartProbing(1),
    )
    assert life.state is State.STARTING


def test_a_spawn_that_nobody_saw_is_seen_now() -> None:
    life = Life(service(probe=True))
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    life.tell(news.Resumed(101, started_at=990.0))
    assert (life.status.pid, life.status.started_at) == (101, 990.0)


@pytest.mark.parametrize("spawned", [False, True])
def test_a_run_that_is_not_there_waits_for_the_news_of_its_end(spawned: bool) -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    if spawned:
        life.spawned()
    assert life.tell(news.Resumed(None)) == ()
    life.end(None, text="its start was interrupted")
    assert (life.state, life.status.run) == (State.STARTING, 2)


def test_a_stop_under_way_is_asked_for_again() -> None:
    life = Life(service()).start()
    life.tell(news.StopRequested())
    again = (order.Terminate(1), order.SetTimer(1, Timer.KILL, 10))
    assert life.tell(news.Resumed(101)) == again
    assert life.end(0).state is State.STOPPED


def test_a_kill_under_way_is_asked_for_again() -> None:
    life = Life(service()).start()
    life.tell(news.StopRequested(grace_s=0))
    assert order.Kill(1) in life.tell(news.Resumed(101))


def test_a_stop_whose_process_is_gone_waits_for_the_news_of_its_end() -> None:
    life = Life(service()).start()
    life.tell(news.StopRequested())
    assert life.tell(news.Resumed(None)) == ()
    assert life.end(0).cause == "stopped (exit 0)"


def test_a_run_that_nobody_wants_is_stopped() -> None:
    unwanted = Status(State.RUNNING, wanted=False, run=1, alive=True, pid=7, started_at=1.0)
    life = Life(service(), unwanted)
    assert life.tell(news.Resumed(7)) == (order.Terminate(1), order.SetTimer(1, Timer.KILL, 10))
    assert life.state is State.STOPPING


def test_what_waits_for_its_dependencies_goes_on_waiting() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    assert life.tell(news.Resumed(None)) == (order.CheckDependencies(),)
    assert life.state is State.PENDING


def test_a_backoff_waits_for_the_rest_of_its_time() -> None:
    life = Life(service()).start()
    for _ in range(4):
        life.crash()
    life.end(1)
    life.now += 3
    assert life.tell(news.Resumed(None)) == (order.SetTimer(5, Timer.RETRY, 1),)
    life.now += 60
    assert life.tell(news.Resumed(None)) == (order.SetTimer(5, Timer.RETRY, 0),)


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.EXITED, State.COMPLETED])
def test_what_is_at_rest_stays_so(state: State) -> None:
    life = Life(service(), Status(state, run=1))
    assert life.tell(news.Resumed(None)) == ()
    assert life.status == Status(state, run=1)


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.PENDING, State.BACKOFF])
def test_a_process_that_nothing_is_known_of_is_adopted_as_wanted(state: State) -> None:
    life = Life(service(probe=True), Status(state, run=3, retry_at=1001, failures=(1.0,)))
    assert life.tell(news.Resumed(7, started_at=900.0)) == (
        order.SetTimer(3, Timer.START_TIMEOUT, 120),
        order.StartProbing(3),
    )
    assert life.status == Status(
        State.STARTING,
        wanted=True,
        run=3,
        pid=7,
        alive=True,
        health=Health.CHECKING,
        since=life.now,
        started_at=900.0,
    )


def test_an_adopted_process_without_a_probe_is_running() -> None:
    life = Life(service(), Status(run=3))
    assert life.tell(news.Resumed(7)) == ()
    assert (life.state, life.status.started_at) == (State.RUNNING, life.now)
