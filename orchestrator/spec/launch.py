"""What a service is started with: command, environment and folder, with everything replaced."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ServiceError
from orchestrator.spec import dotenv
from orchestrator.spec.model import Project, Service
from orchestrator.spec.template import Ref, Template

_INHERITED = ("PATH", "HOME", "USER", "LANG", "TZ")
_OURS = "ORCH_"
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


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a start needs. ``render`` replaces the references of the service's other texts."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    render: Callable[[Template], str]


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

    ``environ`` is the environment of `up`, ``cookie`` the mark of this run.

    Raises:
        ServiceError: something that it refers to is not known, or its env_file can't be read.
    """
    alternative = service.run[chosen.index]

    def lookup(ref: Ref) -> str:
        return _value(ref, service, chosen, port, secrets, facts, python, state_dir)

    def render(template: Template) -> str:
        return template.render(lookup)

    cwd = os.path.join(project.root_dir, render(alternative.cwd or service.cwd))  # noqa: PTH118
    env = _base(project, service, environ)
    for name, value in {**service.env, **alternative.env}.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = render(value)
    if port is not None and "PORT" not in service.env:
        env["PORT"] = str(port)
    for name, text in _HELPFUL.items():
        if name not in service.env and name not in alternative.env:
            env.setdefault(name, text)
    env["ORCH_COOKIE"] = cookie
    argv = tuple(render(word) for word in alternative.command)
    if alternative.shell and len(argv) == 1:
        argv = ("/bin/sh", "-c", *argv)
    return Launch(argv, env, os.path.normpath(cwd), render)


def _base(project: Project, service: Service, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is below the declared `env`: the service's file, `up`'s environment, `.env`."""
    around = {**project.env_file_values, **environ}
    if not service.inherit_env:
        around = {name: around[name] for name in _INHERITED if name in around}
    around = {name: value for name, value in around.items() if not name.startswith(_OURS)}
    return {**around, **_env_file(project, service)}


def _env_file(project: Project, service: Service) -> dict[str, str]:
    if service.env_file is None:
        return {}
    path = project.root_dir / service.env_file.path
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        if service.env_file.required:
            raise ServiceError(f"cannot read {path}: no such file", service.name) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"cannot read {path}: {error}", service.name) from error
    values, malformed = dotenv.parse(text)
    if malformed:
        first = malformed[0]
        raise ServiceError(f"{path}:{first.line}: {first.message}", service.name)
    return values


def _value(
    ref: Ref,
    service: Service,
    chosen: Chosen,
    port: int | None,
    secrets: Mapping[str, str],
    facts: Mapping[str, Facts],
    python: str,
    state_dir: str,
) -> str:
    match ref.path:
        case ("PORT",):
            found = None if port is None else str(port)
        case ("PYTHON",):
            found = python
        case ("STATE_DIR",):
            found = state_dir
        case ("secrets", *name):
            found = secrets.get(".".join(name))
        case ("requires", "program"):
            found = chosen.program
        case ("requires", "file"):
            found = chosen.file
        case ("requires", "file", "dir"):
            found = None if chosen.file is None else str(Path(chosen.file).parent)
        case ("services", name, *what):
            found = _fact(facts.get(name, Facts()), what)
        case _:
            found = None
    if found is None:
        raise ServiceError(f"{ref} of {service.name!r} is not known", service.name)
    return found


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
