"""How a service is started, and when it counts as running."""

import pytest

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from tests.unit.core.life import PROBE, Life, service

AT_REST = (State.STOPPED, State.COMPLETED, State.EXITED, State.FAILED)


@pytest.mark.parametrize("event", [news.StartRequested(), news.RestartRequested()])
@pytest.mark.parametrize("state", [*AT_REST, State.BACKOFF])
def test_a_start_by_hand_forgets_all_failures_and_waits_for_what_it_depends_on(
    state: State, event: news.Event
) -> None:
    failed = Status(
        state, run=4, failures=(1.0, 2.0), never_healthy=3, restarts=3, port_waits=2, retry_at=1001
    )
    life = Life(service(), failed)
    assert life.tell(event) == (order.CheckDependencies(),)
    assert life.status == Status(State.PENDING, wanted=True, run=4, since=life.now)


def test_the_cause_of_the_last_end_stays_while_the_next_run_lives() -> None:
    cause = Cause(CauseKind.EXIT, "exit code 3", 1)
    life = Life(service(), Status(State.FAILED, run=1, exit_code=3, cause=cause)).start()
    assert (life.state, life.status.cause, life.status.exit_code) == (State.RUNNING, cause, 3)


def test_the_first_run_is_number_one_and_each_run_is_one_more() -> None:
    life = Life(service(restart={"policy": "no"}))
    for run in (1, 2, 3):
        life.tell(news.StartRequested())
        assert life.tell(news.DependenciesReady()) == (order.Spawn(run),)
        assert (life.state, life.status.run, life.status.pid) == (State.STARTING, run, None)
        life.spawned().end(1)


@pytest.mark.parametrize("event", [news.StartRequested(), news.RestartRequested()])
def test_asking_again_while_it_waits_only_looks_at_the_dependencies_again(
    event: news.Event,
) -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    before = life.status
    assert life.tell(event) == (order.CheckDependencies(),)
    assert life.status == before


@pytest.mark.parametrize("healthy", [False, True])
def test_a_start_of_what_is_up_changes_nothing(healthy: bool) -> None:
    life = Life(service(probe=True)).start()
    if healthy:
        life.healthy()
    before = life.status
    assert life.tell(news.StartRequested()) == ()
    assert life.status == before


def test_without_a_probe_running_is_all_that_can_be_said() -> None:
    life = Life(service()).start()
    assert (life.state, life.status.health) == (State.RUNNING, Health.NONE)
    assert (life.status.pid, life.status.started_at) == (101, life.now)
    assert life.orders == ()


def test_with_a_probe_it_is_starting_until_it_is_healthy() -> None:
    life = Life(service(probe=True)).start()
    assert (life.state, life.status.health) == (State.STARTING, Health.CHECKING)
    assert life.orders == (order.SetTimer(1, Timer.START_TIMEOUT, 120), order.StartProbing(1))
    life.healthy()
    assert (life.state, life.status.health) == (State.RUNNING, Health.HEALTHY)


def test_not_yet_healthy_is_what_starting_means() -> None:
    life = Life(service(probe=True)).start()
    before = life.status
    assert life.tell(news.BecameUnhealthy(1, "connection refused")) == ()
    assert life.status == before


def test_a_start_that_takes_too_long_is_ended_and_tried_again_as_a_failure() -> None:
    life = Life(service(probe=True)).start().fire(Timer.START_TIMEOUT, after_s=120)
    assert life.state is State.STOPPING
    assert life.orders == (
        order.StopProbing(1),
        order.Terminate(1),
        order.SetTimer(1, Timer.KILL, 10),
    )
    life.end(0)
    assert (life.state, life.status.run, life.status.restarts) == (State.STARTING, 2, 1)
    assert (life.kind, life.cause) == ("timeout", "not healthy within 2m")
    assert life.status.exit_code == 0


def test_the_start_timeout_of_a_service_that_became_healthy_means_nothing() -> None:
    life = Life(service(probe=True)).start().healthy()
    before = life.status
    assert life.fire(Timer.START_TIMEOUT).orders == ()
    assert life.status == before


def test_a_program_that_is_not_there_is_not_tried_again() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    life.tell(news.SpawnRefused(1, "cannot start 'serve': no such file", permanent=True))
    assert (life.state, life.kind) == (State.FAILED, "spawn")
    assert life.cause == "cannot start 'serve': no such file"
    assert life.orders == ()


def test_a_start_that_is_refused_for_now_is_tried_again_like_a_crash() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    for run in range(1, 6):
        life.tell(news.SpawnRefused(run, "cannot start 'serve': no memory", permanent=False))
        assert life.kind == "spawn"
        if life.wait_s is not None:
            life.fire(Timer.RETRY, life.wait_s)
    life.tell(news.SpawnRefused(6, "cannot start 'serve': no memory", permanent=False))
    assert (life.state, life.kind) == (State.FAILED, "limit")


def test_a_refused_start_is_not_tried_again_under_the_policy_no() -> None:
    life = Life(service(restart={"policy": "no"}))
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    life.tell(news.SpawnRefused(1, "no memory", permanent=False))
    assert (life.state, life.kind) == (State.FAILED, "spawn")
    assert life.cause == "no memory; not restarted, as restart.policy is no"


def test_a_spawn_that_is_told_twice_is_heard_once() -> None:
    life = Life(service(probe=True)).start()
    before = life.status
    assert life.tell(news.Spawned(1, 101)) == ()
    assert life.status == before


def test_an_unhealthy_service_is_restarted_like_one_that_crashed() -> None:
    life = Life(service(probe=True)).start().healthy()
    life.tell(news.BecameUnhealthy(1, "connection refused"))
    assert life.state is State.STOPPING
    assert order.Terminate(1) in life.orders
    life.end(0, text="it left sh behind")
    assert (life.state, life.status.run, life.status.restarts) == (State.STARTING, 2, 1)
    assert (life.kind, life.cause) == (
        "health",
        "unhealthy: connection refused; it left sh behind",
    )
    life.spawned().healthy().tell(news.BecameUnhealthy(2, "connection refused"))
    assert life.end(0).wait_s == 0.5


def test_a_service_whose_health_is_ignored_is_only_shown_as_unhealthy() -> None:
    ignoring = PROBE.model_copy(update={"on_unhealthy": "ignore"})
    life = Life(service(health=ignoring)).start().healthy()
    assert life.tell(news.BecameUnhealthy(1, "refused")) == ()
    assert (life.state, life.status.health) == (State.RUNNING, Health.UNHEALTHY)
    life.healthy()
    assert life.status.health is Health.HEALTHY


def test_a_service_that_is_held_is_not_restarted_until_it_is_let_go() -> None:
    life = Life(service(probe=True)).start().healthy()
    life.tell(news.BecameUnhealthy(1, "timed out", held="a debugger is attached"))
    assert (life.state, life.status.health) == (State.RUNNING, Health.UNHEALTHY)
    life.tell(news.BecameUnhealthy(1, "timed out"))
    assert life.state is State.STOPPING


def test_a_failed_probe_of_a_dead_process_is_ignored_as_its_end_decides() -> None:
    life = Life(service(probe=True)).start().healthy()
    life.end(1)
    assert (life.state, life.status.run) == (State.STARTING, 2)
    assert life.tell(news.BecameUnhealthy(1, "refused")) == ()
    assert life.kind == "exit"


def test_an_answer_from_an_earlier_run_does_not_make_this_one_healthy() -> None:
    life = Life(service(probe=True)).start()
    life.crash()
    assert life.tell(news.BecameHealthy(1)) == ()
    assert life.state is State.STARTING
