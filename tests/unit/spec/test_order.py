"""The order of services by what they need."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.model import Alternative, Condition, Service
from orchestrator.spec.order import closure, dependants, find_cycle, start_order
from orchestrator.spec.template import Template

COMMAND = (Alternative(command=(Template.literal("x"),)),)


def services(**needs: str) -> dict[str, Service]:
    """Return services by name, each with the names that it needs."""
    return {
        name: Service(
            name=name, run=COMMAND, depends_on=dict.fromkeys(needed.split(), Condition.STARTED)
        )
        for name, needed in needs.items()
    }


def test_a_level_needs_only_what_is_in_those_before() -> None:
    found = start_order(services(web="api db", api="db", db="", cache="", admin="web cache"))
    assert found == [("db", "cache"), ("api",), ("web",), ("admin",)]
    assert start_order({}) == []


def test_what_is_not_there_is_not_waited_for() -> None:
    assert start_order(services(web="db")) == [("web",)]


def test_closure_names_what_is_needed_first() -> None:
    some = services(web="api db", api="db", db="", cache="")
    assert closure(some, ["web"]) == ["db", "api", "web"]
    assert closure(some, ["cache", "api", "web", "none"]) == ["cache", "db", "api", "web"]
    assert closure(some, []) == []


def test_dependants_are_those_directly_above() -> None:
    some = services(web="api", api="db", admin="db", db="")
    assert dependants(some, "db") == ["api", "admin"]
    assert dependants(some, "web") == []


def test_a_cycle_is_a_path_that_ends_where_it_begins() -> None:
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["a"]}) == ["a", "b", "c", "a"]
    assert find_cycle({"x": ["a"], "a": ["b"], "b": ["a"]}) == ["a", "b", "a"]
    assert find_cycle({"a": ["a"]}) == ["a", "a"]
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": ["none"]}) is None
    assert find_cycle({}) is None


def test_a_chain_longer_than_the_stack_of_python_is_walked() -> None:
    names = [f"s{number}" for number in range(5000)]
    chain = services(**dict(zip(names, ["", *names], strict=False)))
    assert closure(chain, [names[-1]]) == names
    assert [len(level) for level in start_order(chain)] == [1] * 5000
    needs = {name: list(service.depends_on) for name, service in chain.items()}
    assert find_cycle(needs) is None
    ring = find_cycle({**needs, names[0]: [names[-1]]})
    assert ring is not None
    assert len(ring) == 5001


def test_closure_ends_even_in_a_cycle() -> None:
    assert sorted(closure(services(a="b", b="a"), ["a"])) == ["a", "b"]


numbered = st.integers(0, 8)
graphs = st.dictionaries(numbered, st.lists(numbered, max_size=4, unique=True), max_size=9)


@given(graphs)
def test_in_any_graph_without_a_cycle_what_is_needed_comes_first(
    graph: dict[int, list[int]],
) -> None:
    # Edges to smaller numbers only: no cycle.
    needs = {f"s{one}": [f"s{other}" for other in graph[one] if other < one] for one in graph}
    made = services(**{name: " ".join(others) for name, others in needs.items()})
    assert find_cycle(needs) is None
    levels = start_order(made)
    assert sorted(name for level in levels for name in level) == sorted(needs)
    height = {name: number for number, level in enumerate(levels) for name in level}
    for name, others in needs.items():
        there = [height[other] for other in others if other in height]
        assert height[name] == max(there, default=-1) + 1
    order = closure(made, made)
    for name, others in needs.items():
        assert all(order.index(other) < order.index(name) for other in others if other in needs)


@given(graphs)
def test_a_ring_that_is_found_is_one_and_none_is_overlooked(graph: dict[int, list[int]]) -> None:
    needs = {f"s{one}": [f"s{other}" for other in graph[one]] for one in graph}
    ring = find_cycle(needs)
    if ring is not None:
        assert ring[0] == ring[-1]
        assert all(after in needs[before] for before, after in itertools.pairwise(ring))
        return
    # Without a ring, what needs nothing that is left can be taken away until nothing is left.
    left = dict(needs)
    while left:
        free = [name for name, others in left.items() if not any(one in left for one in others)]
        assert free
        for name in free:
            del left[name]
