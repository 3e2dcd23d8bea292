"""How a service is stopped and restarted by hand, whatever it was doing."""

import pytest

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.status import Cause, CauseKind, State, Status
from tests.unit.core.life import Life, service


def running(**keys: object) -> Life:
    return Life(service(probe=True, **keys)).start().healthy()


def test_a_stop_asks_politely_and_kills_when_the_grace_is_over() -> None:
    life = running(stop={"grace": 3})
    life.tell(news.StopRequested())
    assert (life.state, life.status.wanted) == (State.STOPPING, False)
    assert life.orders == (
        order.StopProbing(1),
        order.Terminate(1),
        order.SetTimer(1, Timer.KILL, 3),
    )
    assert life.fire(Timer.KILL, after_s=3).orders == (order.Kill(1),)
    life.end(None, signal=9, after_s=0.1)
    assert (life.state, life.kind) == (State.STOPPED, "stop")
    assert life.cause == "killed after 3 s of grace"
    assert life.status.exit_signal == 9


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ({"code": 0}, "stopped (exit 0)"),
        ({"code": 3}, "stopped (exit 3)"),
        ({"code": None, "signal": 15}, "stopped (SIGTERM)"),
        ({"code": None, "signal": 11}, "stopped (SIGSEGV)"),
        ({"code": None}, "stopped"),
        ({"code": 0, "text": "it left sh behind"}, "stopped (exit 0); it left sh behind"),
    ],
)
def test_however_it_ends_while_it_is_stopped_it_was_stopped(
    end: dict[str, object], text: str
) -> None:
    life = running()
    life.tell(news.StopRequested())
    life.tell(news.Exited(1, **end))  # type: ignore[arg-type]
    assert (life.state, life.cause, life.orders) == (State.STOPPED, text, ())


def test_a_grace_that_is_given_is_used_in_place_of_its_own() -> None:
    life = running()
    life.tell(news.StopRequested(grace_s=2))
    assert order.SetTimer(1, Timer.KILL, 2) in life.orders


def test_a_grace_of_zero_kills_at_once() -> None:
    life = running()
    assert life.tell(news.StopRequested(grace_s=0)) == (order.StopProbing(1), order.Kill(1))
    life.end(None, signal=9, after_s=0.02)
    assert life.cause == "killed at once"


def test_a_service_whose_own_grace_is_zero_is_killed_at_once() -> None:
    life = running(stop={"grace": 0})
    assert order.Kill(1) in life.tell(news.StopRequested())


def test_a_second_stop_with_another_grace_replaces_the_first_one() -> None:
    life = running()
    life.tell(news.StopRequested())
    assert life.tell(news.StopRequested(grace_s=1)) == (order.SetTimer(1, Timer.KILL, 1),)
    assert life.tell(news.StopRequested(grace_s=0)) == (order.Kill(1),)
    assert life.tell(news.StopRequested(grace_s=60)) == ()
    assert life.state is State.STOPPING


def test_a_second_stop_without_a_grace_lets_the_first_one_be() -> None:
    life = running()
    life.tell(news.StopRequested(grace_s=30))
    assert life.tell(news.StopRequested()) == ()


def test_a_kill_timer_that_rings_again_kills_again_but_does_not_change_when() -> None:
    life = running(stop={"grace": 3})
    life.tell(news.StopRequested())
    life.fire(Timer.KILL, after_s=3)
    assert life.fire(Timer.KILL, after_s=5).orders == (order.Kill(1),)
    assert life.end(None, signal=9).cause == "killed after 3 s of grace"


def test_what_waits_for_its_dependencies_is_stopped_at_once() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    assert life.tell(news.StopRequested()) == ()
    assert (life.state, life.status.wanted) == (State.STOPPED, False)
    assert life.tell(news.DependenciesReady()) == ()
    assert life.state is State.STOPPED


def test_what_waits_for_its_next_run_is_stopped_at_once() -> None:
    life = running()
    life.crash()
    assert life.end(1).wait_s == 0.5
    assert life.tell(news.StopRequested()) == ()
    assert (life.state, life.status.retry_at) == (State.STOPPED, None)
    assert life.fire(Timer.RETRY).orders == ()
    assert life.state is State.STOPPED


def test_a_stop_during_the_start_waits_for_the_process_and_then_ends_it() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    assert life.tell(news.StopRequested()) == (
        order.StopProbing(1),
        order.SetTimer(1, Timer.KILL, 10),
    )
    assert life.tell(news.Spawned(1, 7)) == (order.Terminate(1),)
    assert life.status.pid == 7
    assert life.tell(news.Spawned(1, 7)) == ()
    assert life.end(0).state is State.STOPPED


def test_a_kill_during_the_start_is_repeated_when_the_process_is_there() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    assert order.Kill(1) in life.tell(news.StopRequested(grace_s=0))
    assert life.tell(news.Spawned(1, 7)) == (order.Kill(1),)


def test_a_start_that_is_refused_while_it_is_stopped_is_stopped() -> None:
    life = Life(service())
    life.tell(news.StartRequested())
    life.tell(news.DependenciesReady())
    life.tell(news.StopRequested())
    life.tell(news.SpawnRefused(1, "no such file", permanent=True))
    assert (life.state, life.kind) == (State.STOPPED, "stop")
    assert life.cause == "stopped before it ran; no such file"


def test_a_failed_service_that_is_stopped_is_shown_as_stopped_with_its_cause() -> None:
    cause = Cause(CauseKind.LIMIT, "gave up", 6)
    life = Life(service(), Status(State.FAILED, wanted=True, run=6, cause=cause))
    assert life.tell(news.StopRequested()) == ()
    assert (life.state, life.status.wanted, life.status.cause) == (State.STOPPED, False, cause)


@pytest.mark.parametrize("state", [State.COMPLETED, State.EXITED, State.STOPPED])
def test_what_is_done_stays_done_when_it_is_stopped(state: State) -> None:
    life = Life(service(), Status(state, wanted=True, run=1))
    assert life.tell(news.StopRequested()) == ()
    assert (life.state, life.status.wanted) == (state, False)


def test_a_start_during_the_stop_waits_for_the_end_and_starts_afresh() -> None:
    life = running()
    life.crash()
    life.tell(news.StopRequested())
    assert life.tell(news.StartRequested()) == ()
    assert (life.state, life.status.wanted) == (State.STOPPING, True)
    assert life.end(0).orders == (order.Spawn(3),)
    assert (life.status.failures, life.status.restarts) == ((), 0)


@pytest.mark.parametrize("event", [news.StopRequested(), news.StopRequested(grace_s=1)])
def test_a_stop_after_a_restart_wins(event: news.Event) -> None:
    life = running()
    life.tell(news.RestartRequested())
    life.tell(event)
    assert life.end(0).orders == ()
    assert life.state is State.STOPPED


def test_a_restart_ends_the_run_and_starts_the_next_when_its_tree_is_empty() -> None:
    life = running()
    life.crash()
    life.healthy().tell(news.RestartRequested(grace_s=4))
    assert life.state is State.STOPPING
    assert life.orders == (
        order.StopProbing(2),
        order.Terminate(2),
        order.SetTimer(2, Timer.KILL, 4),
    )
    assert life.end(0).orders == (order.Spawn(3),)
    assert (life.state, life.status.wanted) == (State.STARTING, True)
    assert (life.status.restarts, life.status.failures) == (0, ())
    assert life.kind == "stop"


def test_a_restart_during_the_start_is_a_new_run_as_well() -> None:
    life = Life(service(probe=True)).start()
    life.tell(news.RestartRequested())
    assert life.state is State.STOPPING
    assert life.end(0).orders == (order.Spawn(2),)


def test_a_restart_during_the_stop_takes_it_back_and_may_hurry_it() -> None:
    life = running()
    life.tell(news.StopRequested())
    assert life.tell(news.RestartRequested(grace_s=0)) == (order.Kill(1),)
    assert life.end(None, signal=9).orders == (order.Spawn(2),)


def test_a_stop_of_what_is_ended_for_its_health_is_a_stop() -> None:
    life = running()
    life.tell(news.BecameUnhealthy(1, "refused"))
    life.tell(news.StopRequested())
    assert life.end(0).orders == ()
    assert (life.state, life.kind) == (State.STOPPED, "stop")


def test_a_start_by_hand_of_what_is_ended_for_its_health_counts_no_failure() -> None:
    life = running()
    life.tell(news.BecameUnhealthy(1, "refused"))
    life.tell(news.StartRequested())
    life.end(0)
    assert (life.state, life.status.failures, life.status.restarts) == (State.STARTING, (), 0)


def test_health_and_old_timers_mean_nothing_while_it_stops() -> None:
    life = running()
    life.tell(news.StopRequested())
    before = life.status
    for event in (
        news.BecameHealthy(1),
        news.BecameUnhealthy(1, "refused"),
        news.TimerFired(1, Timer.FORGIVE),
        news.TimerFired(1, Timer.START_TIMEOUT),
        news.DependenciesReady(),
    ):
        assert life.tell(event) == ()
    assert life.status == before
