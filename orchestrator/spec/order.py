"""The order of services by what they depend on; all of it deterministic."""

from collections.abc import Iterable, Mapping

from orchestrator.spec.model import Service


def closure(services: Mapping[str, Service], names: Iterable[str]) -> list[str]:
    """Return the names and all that they depend on, each after what it depends on."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in found or name not in services:
            return
        for needed in services[name].depends_on:
            visit(needed)
        found[name] = None

    for name in names:
        visit(name)
    return list(found)


def dependants(services: Mapping[str, Service], name: str) -> list[str]:
    """Return those that depend on ``name`` directly, in the file's order."""
    return [other for other, service in services.items() if name in service.depends_on]


def find_cycle(needs: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return one ring of names, the first again at its end; None if there is none."""
    done: set[str] = set()
    way: list[str] = []

    def visit(name: str) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        way.append(name)
        for needed in needs.get(name, ()):
            ring = visit(needed)
            if ring is not None:
                return ring
        way.pop()
        done.add(name)
        return None

    for name in needs:
        ring = visit(name)
        if ring is not None:
            return ring
    return None
