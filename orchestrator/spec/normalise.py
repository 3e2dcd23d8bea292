"""The short forms of services.yaml written out, so that the model has one form of each thing."""

from collections.abc import Mapping
from typing import Any

from orchestrator.spec import words
from orchestrator.spec.health import health, is_none
from orchestrator.spec.problems import Report
from orchestrator.spec.quantities import parse_flag
from orchestrator.spec.tree import Where

UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "watch": (None, "none", False),
    "tty": (None, "none", False),
    "user": (None, "none", False),
    "limits": (None, "none", False, {}),
    "replicas": (None, 1, "1"),
    "groups": (None, "none", False, []),
}
"""Keys of a service that are not built yet, with the values at which they ask for nothing."""

UNSUPPORTED_HEALTH: Mapping[str, tuple[Any, ...]] = {
    "notify": (None, "none", False),
}


def service(name: str, raw: Mapping[str, Any], path: Where, report: Report) -> dict[str, Any]:
    """Return a service with every key in its long form, for the model to check.

    A key without a value is as good as absent.
    """
    value = {key: one for key, one in raw.items() if one is not None}
    refuse_keys(value, words.HIDDEN["Service"], path, report)
    value["name"] = name
    _drop_unsupported(value, UNSUPPORTED, path, report)
    _alternatives(value, path, report)
    for key in ("port", "mcp", "env_file"):
        if is_none(value.get(key)):
            del value[key]
    _mcp(value, path, report)
    _long(value, "env_file", "path")
    _restart(value)
    _depends_on(value, path, report)
    asked = value.get("health")
    if isinstance(asked, dict):
        asked = {key: one for key, one in asked.items() if one is not None}
        _drop_unsupported(asked, UNSUPPORTED_HEALTH, (*path, "health"), report)
    has_port = value.get("port") is not None
    value["health"] = health(asked, (*path, "health"), report, has_port=has_port)
    value.setdefault("log", f"logs/{name}.log")
    return value


def env_file(raw: Any) -> Any:  # noqa: ANN401  what YAML gave
    """Return the long form of the file's `env_file`; None for none, `.env` by default."""
    if is_none(raw):
        return None
    return {"path": ".env" if raw is None else raw} if not isinstance(raw, dict) else raw


def refuse_keys(value: dict[str, Any], keys: set[str], path: Where, report: Report) -> None:
    """Take out keys that the model has for itself, and report them."""
    for key in keys & value.keys():
        del value[key]
        report((*path, key), "unknown key")


def default_condition(needed: Mapping[str, Any]) -> str:
    """Return what a service in a list of dependencies is waited for."""
    if is_oneshot(needed):
        return "completed"
    return "healthy" if needed.get("health") is not None else "started"


def is_oneshot(service: Mapping[str, Any]) -> bool:
    """Whether a service that is not checked yet says that it is to end."""
    try:
        return parse_flag(service.get("oneshot", False))
    except ValueError:
        return False


def _drop_unsupported(
    value: dict[str, Any], keys: Mapping[str, tuple[Any, ...]], path: Where, report: Report
) -> None:
    for key, harmless in keys.items():
        if key in value and not _is_one_of(value.pop(key), harmless):
            report((*path, key), "is not supported by this version")


def _is_one_of(value: object, harmless: tuple[object, ...]) -> bool:
    """Whether it is; to Python 0 is False as well, to people it is not."""
    return any(
        value == one and isinstance(value, bool) == isinstance(one, bool) for one in harmless
    )


def _alternatives(value: dict[str, Any], path: Where, report: Report) -> None:
    command, run = value.pop("command", None), value.get("run")
    if command is not None and run is not None:
        report((*path, "run"), "cannot stand beside `command`: name one of them")
    if command is not None:
        value["run"] = [{"command": command}]
    elif run is None:
        report(path, "has no `command`")
        # So that the rest of it is looked at all the same.
        value["run"] = [{"command": [value["name"]]}]
    elif isinstance(run, list):
        value["run"] = [_alternative(run, number, path, report) for number in range(len(run))]


def _alternative(run: list[Any], number: int, path: Where, report: Report) -> Any:  # noqa: ANN401
    one, here = run[number], (*path, "run", number)
    if not isinstance(one, dict):
        return one
    one = {key: part for key, part in one.items() if part is not None}
    requires = one.get("requires")
    if isinstance(requires, dict):
        refuse_keys(requires, words.HIDDEN["Requires"], (*here, "requires"), report)
        if not requires:
            report((*here, "requires"), "names neither `program` nor `file`")
    elif requires is None and number < len(run) - 1:
        report(here, "has no `requires`, so that those after it are never taken")
    return one


def _long(value: dict[str, Any], key: str, inner: str) -> None:
    if key in value and not isinstance(value[key], dict):
        value[key] = {inner: value[key]}


def _mcp(value: dict[str, Any], path: Where, report: Report) -> None:
    mcp = value.get("mcp")
    lead = mcp.get("path") if isinstance(mcp, dict) else None
    if isinstance(lead, str) and not lead.startswith("/"):
        report((*path, "mcp", "path"), "a path begins with /")


def _restart(value: dict[str, Any]) -> None:
    _long(value, "restart", "policy")
    if "restart" not in value:
        return
    restart = {key: one for key, one in value["restart"].items() if one is not None}
    if restart.get("policy") is False:  # YAML reads an unquoted `no` so
        restart["policy"] = "no"
    if is_none(restart.get("limit")):
        restart["limit"] = None
    value["restart"] = restart


def _depends_on(value: dict[str, Any], path: Where, report: Report) -> None:
    """Make a list a mapping; which condition each gets is known when all services are."""
    needs = value.get("depends_on")
    if isinstance(needs, str):
        needs = [needs]
    if not isinstance(needs, list):
        return
    value["depends_on"] = {}
    for number, one in enumerate(needs):
        if isinstance(one, str):
            value["depends_on"][one] = None
        else:
            here = (*path, "depends_on", number)
            report(here, "must be a name; with conditions it is a mapping, {name: healthy}")
