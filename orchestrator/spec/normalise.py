"""The short forms of services.yaml written out, so that the model has one form of each thing."""

import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from orchestrator.spec.interpolate import split_words
from orchestrator.spec.template import Template
from orchestrator.spec.tree import Path

Report = Callable[[Path, str], None]

_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "watch": (None, "none", False),
    "tty": (None, "none", False),
    "user": (None, "none"),
    "limits": (None, "none", {}),
    "replicas": (1, None),
    "groups": (None, []),
}
_UNSUPPORTED_HEALTH = {"mcp": (None, "none", False), "notify": (None, "none", False)}
_HEALTH_KEYS = {"http", "tcp", "exec", "log"}
_STATUS = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")


def commands(service: dict[str, Any], path: Path, report: Report) -> None:
    """Split commands that are strings, before anything in them is replaced; changes ``service``.

    So a variable's value is never split, whatever it holds.
    """
    _split(service, "command", path, report, shell=service.get("shell") is True)
    alternatives = service.get("run")
    for number, one in enumerate(alternatives if isinstance(alternatives, list) else ()):
        if isinstance(one, dict):
            shell = one.get("shell", service.get("shell")) is True
            _split(one, "command", (*path, "run", number), report, shell=shell)
    health = service.get("health")
    if isinstance(health, dict):
        _split(health, "exec", (*path, "health"), report, shell=False)


def service(name: str, raw: dict[str, Any], path: Path, report: Report) -> dict[str, Any]:
    """Return a service with every key in its long form, for the model to check."""
    value = dict(raw)
    value["name"] = name
    _drop_unsupported(value, _UNSUPPORTED, path, report)
    _alternatives(value, path, report)
    _none(value, "port")
    _none(value, "mcp")
    value["env_file"] = env_file(value.get("env_file"))
    _policy(value)
    _depends_on(value)
    _health(value, path, report)
    value.setdefault("log", f"logs/{name}.log")
    return {key: one for key, one in value.items() if one is not None or key == "health"}


def env_file(value: Any) -> Any:  # noqa: ANN401  what YAML gave
    """Return the long form of `env_file`; None for none."""
    if value in (None, "none"):
        return None
    return {"path": value} if isinstance(value, str) else value


def _split(holder: dict[str, Any], key: str, path: Path, report: Report, *, shell: bool) -> None:
    text = holder.get(key)
    if not isinstance(text, str):
        return
    if shell:
        holder[key] = ["/bin/sh", "-c", text]
        return
    try:
        holder[key] = split_words(text, shlex.split)
    except ValueError as error:
        report((*path, key), f"cannot be split into words: {str(error).lower()}")
        holder[key] = [text]


def _drop_unsupported(
    value: dict[str, Any], keys: dict[str, tuple[Any, ...]], path: Path, report: Report
) -> None:
    for key, harmless in keys.items():
        if key in value and value.pop(key) not in harmless:
            report((*path, key), "is not supported by this version")


def _alternatives(value: dict[str, Any], path: Path, report: Report) -> None:
    command, run, shell = value.pop("command", None), value.get("run"), value.pop("shell", False)
    if command is not None and run is not None:
        report((*path, "run"), "cannot stand beside `command`: name one of them")
    if command is not None:
        value["run"] = [{"command": command, "shell": shell}]
    elif run is None:
        report(path, "has no `command`")
        # So that the rest of it is looked at all the same.
        value["run"] = [{"command": [value["name"]]}]


def _none(value: dict[str, Any], key: str) -> None:
    if value.get(key) == "none":
        del value[key]


def _policy(value: dict[str, Any]) -> None:
    restart = value.get("restart")
    if restart is False:  # YAML reads an unquoted `no` so
        restart = "no"
    if isinstance(restart, str):
        value["restart"] = {"policy": restart}
    elif isinstance(restart, dict):
        restart = dict(restart)
        if restart.get("policy") is False:
            restart["policy"] = "no"
        if restart.get("limit") in ("none", False):
            restart["limit"] = None
        value["restart"] = restart


def _depends_on(value: dict[str, Any]) -> None:
    """Make a list a mapping; which condition each gets is known when all services are."""
    needs = value.get("depends_on")
    if isinstance(needs, str):
        needs = [needs]
    if isinstance(needs, list):
        value["depends_on"] = {one if isinstance(one, str) else str(one): None for one in needs}


def default_condition(needed: dict[str, Any]) -> str:
    """Return what a service in a list of dependencies is waited for."""
    if needed.get("oneshot") is True:
        return "completed"
    return "healthy" if needed.get("health") is not None else "started"


def _health(value: dict[str, Any], path: Path, report: Report) -> None:
    health = value.get("health", "default")
    if health in ("none", False, None):
        value["health"] = None
        return
    probes = {} if health == "default" else health
    if not isinstance(probes, dict):
        report((*path, "health"), "must be a mapping, such as {http: /health}, or none")
        value["health"] = None
        return
    probes = dict(probes)
    here = (*path, "health")
    _drop_unsupported(probes, _UNSUPPORTED_HEALTH, here, report)
    _http(probes, here, report)
    _tcp(probes, here, report, has_port=value.get("port") is not None)
    if "exec" in probes and isinstance(probes["exec"], list):
        probes["exec"] = {"command": probes["exec"]}
    if "log" in probes:
        _log(probes, here, report)
    if not _HEALTH_KEYS & probes.keys():
        if value.get("port") is None or value.get("oneshot") is True:
            if health != "default":
                report(here, "names no probe: one of http, tcp, exec, log")
            value["health"] = None
            return
        probes["tcp"] = {}
    value["health"] = probes


def _http(probes: dict[str, Any], path: Path, report: Report) -> None:
    http = probes.get("http")
    if http is None:
        probes.pop("http", None)
        return
    if isinstance(http, str | Template):
        is_url = isinstance(http, str) and "://" in http
        leads = isinstance(http, Template) and not str(http).startswith("/")
        http = {"url": http} if is_url or leads else {"path": http}
    if not isinstance(http, dict):
        report((*path, "http"), "must be a path, a URL or a mapping")
        del probes["http"]
        return
    http = dict(http)
    if ("path" in http) == ("url" in http):
        report((*path, "http"), "needs either `path` or `url`")
    url = http.get("url")
    if isinstance(url, str) and urlsplit(url).scheme not in {"http", "https"}:
        report((*path, "http"), f"{url!r} is no http or https URL")
    if "status" in http:
        http["status"] = _statuses(http["status"], (*path, "http", "status"), report)
    probes["http"] = http


def _statuses(value: Any, path: Path, report: Report) -> list[tuple[int, int]]:  # noqa: ANN401
    ranges = []
    for one in value if isinstance(value, list) else [value]:
        match = _STATUS.fullmatch(str(one).replace(" ", ""))
        if match is None:
            report(path, f"{one!r} is no status such as 200 or 200-299")
            continue
        ranges.append((int(match[1]), int(match[2] or match[1])))
    return ranges


def _tcp(probes: dict[str, Any], path: Path, report: Report, *, has_port: bool) -> None:
    tcp = probes.get("tcp")
    if tcp is None or tcp is False:
        probes.pop("tcp", None)
    elif tcp is True:
        probes["tcp"] = {}
    elif isinstance(tcp, int):
        probes["tcp"] = {"port": tcp}
    elif isinstance(tcp, str):
        host, _, port = tcp.rpartition(":")
        probes["tcp"] = {"port": port, **({"host": host.strip("[]")} if host else {})}
    if probes.get("tcp") == {} and not has_port:
        report((*path, "tcp"), "the service has no `port` to probe")
    http = probes.get("http")
    if isinstance(http, dict) and "path" in http and not has_port:
        report((*path, "http"), "a path needs the service to have a `port`; or give a whole URL")


def _log(probes: dict[str, Any], path: Path, report: Report) -> None:
    pattern = probes["log"]
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error as error:
            report((*path, "log"), f"is no regular expression: {error}")
        probes["log"] = {"pattern": pattern}
