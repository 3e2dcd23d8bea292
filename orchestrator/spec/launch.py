"""What a service is started with: command, environment and folder, with everything replaced."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import ServiceError
from orchestrator.spec.model import Project, Service
from orchestrator.spec.template import Ref, Template

_INHERITED = ("PATH", "HOME", "USER", "LANG", "TZ")
_OURS = "ORCH_"
# What systemd gave to us is for us alone: a service would answer in our name.
# Source: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).
_FOR_US = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDNAMES",
    }
)
_HELPFUL = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What other services may refer to of a service that is there."""

    url: str | None = None
    port: int | None = None
    log: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The alternative of `run` that is taken, and what its `requires` found (absolute paths)."""

    index: int = 0
    program: str | None = None
    file: str | None = None
    skipped: tuple[tuple[int, str], ...] = ()
    broken: tuple[int, ...] = ()
    """Those of the skipped ones that are there and would not run."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a start needs. ``render`` replaces the references of the service's other texts."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    render: Callable[[Template], str] = field(repr=False)


def launch(
    project: Project,
    service: Service,
    chosen: Chosen,
    *,
    environ: Mapping[str, str],
    port: int | None,
    secrets: Mapping[str, str],
    facts: Mapping[str, Facts],
    python: str,
    state_dir: str,
    cookie: str,
) -> Launch:
    """Return what one run of a service is started with.

    ``environ`` is the environment of `up`, ``port`` the service's own, ``facts`` are those of the
    services that it depends on, ``cookie`` is the mark of this run.

    Raises:
        ServiceError: something that it refers to is not known.
    """
    around = {"PYTHON": python, "STATE_DIR": state_dir}
    if port is not None:
        around["PORT"] = str(port)

    def lookup(ref: Ref) -> str:
        found = _value(ref, chosen, around, secrets, facts)
        if found is None:
            raise ServiceError(
                f"cannot start {service.name!r}: {ref} is not known now", service.name
            )
        return found

    def render(template: Template) -> str:
        return template.render(lookup)

    alternative = service.run[chosen.index]
    declared = {**service.env, **alternative.env}
    env = base_environment(project, service, environ)
    if port is not None:
        env["PORT"] = around["PORT"]
    env = _HELPFUL | env
    for name, text in declared.items():
        if text is None:
            env.pop(name, None)
        else:
            env[name] = render(text)
    env["ORCH_COOKIE"] = cookie
    cwd = os.path.join(project.root_dir, render(alternative.cwd or service.cwd))  # noqa: PTH118
    argv = tuple(render(word) for word in alternative.command)
    return Launch(argv, env, os.path.normpath(cwd), render)


def base_environment(
    project: Project, service: Service, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return what is below the declared `env`: the service's file, `up`'s environment, `.env`.

    What concerns the supervisor alone is taken out: ORCH_…, and what systemd said to it.
    """
    around = {**project.env_file_values, **environ}
    if not service.inherit_env:
        around = {name: around[name] for name in _INHERITED if name in around}
    inherited = {
        name: value
        for name, value in around.items()
        if name not in _FOR_US and not name.startswith(_OURS)
    }
    return inherited | service.env_file_values


def _value(
    ref: Ref,
    chosen: Chosen,
    around: Mapping[str, str],
    secrets: Mapping[str, str],
    facts: Mapping[str, Facts],
) -> str | None:
    match ref.path:
        case (name,):
            return around.get(name)
        case ("secrets", name):
            return secrets.get(name)
        case ("requires", "program"):
            return chosen.program
        case ("requires", "file"):
            return chosen.file
        case ("requires", "file", "dir"):
            return None if chosen.file is None else str(Path(chosen.file).parent)
        case ("services", name, *what):
            return _fact(facts.get(name, Facts()), what)
        case _:
            return None


def _fact(facts: Facts, what: list[str]) -> str | None:
    match what:
        case ["url"]:
            return facts.url
        case ["port"]:
            return None if facts.port is None else str(facts.port)
        case ["log", group]:
            return (facts.log or {}).get(group)
        case _:
            return None
