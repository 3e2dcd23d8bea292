"""Whether what `${…}` refers to will be there when a service starts."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.spec.normalise import is_oneshot
from orchestrator.spec.problems import Report, meant
from orchestrator.spec.template import Ref
from orchestrator.spec.tree import Where

Services = Mapping[str, Mapping[str, Any]]
"""Services in their long form, not checked by the model yet."""

_IN_RUN = {"requires.program": "program", "requires.file": "file", "requires.file.dir": "file"}


def check_references(
    found: Iterable[tuple[Where, Ref]],
    secrets: Mapping[str, Any],
    services: Services,
    report: Report,
) -> None:
    """Report every reference that cannot have a value where it stands."""
    for path, ref in found:
        problem = _problem(path, ref, secrets, services)
        if problem is not None:
            report(path, problem)


def _problem(path: Where, ref: Ref, secrets: Mapping[str, Any], services: Services) -> str | None:
    if len(path) < 3 or path[0] != "services":
        return f"{ref} is known only when a service starts, and cannot stand here"
    own = services.get(str(path[1]), {})
    if path[4:5] == ("requires",):
        return f"{ref} is not known yet when the alternative is chosen"
    match ref.path:
        case ("secrets", name):
            return _secret(path, name, secrets)
        case ("requires", *_):
            return _requirement(path, ref, own)
        case ("services", name, *what):
            return _service(ref, name, what, own, services)
        case ("PORT",) if own.get("port") is None:
            return "${PORT} needs the service to have a `port`"
        case ("PORT",) | ("PYTHON",) | ("STATE_DIR",):
            return None
        case _:
            return f"{ref} is not known"


def _secret(path: Where, name: str, secrets: Mapping[str, Any]) -> str | None:
    if name not in secrets:
        return f"there is no secret {name!r}{meant(name, secrets)}"
    if path[2] == "command" or "command" in path[4:5] or path[2:4] == ("health", "exec"):
        # Source: proc(5), cmdline is readable by everybody.
        return (
            f"a secret in a command line can be read by every user of this machine: "
            f"give ${{secrets.{name}}} to the program in `env`"
        )
    return None


def _requirement(path: Where, ref: Ref, own: Mapping[str, Any]) -> str | None:
    needed = _IN_RUN.get(".".join(ref.path))
    if needed is None:
        return f"{ref} is not known; there are " + ", ".join(f"${{{one}}}" for one in _IN_RUN)
    if path[2] != "run":
        return f"{ref} is known only to an alternative of `run`"
    requires = _requires(own, path[3])
    if not isinstance(requires, dict) or needed not in requires:
        return f"{ref} needs a `{needed}` in the `requires` of this alternative"
    return None


def _requires(own: Mapping[str, Any], number: str | int) -> object:
    run = own.get("run")
    alternatives: dict[object, Any] = dict(enumerate(run)) if isinstance(run, list) else {}
    alternative = alternatives.get(number)
    return alternative.get("requires") if isinstance(alternative, dict) else None


def _service(
    ref: Ref, name: str, what: list[str], own: Mapping[str, Any], services: Services
) -> str | None:
    if name not in services:
        return f"there is no service {name!r}{meant(name, services)}"
    needs = own.get("depends_on")
    if not isinstance(needs, Mapping) or name not in needs:
        return f"{ref} needs {name!r} in `depends_on`"
    condition, other = needs[name], services[name]
    match what:
        case ["port"]:
            return None if other.get("port") is not None else f"{name!r} has no `port`"
        case ["url"]:
            found_late = other.get("port") is None and condition == "started"
            return f"{ref} is known once {name!r} is healthy: wait for that" if found_late else None
        case ["log", group]:
            return _group(ref, group, name, other, condition)
        case _:
            return f"{ref} is not known; a service has .url, .port and .log.GROUP"


def _group(
    ref: Ref, group: str, name: str, other: Mapping[str, Any], condition: object
) -> str | None:
    health = other.get("health")
    log = health.get("log") if isinstance(health, Mapping) else None
    pattern = log.get("pattern") if isinstance(log, Mapping) else None
    if not isinstance(pattern, str):
        return f"{ref} needs {name!r} to have a `health.log` with the group {group!r}"
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, RecursionError, OverflowError):
        return None  # reported where it stands
    if group not in groups:
        return f"`health.log` of {name!r} has no group {group!r}{meant(group, groups)}"
    if condition == "started" and not is_oneshot(other):
        return f"{ref} is known once {name!r} is healthy: wait for that"
    return None
