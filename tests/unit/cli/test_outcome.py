"""When a waiting command has its answer, and which: the rules of `up`, `wait` and attached `up`."""

from typing import Any

import pytest

from orchestrator.cli.outcome import (
    Verdict,
    has_begun,
    is_behind,
    is_over,
    problems_first,
    reached,
    waited,
)
from tests.unit.cli.items import Item, item, pending, waits, world

HEALTHY: dict[str, Any] = {"has_probe": True, "health": "healthy"}
CHECKING: dict[str, Any] = {"has_probe": True, "health": "checking"}


def verdict(*items: Item, lasted_s: float = 60.0) -> Verdict:
    known = world(*items)
    return waited(known, known, lambda name: lasted_s)


def reach(condition: str, *items: Item, lasted_s: float = 60.0) -> Verdict:
    known = world(*items)
    return reached(condition, known, known, lambda name: lasted_s)


# `up -d`: once every service that need not wait was spawned or refused.


def test_a_service_has_begun_when_it_has_a_process() -> None:
    assert not has_begun("a", world(item("a", "starting", pid=None)))
    assert has_begun("a", world(item("a", "starting", pid=7)))
    assert has_begun("a", world(item("a", "running")))


@pytest.mark.parametrize("state", ["failed", "backoff", "completed", "exited"])
def test_one_that_was_refused_or_has_ended_has_begun(state: str) -> None:
    assert has_begun("a", world(item("a", state)))


def test_one_that_waits_for_others_has_begun() -> None:
    assert has_begun("a", world(pending("a", "db"), item("db", "starting", **CHECKING)))


def test_one_that_is_about_to_start_has_not_begun() -> None:
    assert not has_begun("a", world(pending("a")))
    assert not has_begun("a", world(pending("a", "db"), item("db", **HEALTHY)))
    assert not has_begun("a", world(pending("a", waits("db", "started")), item("db", "starting")))


# `up --wait`: each healthy, completed, exited, failed, or pending behind one of these.


def test_a_probed_service_is_waited_for_until_it_is_healthy() -> None:
    assert verdict(item("a", "starting", **CHECKING)).open == ("a",)
    assert verdict(item("a", "running", **HEALTHY)) == Verdict(done=True)


def test_an_unhealthy_one_is_still_waited_for() -> None:
    assert not verdict(item("a", "running", has_probe=True, health="unhealthy")).done


def test_a_service_without_a_probe_is_well_once_its_run_has_lasted_a_second() -> None:
    assert not verdict(item("a"), lasted_s=0.99).done
    assert verdict(item("a"), lasted_s=1.0).done


@pytest.mark.parametrize("state", ["completed", "exited"])
def test_an_end_with_success_needs_no_more_waiting_and_is_no_failure(state: str) -> None:
    assert verdict(item("a", state)) == Verdict(done=True)


def test_a_failure_ends_the_wait_and_is_told() -> None:
    found = verdict(item("a", "failed"), item("b", **HEALTHY))
    assert found == Verdict(done=True, failed=("a",))
    assert found.is_bad


@pytest.mark.parametrize("state", ["backoff", "starting", "stopping"])
def test_a_failure_that_is_still_retried_is_no_failure_yet(state: str) -> None:
    found = verdict(item("a", state, restarts=3, **CHECKING))
    assert found == Verdict(done=False, open=("a",))


def test_what_waits_behind_a_failure_is_not_waited_for_but_is_bad() -> None:
    found = verdict(item("db", "failed"), pending("api", "db"), pending("web", "api"))
    assert found == Verdict(done=True, failed=("db",), behind=("api", "web"))


def test_what_waits_behind_a_failure_that_was_not_asked_about_is_bad_as_well() -> None:
    known = world(item("db", "failed"), pending("api", "db"))
    found = waited(["api"], known, lambda name: 60.0)
    assert found == Verdict(done=True, behind=("api",))
    assert found.is_bad


def test_what_waits_for_one_that_is_on_its_way_is_waited_for() -> None:
    found = verdict(item("db", "starting", **CHECKING), pending("api", "db"))
    assert found.open == ("db", "api")


def test_what_waits_for_one_that_is_retried_is_waited_for() -> None:
    assert verdict(item("db", "backoff"), pending("api", "db")).open == ("db", "api")


def test_a_condition_that_came_true_this_moment_is_no_failure() -> None:
    """The dependency's news comes before its dependant's: in between nothing is decided."""
    assert verdict(item("job", "completed"), pending("api", waits("job", "completed"))).open
    assert verdict(item("job", "completed"), pending("api", waits("job", "healthy"))).open
    assert verdict(item("job", "exited"), pending("api", waits("job", "started"))).open
    assert verdict(item("db", **HEALTHY), pending("api", waits("db"))).open


def test_one_that_ended_well_but_not_as_needed_is_not_coming_by_itself() -> None:
    found = verdict(item("db", "exited"), pending("api", waits("db", "healthy")))
    assert found == Verdict(done=True, behind=("api",))
    assert is_behind("api", world(item("j", "exited"), pending("api", waits("j", "completed"))))
    assert is_behind("api", world(item("j", "stopped"), pending("api", waits("j", "started"))))


def test_a_ring_of_waiting_services_ends_the_question_not_the_program() -> None:
    assert not is_behind("a", world(pending("a", "b"), pending("b", "a")))


# `wait --for`.


def test_wait_for_healthy_takes_completed_for_well_and_nothing_else_that_ended() -> None:
    assert reach("healthy", item("a", **HEALTHY), item("b", "completed")) == Verdict(done=True)
    for state in ("exited", "failed", "stopped"):
        found = reach("healthy", item("a", state), item("b", "starting", **CHECKING))
        assert (found.done, found.failed) == (True, ("a",))


def test_wait_for_started_takes_a_process_or_an_end_with_success() -> None:
    assert reach("started", item("a", "starting", pid=7)).done
    assert not reach("started", item("a", "starting", pid=None)).done
    assert not reach("started", item("a", "backoff")).done
    assert reach("started", item("a", "completed"), item("b", "exited")) == Verdict(done=True)
    assert reach("started", item("a", "failed")).failed == ("a",)


def test_wait_for_completed_goes_on_while_it_runs() -> None:
    assert reach("completed", item("a", "running", oneshot=True)).open == ("a",)
    assert reach("completed", item("a", "completed", oneshot=True)) == Verdict(done=True)
    assert reach("completed", item("a", "failed", oneshot=True)).failed == ("a",)


@pytest.mark.parametrize(
    "state", ["stopped", "failed", "exited", "completed", "pending", "backoff"]
)
def test_wait_for_stopped_means_no_process_whatever_the_reason(state: str) -> None:
    assert reach("stopped", item("a", state)) == Verdict(done=True)


@pytest.mark.parametrize("state", ["running", "stopping", "starting"])
def test_wait_for_stopped_waits_while_there_is_one(state: str) -> None:
    assert reach("stopped", item("a", state)).open == ("a",)


def test_what_waits_behind_a_failure_cannot_become_healthy() -> None:
    assert reach("healthy", item("db", "failed"), pending("api", "db")).failed == ("db", "api")


# An attached `up` ends by itself when nothing runs and nothing is due to.


@pytest.mark.parametrize("state", ["running", "starting", "stopping", "backoff"])
def test_it_is_not_over_while_something_runs_or_is_due(state: str) -> None:
    assert not is_over([item("a", state), item("b", "completed")])


def test_it_is_over_when_all_have_ended_or_wait_behind_such() -> None:
    assert is_over([item("a", "completed"), item("b", "exited"), item("c", "failed")])
    assert is_over([item("db", "failed"), pending("api", "db"), pending("web", "api")])
    assert not is_over([item("job", "completed"), pending("api", waits("job", "completed"))])


def test_problems_stand_first_and_the_rest_in_the_order_of_the_file() -> None:
    items = [
        item("fine"),
        item("ill", health="unhealthy", has_probe=True),
        item("retried", "backoff"),
        item("done", "completed"),
        item("broken", "failed"),
    ]
    names = [one["name"] for one in problems_first(items)]
    assert names == ["broken", "retried", "ill", "fine", "done"]
