"""The order of services by what they depend on; all of it deterministic."""

from collections.abc import Iterable, Iterator, Mapping

from orchestrator.spec.model import Service


def start_order(services: Mapping[str, Service]) -> list[tuple[str, ...]]:
    """Return the names in levels: each needs only what is in those before it.

    Within a level it is the order of the file. What is not in ``services`` is taken to be there.
    """
    level: dict[str, int] = {}
    for name in closure(services, services):
        needed = (level[one] for one in services[name].depends_on if one in level)
        level[name] = max(needed, default=-1) + 1
    levels = [[] for _ in range(max(level.values(), default=-1) + 1)]  # type: list[list[str]]
    for name in services:
        levels[level[name]].append(name)
    return [tuple(names) for names in levels]


def closure(services: Mapping[str, Service], names: Iterable[str]) -> list[str]:
    """Return the names and all that they depend on, each after what it depends on."""
    found: list[str] = []
    entered: set[str] = set()
    for first in names:
        # A stack of our own: a chain of services may be longer than Python's.
        way = [(None, iter([first]))]  # type: list[tuple[str | None, Iterator[str]]]
        while way:
            name, rest = way[-1]
            needed = next((one for one in rest if one in services and one not in entered), None)
            if needed is not None:
                entered.add(needed)
                way.append((needed, iter(services[needed].depends_on)))
                continue
            way.pop()
            if name is not None:
                found.append(name)
    return found


def dependants(services: Mapping[str, Service], name: str) -> list[str]:
    """Return those that depend on ``name`` directly, in the file's order."""
    return [other for other, service in services.items() if name in service.depends_on]


def find_cycle(needs: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return one ring of names, the first again at its end; None if there is none."""
    done: set[str] = set()
    for first in needs:
        way: dict[str, Iterator[str]] = {} if first in done else {first: iter(needs[first])}
        while way:
            name = next(reversed(way))
            needed = next((one for one in way[name] if one not in done), None)
            if needed is None:
                done.add(name)
                del way[name]
            elif needed in way:
                names = list(way)
                return [*names[names.index(needed) :], needed]
            else:
                way[needed] = iter(needs.get(needed, ()))
    return None
