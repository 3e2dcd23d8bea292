"""The model's own arithmetic, and that its values stay as they are."""

import pytest
from pydantic import ValidationError

from orchestrator.spec.model import Alternative, Backoff, Project, Service
from orchestrator.spec.template import Template


def test_the_first_failure_is_retried_at_once_and_each_next_one_later() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(failures) for failures in range(6)] == [0, 0, 0.5, 1, 2, 4]


def test_the_wait_grows_up_to_its_maximum_and_never_overflows() -> None:
    assert Backoff().delay_s(8) == 30
    assert Backoff(factor=1e9, max_s=1e9).delay_s(10**9) == 1e9
    assert Backoff(max_s=0).delay_s(5) == 0
    assert Backoff(factor=1e9, initial_s=0).delay_s(10**9) == 0


def test_a_model_is_frozen_and_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Backoff().factor = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Backoff.model_validate({"faktor": 3})


def test_models_that_say_the_same_are_equal() -> None:
    command = (Template.literal("x"),)
    one, two = (Service(name="a", run=(Alternative(command=command),)) for _ in range(2))
    assert one == two
    assert one.restart == two.restart


def test_what_an_env_file_holds_is_never_shown() -> None:
    service = Service(
        name="a",
        run=(Alternative(command=(Template.literal("x"),)),),
        env_file_values={"KEY": "hidden"},
    )
    project = Project.model_validate(
        {"name": "p", "file": "x", "services": {"a": service}, "env_file_values": {"A": "hidden"}}
    )
    assert "hidden" not in repr(project)
    assert "hidden" not in project.model_dump_json()
