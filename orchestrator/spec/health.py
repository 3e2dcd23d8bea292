"""The short forms of `health` written out."""

import re
from typing import Any
from urllib.parse import urlsplit

from orchestrator.spec.problems import Report
from orchestrator.spec.quantities import parse_port_number
from orchestrator.spec.template import Ref, Template
from orchestrator.spec.tree import Where

_PROBES = ("http", "tcp", "exec", "log", "mcp")
_STATUS = re.compile(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?", re.ASCII)
_OWN_PORT = Ref(("PORT",))


def health(raw: Any, path: Where, report: Report, *, has_port: bool) -> dict[str, Any] | None:  # noqa: ANN401
    """Return the long form; None for no probe. Where none is named, a service's port is probed."""
    if raw is None:
        return {"tcp": {}} if has_port else None
    if is_none(raw):
        return None
    if not isinstance(raw, dict):
        report(path, "must be a mapping such as {http: /health}, or none")
        return None
    value = {key: one for key, one in raw.items() if one is not None}
    _http(value, path, report, has_port=has_port)
    _tcp(value, path, report, has_port=has_port)
    _exec(value, path, report)
    _log(value, path, report)
    _mcp(value, path, report)
    if not any(name in value for name in _PROBES):
        if any(name in raw for name in _PROBES):
            return None  # what it names was reported, or switched off
        if not has_port:
            report(path, f"names no probe ({', '.join(_PROBES)}), and there is no `port` to try")
            return None
        value["tcp"] = {}
    return value


def is_none(value: object) -> bool:
    """Whether people say by it that there is to be none; zero is a value."""
    return value is False or value == "none"


def _http(value: dict[str, Any], path: Where, report: Report, *, has_port: bool) -> None:
    http, here = value.get("http"), (*path, "http")
    if isinstance(http, str | Template):
        http = {"path" if _lead(http).startswith("/") else "url": http}
    if http is None or not isinstance(http, dict):
        if value.pop("http", None) is not None:
            report(here, "must be a path, a URL or a mapping")
        return
    http = value["http"] = {key: one for key, one in http.items() if one is not None}
    if ("path" in http) == ("url" in http):
        report(here, "needs either `path` or `url`")
    elif "url" in http:
        _url(http["url"], here, report)
    elif isinstance(http["path"], str | Template):
        if not _lead(http["path"]).startswith("/"):
            report(here, "a path begins with /")
        if not has_port:
            report(here, "a path needs the service to have a `port`; or give a whole URL")
    if "status" in http:
        http["status"] = _statuses(http["status"], (*here, "status"), report)


def _lead(text: str | Template) -> str:
    """Return what a text surely begins with; a slash where only the start will tell."""
    if isinstance(text, str):
        return text
    first = text.parts[0]
    return first if isinstance(first, str) else f"http://{first}"


def _url(url: Any, path: Where, report: Report) -> None:  # noqa: ANN401
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        report(path, f"{url!r} is neither a path, which begins with /, nor an http or https URL")


def _statuses(value: Any, path: Where, report: Report) -> list[tuple[int, int]]:  # noqa: ANN401
    ranges = []
    for one in value if isinstance(value, list) else [value]:
        match = _STATUS.fullmatch(str(one).strip())
        if match is None or int(match[1]) > int(match[2] or match[1]):
            report(path, f"{str(one)!r} is no status such as 200 or 200-299")
            continue
        ranges.append((int(match[1]), int(match[2] or match[1])))
    return ranges or [(200, 299)]


def _tcp(value: dict[str, Any], path: Where, report: Report, *, has_port: bool) -> None:
    tcp, here = value.get("tcp"), (*path, "tcp")
    if tcp is None or tcp is False:
        value.pop("tcp", None)
        return
    host, own = "", tcp is True
    if isinstance(tcp, Template) and tcp.parts[-1] == _OWN_PORT and len(tcp.parts) <= 2:
        own = len(tcp.parts) == 1 or str(tcp.parts[0]).endswith(":")
        host = str(tcp.parts[0]).removesuffix(":") if len(tcp.parts) == 2 else ""
    port: object = tcp
    if isinstance(tcp, str):
        host, _, port = tcp.rpartition(":")
    value["tcp"] = {"host": host.removeprefix("[").removesuffix("]")} if host else {}
    if own:
        if not has_port:
            report(here, "the service has no `port` to try")
        return
    try:
        value["tcp"]["port"] = parse_port_number(port)
    except ValueError:
        report(here, "must be a port, host:port, or true for the service's own")


def _exec(value: dict[str, Any], path: Where, report: Report) -> None:
    command = value.get("exec")
    if command is None:
        return
    if isinstance(command, list) and command:
        value["exec"] = {"command": command}
        return
    report((*path, "exec"), "must be a command: a list of words, or one text")
    del value["exec"]


def _log(value: dict[str, Any], path: Where, report: Report) -> None:
    pattern, here = value.get("log"), (*path, "log")
    if pattern is None:
        return
    if isinstance(pattern, Template):
        report(here, f"{pattern.refs[0]} is not known yet when the pattern is read")
    elif not isinstance(pattern, str):
        report(here, "must be a regular expression")
    else:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            report(here, f"is no regular expression: {error}")
        value["log"] = {"pattern": pattern}
        return
    del value["log"]


def _mcp(value: dict[str, Any], path: Where, report: Report) -> None:
    mcp, here = value.get("mcp"), (*path, "mcp")
    if mcp is None or is_none(mcp):
        value.pop("mcp", None)
        return
    if isinstance(mcp, str | Template):
        mcp = {"path": mcp}
    if mcp is not True and not isinstance(mcp, dict):
        report(here, "must be true, a path or a mapping such as {tools: [name]}")
        del value["mcp"]
        return
    mcp = value["mcp"] = {} if mcp is True else {k: v for k, v in mcp.items() if v is not None}
    lead = mcp.get("path")
    if isinstance(lead, str) and not lead.startswith("/"):
        report(here, "a path begins with /")
