"""What the end of a run means. The numbers are the defaults of services.yaml."""

import pytest

from orchestrator.core import actions as order
from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.status import State, Status
from tests.unit.core.life import Life, service

NO_LIMIT = {"limit": None}


def test_the_first_failure_is_retried_at_once_and_each_later_one_waits_twice_as_long() -> None:
    life = Life(service(restart=NO_LIMIT)).start()
    waits = [life.crash() for _ in range(10)]
    assert waits == [None, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert life.status.restarts == 10


def test_the_loop_is_asked_for_the_jitter_as_core_knows_no_chance() -> None:
    life = Life(service()).start()
    life.crash()
    life.end(1)
    assert life.orders[-1] == order.SetTimer(2, Timer.RETRY, 0.5, jitter=0.2)
    assert life.status.retry_at == life.now + 0.5


def test_the_sixth_failure_within_two_minutes_is_the_last() -> None:
    life = Life(service()).start()
    for _ in range(5):
        life.crash(after_s=2)
    life.end(3, after_s=2)
    assert (life.state, life.kind) == (State.FAILED, "limit")
    assert life.cause == "gave up: 6 failures within 2m; the last: exit code 3 after 2 s"
    assert life.orders == (order.StopProbing(6),)
    assert (life.status.run, life.status.exit_code, life.status.restarts) == (6, 3, 5)
    assert life.status.wanted


def test_failures_that_are_older_than_the_limits_time_do_not_count_for_it() -> None:
    life = Life(service(probe=True)).start()
    for _ in range(5):
        life.healthy().crash(after_s=24)
    life.healthy().end(1, after_s=24)
    assert life.state is State.BACKOFF


def test_a_start_by_hand_after_giving_up_has_all_its_tries_again() -> None:
    life = Life(service()).start()
    for _ in range(5):
        life.crash()
    assert life.end(1).state is State.FAILED
    life.start()
    assert life.crash() is None
    assert life.status.restarts == 1


def test_six_starts_in_a_row_that_never_became_healthy_are_enough_however_long_they_took() -> None:
    life = Life(service(probe=True)).start()
    for _ in range(5):
        life.crash(after_s=600)
    life.end(1, after_s=600)
    assert (life.state, life.kind) == (State.FAILED, "limit")
    assert life.cause == (
        "gave up: 6 runs in a row never became healthy; the last: exit code 1 after 10 min"
    )


def test_six_starts_that_took_too_long_are_enough_as_well() -> None:
    life = Life(service(probe=True)).start()
    for _ in range(6):
        life.fire(Timer.START_TIMEOUT, after_s=120).end(None, signal=15)
        if life.state is State.BACKOFF:
            life.fire(Timer.RETRY, after_s=30)
        life.spawned()
    assert (life.state, life.kind, life.status.run) == (State.FAILED, "limit", 6)


def test_one_healthy_run_among_bad_ones_makes_them_count_anew() -> None:
    life = Life(service(probe=True)).start()
    for _ in range(5):
        life.crash(after_s=600)
    life.healthy()
    assert life.status.never_healthy == 0
    life.crash(after_s=600)
    for _ in range(4):
        life.crash(after_s=600)
    assert life.status.never_healthy == 4


def test_without_a_probe_a_run_that_lasted_a_second_was_well() -> None:
    rare = service(restart={"limit": {"failures": 2, "within": 0.1}})
    lasting, ending = Life(rare).start(), Life(rare).start()
    for _ in range(9):
        lasting.crash(after_s=1)
    assert lasting.state is State.RUNNING
    for _ in range(2):
        ending.crash(after_s=0.9)
    ending.end(1, after_s=0.9)
    assert ending.state is State.FAILED
    assert ending.cause.startswith("gave up: 3 runs in a row never lasted 1s; the last:")


def test_without_a_limit_it_never_gives_up_and_remembers_only_so_much() -> None:
    life = Life(service(probe=True, restart=NO_LIMIT)).start()
    for _ in range(500):
        life.crash()
    assert life.state is State.STARTING
    assert len(life.status.failures) == 100


def test_a_limit_of_many_failures_is_reached() -> None:
    many = {"limit": {"failures": 150, "within": "10h"}, "backoff": {"max": 0}}
    life = Life(service(restart=many)).start()
    for _ in range(150):
        life.crash(after_s=1)
    assert life.end(1).state is State.FAILED


def test_a_slow_crash_loop_is_forgiven_one_failure_a_minute_and_goes_on() -> None:
    """One that dies every 70 s, as long as it likes: each life forgives what it just did."""
    life = Life(service(probe=True)).start().healthy()
    for _ in range(50):
        if life.status.failures:
            assert order.SetTimer(life.status.run, Timer.FORGIVE, 60) in life.orders
            life.fire(Timer.FORGIVE, after_s=60)
        assert life.status.failures == ()
        assert life.crash(after_s=10) is None
        life.healthy()
    assert life.status.restarts == 50


def test_one_good_second_forgives_nothing() -> None:
    life = Life(service(probe=True)).start().healthy()
    for _ in range(5):
        life.crash(after_s=1)
        life.healthy()
    assert len(life.status.failures) == 5
    assert life.end(1).state is State.FAILED


def test_each_minute_of_running_well_forgives_the_oldest_failure() -> None:
    life = Life(service(probe=True)).start()
    life.crash()
    life.crash()
    life.crash(after_s=5)
    _, second, third = life.status.failures
    assert life.healthy().orders == (order.SetTimer(4, Timer.FORGIVE, 60),)
    assert life.fire(Timer.FORGIVE, after_s=60).status.failures == (second, third)
    assert life.orders == (order.SetTimer(4, Timer.FORGIVE, 60),)
    life.fire(Timer.FORGIVE, after_s=60)
    assert life.fire(Timer.FORGIVE, after_s=60).status.failures == ()
    assert not life.orders
    assert life.crash() is None


def test_being_unhealthy_forgives_nothing_until_it_is_well_again() -> None:
    life = Life(service(probe=True)).start()
    life.crash()
    life.healthy().tell(news.BecameUnhealthy(2, "timed out", held="a debugger is attached"))
    assert life.fire(Timer.FORGIVE, after_s=60).orders == ()
    assert len(life.status.failures) == 1
    assert life.healthy().orders == (order.SetTimer(2, Timer.FORGIVE, 60),)
    assert life.healthy().orders == ()


def test_a_success_code_of_a_service_is_exited_and_says_why_it_stays_so() -> None:
    life = Life(service(success_exit_codes=(0, 4))).start().end(4, after_s=12)
    assert (life.state, life.kind, life.orders) == (State.EXITED, "exit", (order.StopProbing(1),))
    assert life.cause == "exit code 4 after 12 s; not restarted, as restart.policy is on-failure"
    assert life.status.wanted


def test_a_success_code_of_a_one_shot_is_completed() -> None:
    life = Life(service(oneshot=True)).start()
    life.crash()
    life.end(0, after_s=1.24)
    assert (life.state, life.cause) == (State.COMPLETED, "exit code 0 after 1.2 s")
    assert (life.status.failures, life.status.restarts) == ((), 1)


def test_any_other_code_of_a_one_shot_is_a_failure() -> None:
    life = Life(service(oneshot=True)).start()
    assert life.crash() is None
    assert life.crash() == 0.5


def test_always_counts_every_end_as_a_failure() -> None:
    life = Life(service(restart={"policy": "always"})).start()
    waits = []
    for _ in range(5):
        waits.append(life.end(0).wait_s)
        life.fire(Timer.RETRY)
        life.spawned()
    assert waits == [None, 0.5, 1, 2, 4]
    assert life.end(0).state is State.FAILED
    assert life.kind == "limit"


def test_a_one_shot_is_completed_under_always_as_well() -> None:
    life = Life(service(oneshot=True, restart={"policy": "always"})).start()
    assert life.end(0).state is State.COMPLETED


@pytest.mark.parametrize("end", [news.Exited(1, code=1), news.Exited(1, signal=9)])
def test_nothing_is_tried_again_under_the_policy_no(end: news.Exited) -> None:
    life = Life(service(restart={"policy": "no"})).start()
    life.tell(end)
    assert (life.state, life.orders) == (State.FAILED, (order.StopProbing(1),))
    assert life.cause.endswith("; not restarted, as restart.policy is no")


def test_what_was_ended_for_its_health_is_not_tried_again_under_the_policy_no() -> None:
    life = Life(service(probe=True, restart={"policy": "no"})).start().healthy()
    life.tell(news.BecameUnhealthy(1, "refused"))
    life.end(0)
    assert (life.state, life.kind) == (State.FAILED, "health")
    assert life.cause == "unhealthy: refused; not restarted, as restart.policy is no"


@pytest.mark.parametrize("policy", ["on-failure", "always"])
def test_a_wrong_configuration_is_not_tried_again(policy: str) -> None:
    life = Life(service(restart={"policy": policy})).start().end(78)
    assert (life.state, life.kind) == (State.FAILED, "exit")
    assert life.cause.startswith("exit code 78 after 0 ms; a wrong configuration")


def test_78_is_a_code_like_others_where_the_file_calls_it_a_success() -> None:
    assert Life(service(success_exit_codes=(78,))).start().end(78).state is State.EXITED
    always = service(success_exit_codes=(78,), restart={"policy": "always"})
    assert Life(always).start().end(78).state is State.STARTING


def test_a_port_that_somebody_else_took_is_waited_for_and_counts_for_no_limit() -> None:
    life = Life(service()).start()
    waits = []
    for _ in range(9):
        life.end(1, port_owner="pid 812 (nginx)")
        assert (life.state, life.kind) == (State.BACKOFF, "port")
        waits.append(life.wait_s)
        life.fire(Timer.RETRY)
        life.spawned()
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert life.cause == "its port is taken: pid 812 (nginx); exit code 1 after 0 ms"
    assert (life.status.failures, life.status.restarts) == ((), 9)


def test_the_waits_for_a_port_begin_anew_after_any_other_run() -> None:
    life = Life(service(probe=True)).start()
    for _ in range(4):
        life.end(1, port_owner="pid 812")
        life.fire(Timer.RETRY)
        life.spawned()
    life.healthy()
    assert life.end(1, port_owner="pid 812").wait_s == 0.5


def test_the_waits_for_a_port_begin_anew_after_another_failure() -> None:
    life = Life(service()).start()
    for _ in range(4):
        life.end(1, port_owner="pid 812")
        life.fire(Timer.RETRY)
        life.spawned()
    life.crash()
    assert life.end(1, port_owner="pid 812").wait_s == 0.5


def test_a_port_is_not_waited_for_under_the_policy_no() -> None:
    life = Life(service(restart={"policy": "no"})).start().end(1, port_owner="pid 812")
    assert life.state is State.FAILED


def test_a_retry_goes_straight_to_the_next_run() -> None:
    life = Life(service()).start()
    life.crash()
    life.end(1)
    assert life.fire(Timer.RETRY).orders == (order.Spawn(3),)
    assert (life.state, life.status.restarts, life.status.retry_at) == (State.STARTING, 2, None)


def test_an_old_timer_in_backoff_means_nothing() -> None:
    life = Life(service()).start()
    life.crash()
    before = life.end(1).status
    assert life.fire(Timer.FORGIVE).orders == ()
    assert life.status == before


def test_a_wait_of_zero_is_no_wait() -> None:
    eager = service(restart={"backoff": {"initial": 0}, "limit": None})
    life = Life(eager).start()
    assert [life.crash() for _ in range(4)] == [None, None, None, None]


def test_a_crash_forgets_the_process_and_stops_its_probes() -> None:
    life = Life(service(probe=True)).start().healthy()
    life.crash()
    life.healthy().end(None, signal=11)
    assert life.orders[0] == order.StopProbing(2)
    assert life.status == Status(
        State.BACKOFF,
        wanted=True,
        run=2,
        since=life.now,
        failures=life.status.failures,
        restarts=1,
        retry_at=life.now + 0.5,
        exit_signal=11,
        cause=life.status.cause,
    )
