"""What services may not have in common, and how they may depend on each other."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.spec.model import SERVICE_NAME
from orchestrator.spec.normalise import default_condition, is_oneshot
from orchestrator.spec.order import find_cycle
from orchestrator.spec.problems import Report, meant
from orchestrator.spec.quantities import parse_port
from orchestrator.spec.tree import Where

_SEGMENT = re.compile(r"(.+)\.\d+", re.ASCII)
OWN_LOG = "logs/orchestrator.log"
"""The supervisor's log file."""

Services = Mapping[str, dict[str, Any]]


def check_name(name: str, path: Where, report: Report) -> None:
    """Report what cannot be the name of a service."""
    if name == "orchestrator":
        report(path, "is the supervisor's own name")
    elif not SERVICE_NAME.fullmatch(name):
        report(path, "is no name for a service: a-z, 0-9, _ and -, 40 at most, no _ or - in front")


def check_dependencies(services: Services, names: list[str], report: Report) -> None:
    """Give every dependency its condition; report those that can never be there.

    ``names`` are all services of the file, those that could not be read included.
    """
    needs: dict[str, list[str]] = {}
    for name, service in services.items():
        asked = service.get("depends_on")
        wanted: dict[str, Any] = asked if isinstance(asked, dict) else {}
        needs[name] = []
        for other in wanted:
            path: Where = ("services", name, "depends_on", other)
            if other == name:
                report(path, "a service cannot depend on itself")
            elif other not in names:
                hint = meant(other, (one for one in names if one != name))
                report(path, f"there is no service {other!r}{hint}")
            elif other in services:
                needs[name].append(other)
                _condition(wanted, other, services[other], path, report)
            if wanted[other] is None:
                wanted[other] = "started"
    ring = find_cycle(needs)
    if ring is not None:
        path = ("services", ring[0], "depends_on", ring[1])
        report(path, f"the services wait for each other: {' → '.join(ring)}")


def _condition(
    wanted: dict[str, Any], other: str, needed: dict[str, Any], path: Where, report: Report
) -> None:
    if wanted[other] is None:
        wanted[other] = default_condition(needed)
    elif wanted[other] == "completed" and not is_oneshot(needed):
        report(path, f"{other!r} never completes: it is no `oneshot`")


def check_logs(
    services: Services, root_dir: Path, others: Mapping[str, str], report: Report
) -> None:
    """Report log files that are the same, or would become it by rotation.

    ``others`` are paths that no log may have, with what they are.
    """
    folders: dict[str, str] = {}

    def real(text: str) -> str:
        folder, name = os.path.split(os.path.join(root_dir, text))  # noqa: PTH118  200 services
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return f"{folders[folder]}/{name}"

    # Index and rotated segments are named for the log without its .log.
    seen = {real(OWN_LOG).removesuffix(".log"): "the supervisor's log file"}
    taken = {real(text): what for text, what in others.items()}
    logs: dict[str, str] = {}
    for name, service in services.items():
        text, path = service.get("log"), ("services", name, "log")
        if not isinstance(text, str):
            continue
        log = real(text)
        stem = log.removesuffix(".log")
        if os.path.basename(log) in {"", ".", "..", ".log"}:  # noqa: PTH119
            report(path, f"{text!r} is no name of a file")
        elif log in taken or stem in seen:
            report(path, f"is {taken.get(log) or seen[stem]} as well")
        seen.setdefault(stem, f"the log file of {name!r}")
        logs[name] = stem
    for name, stem in logs.items():
        rotated = _SEGMENT.fullmatch(stem)
        if rotated and rotated[1] in seen:
            what = f"is what {seen[rotated[1]]} is called when it is rotated"
            report(("services", name, "log"), what)


def check_ports(services: Services, report: Report) -> None:
    """Report ports that two services have."""
    seen: dict[int, str] = {}
    for name, service in services.items():
        try:
            port = parse_port(service.get("port"))
        except ValueError:
            continue
        if isinstance(port, int):
            if port in seen:
                path = ("services", name, "port")
                report(path, f"{port} is the port of {seen[port]!r} as well")
            seen.setdefault(port, name)


def check_publications(services: Services, report: Report) -> None:
    """Report names by which two services would be published."""
    seen: dict[str, str] = {}
    for name, service in services.items():
        mcp = service.get("mcp")
        published = mcp.get("name") if isinstance(mcp, dict) else None
        if isinstance(published, str):
            if published in seen:
                path = ("services", name, "mcp", "name")
                report(path, f"{seen[published]!r} is published by this name as well")
            seen.setdefault(published, name)
