"""The page of states is what the state machine does."""

from pathlib import Path

from orchestrator.core import events as news
from orchestrator.core.events import Timer
from orchestrator.core.status import CauseKind, Health, State
from tests.docs.states import CAUSES, HEALTHS, SECTIONS, STATES, page

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def test_the_page_is_as_the_state_machine_prints_it() -> None:
    told = "run: python -m tests.docs.states > docs/states.md"
    assert PAGE.read_text() == page(), told


def test_the_page_explains_every_state_health_and_cause() -> None:
    assert list(STATES) == list(State)
    assert list(HEALTHS) == list(Health)
    assert list(CAUSES) == list(CauseKind)


def test_the_page_tells_of_every_state_every_kind_of_event_and_every_timer() -> None:
    events = [case.event for section in SECTIONS for case in section.cases]
    assert {section.status.state for section in SECTIONS} == set(State)
    assert {type(event) for event in events} == set(news.Event.__args__)
    assert {event.timer for event in events if isinstance(event, news.TimerFired)} == set(Timer)
