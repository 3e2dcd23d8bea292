"""Errors cross the control socket and come back equal."""

from dataclasses import fields
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.control.wire import from_wire, kinds, to_wire
from orchestrator.errors import OrchestratorError, PortOwner, Problem

_EXAMPLES: dict[str, Any] = {
    "message": "cannot start 'web': for a reason",
    "problems": (
        Problem("services.yaml", 14, 7, "services.web.port", "not a port"),
        Problem("services.yaml", None, None, "", "empty"),
    ),
    "service": "web",
    "nearest": "webb",
    "looked_for": "dotnet",
    "places": ("/usr/bin", "/opt/ünïcode"),
    "port": 5146,
    "owner": PortOwner(812, "python3", "ada", 3.5),
    "errno": 2,
    "pids": (1, 2, 3),
    "ours": 1,
    "theirs": 2,
    "services": ("a", "b"),
}


def every_class() -> list[type[OrchestratorError]]:
    found: list[type[OrchestratorError]] = [OrchestratorError]
    for one in found:
        found += one.__subclasses__()
    return [one for one in found if one.__module__ == errors.__name__]


def example(kind: type[OrchestratorError]) -> OrchestratorError:
    return kind(**{one.name: _EXAMPLES[one.name] for one in fields(kind)})


@pytest.mark.parametrize("kind", every_class())
def test_every_error_comes_back_as_the_same_class_with_the_same_attributes(
    kind: type[OrchestratorError],
) -> None:
    import json

    sent = example(kind)
    status, value = to_wire(sent)
    came = from_wire(json.loads(json.dumps(value)))
    assert type(came) is kind
    assert came == sent
    assert str(came) == str(sent)
    assert 400 <= status < 600


def test_every_class_has_a_kind_of_its_own() -> None:
    assert len({one.kind for one in every_class()}) == len(every_class())
    # Others may be loaded that never cross.
    assert set(kinds().values()) >= set(every_class())


def test_an_error_with_nothing_but_its_message_comes_back() -> None:
    for kind in every_class():
        assert from_wire(to_wire(kind("no more"))[1]) == kind("no more")


def test_a_kind_of_tomorrow_is_still_an_error_with_its_message() -> None:
    came = from_wire({"kind": "of-tomorrow", "message": "new", "depth": 7})
    assert type(came) is OrchestratorError
    assert came.message == "new"


def test_an_answer_without_a_message_is_still_an_error() -> None:
    assert "did not say why" in from_wire({}).message


def test_unknown_names_and_taken_ports_have_their_http_status() -> None:
    assert to_wire(errors.UnknownService("x"))[0] == 404
    assert to_wire(errors.PortInUse("x"))[0] == 409
    assert to_wire(errors.SpecError("x"))[0] == 422
