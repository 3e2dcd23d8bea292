"""Which alternative of a `run` this machine can take."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import ProgramMissing
from orchestrator.spec.launch import Chosen, base_environment
from orchestrator.spec.model import Alternative, Condition, Project, Requires, Service
from orchestrator.spec.template import Ref, Template
from orchestrator.system.dotnet import app_of, fault_of, install_hint, not_found
from orchestrator.system.dotnet_host import Fault, Host

_UNKNOWN = "\0"

HostOf = Callable[[str, Mapping[str, str]], Host | None]
"""What a `dotnet` program answered, by its path and its environment; None: it is not known."""


class NotMet(Exception):
    """An alternative can't be taken: ``why``, and the ``fix`` if there is one to tell.

    ``places`` were searched for what was looked for. ``broken``: all of it is there, but it would
    not run.
    """

    def __init__(
        self,
        why: str,
        looked_for: str,
        places: tuple[str, ...],
        fix: str = "",
        *,
        broken: bool = False,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.looked_for = looked_for
        self.places = places
        self.fix = fix
        self.broken = broken

    @property
    def text(self) -> str:
        """Why, and what to do."""
        return f"{self.why}; {self.fix}" if self.fix else self.why


def choose(
    project: Project,
    service: Service,
    environ: Mapping[str, str],
    host_of: HostOf | None = None,
    *,
    before_needs: bool = False,
) -> Chosen:
    """Return the first alternative that can be taken, and why not those before it.

    Its `requires` must be met, and a .NET app must have its files and its runtime. ``environ`` is
    the environment of `up`. A program is looked for on PATH as the service will see it, and
    `dotnet` in DOTNET_ROOT too; a file counts from the folder of services.yaml. ``before_needs``:
    what the service depends on was not started yet, a one-shot may yet build its dll.

    Raises:
        ProgramMissing: none can be taken, or one that the user asked for by a variable can't.
    """
    before_needs = before_needs and Condition.COMPLETED in service.depends_on.values()
    unmet: dict[int, NotMet] = {}
    for index, alternative in enumerate(service.run):
        try:
            met = meet(project, service, index, environ, host_of, before_needs=before_needs)
        except NotMet as missing:
            names = alternative.requires.set_by_user if alternative.requires else ()
            if names:
                raise _asked_for(service, missing, names) from missing
            unmet[index] = missing
            continue
        return replace(
            met,
            skipped=tuple((number, one.text) for number, one in unmet.items()),
            broken=tuple(number for number, one in unmet.items() if one.broken),
        )
    raise _none(service, list(unmet.values()))


def meet(
    project: Project,
    service: Service,
    index: int,
    environ: Mapping[str, str],
    host_of: HostOf | None = None,
    *,
    before_needs: bool = False,
) -> Chosen:
    """Return what one alternative's `requires` found; arguments are those of ``choose``.

    Raises:
        NotMet: it cannot be taken.
    """
    alternative = service.run[index]
    program, file = _meet(
        project, service, alternative, alternative.requires or Requires(), environ
    )
    chosen = Chosen(index, program, file)
    fault = _dotnet_fault(project, service, chosen, environ, host_of)
    if fault is not None and not (before_needs and fault.may_come):
        raise NotMet(fault.problem, "dotnet", (), fault.fix, broken=True)
    return chosen


def dotnet_of(
    project: Project, service: Service, environ: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each `dotnet` that an alternative of the service would run, with its environment.

    Costs nothing for a service without one.
    """
    for index, alternative in enumerate(service.run):
        if _runs_dotnet(alternative):
            try:
                program, _ = _meet(
                    project, service, alternative, alternative.requires or Requires(), environ
                )
                around = _environment(project, service, alternative, environ)
                found = _host_program(Chosen(index, program), alternative, project, around)
            except NotMet:
                continue
            if found is not None:
                yield found, around


def _none(service: Service, unmet: list[NotMet]) -> ProgramMissing:
    reasons = "; ".join(one.text for one in unmet)
    last = unmet[-1]
    why = reasons
    if len(service.run) > 1 or not last.broken:
        why = f"no alternative of its `run` can be taken: {reasons}"
    message = f"cannot start {service.name!r}: {why}"
    return ProgramMissing(message, service.name, last.looked_for, last.places)


def _asked_for(service: Service, missing: NotMet, names: tuple[str, ...]) -> ProgramMissing:
    advice = missing.fix or "correct it"
    message = (
        f"cannot start {service.name!r}: {missing.why}, and {' and '.join(names)} asks for it; "
        f"{advice}, or unset it to have another alternative taken"
    )
    return ProgramMissing(message, service.name, missing.looked_for, missing.places)


# .NET.


def _runs_dotnet(alternative: Alternative) -> bool:
    requires = alternative.requires
    program = alternative.command[0]
    if program.refs == (Ref(("requires", "program")),) and requires and requires.program:
        program = requires.program
    return str(program).rpartition("/")[2] == "dotnet"


def _dotnet_fault(
    project: Project,
    service: Service,
    chosen: Chosen,
    environ: Mapping[str, str],
    host_of: HostOf | None,
) -> Fault | None:
    """Return why the alternative's .NET app would not start; None also if it runs none."""
    alternative = service.run[chosen.index]
    if not _runs_dotnet(alternative):
        return None
    around = _environment(project, service, alternative, environ)
    words = [_found(word, chosen) for word in alternative.command[1:]]
    cwd = _found(alternative.cwd or service.cwd, chosen)
    # What only the start will tell cannot be judged now.
    if _UNKNOWN in cwd:
        return None
    app = app_of(words, project.root_dir / cwd)
    if app is None or _UNKNOWN in str(app.dll) or any(_UNKNOWN in x for x in app.options.values()):
        return None
    try:
        program = _host_program(chosen, alternative, project, around)
    except NotMet as missing:
        return Fault(missing.why, install_hint(around))
    return fault_of(app, host_of(program, around) if host_of and program else None, around)


def _host_program(
    chosen: Chosen, alternative: Alternative, project: Project, around: Mapping[str, str]
) -> str | None:
    """Return the absolute path of the `dotnet` that is run; None if only the start will tell.

    Raises:
        NotMet: it is not there.
    """
    name = _found(alternative.command[0], chosen)
    if _UNKNOWN in name:
        return None
    only_path = {key: value for key, value in around.items() if key != "DOTNET_ROOT"}
    return _program(name, project.root_dir, only_path)


def _environment(
    project: Project, service: Service, alternative: Alternative, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return what of the service's environment is known now."""
    around = base_environment(project, service, environ)
    for name in {**service.env, **alternative.env}:
        _declare(name, service, alternative, around)
    return {name: value for name, value in around.items() if _UNKNOWN not in value}


def _found(template: Template, chosen: Chosen) -> str:
    """Return the text with what `requires` found; what is not known makes it no file's name."""

    def lookup(ref: Ref) -> str:
        match ref.path:
            case ("requires", "program"):
                return chosen.program or _UNKNOWN
            case ("requires", "file"):
                return chosen.file or _UNKNOWN
            case ("requires", "file", "dir"):
                return str(Path(chosen.file).parent) if chosen.file else _UNKNOWN
            case _:
                return _UNKNOWN

    return template.render(lookup)


# Programs and files.


def _meet(
    project: Project,
    service: Service,
    alternative: Alternative,
    requires: Requires,
    environ: Mapping[str, str],
) -> tuple[str | None, str | None]:
    """Return the absolute paths of program and file; None for what is not required."""
    program = file = None
    if requires.program is not None:
        around = base_environment(project, service, environ)
        _declare("PATH", service, alternative, around)
        _declare("DOTNET_ROOT", service, alternative, around)
        program = _program(_text(requires.program), project.root_dir, around)
    if requires.file is not None:
        file = _file(_text(requires.file), project.root_dir, environ)
    return program, file


def _declare(name: str, service: Service, alternative: Alternative, around: dict[str, str]) -> None:
    """Put into ``around`` what `env` says of a variable."""
    declared = {**service.env, **alternative.env}
    if name in declared:
        template = declared[name]
        around.pop(name, None)
        if template is not None:
            around[name] = _text(template)


def _text(template: Template) -> str:
    """Return the text; what only the start will tell makes it one that no file can have."""

    def unknown(_: Ref) -> str:
        return _UNKNOWN

    return template.render(unknown)


def _program(name: str, root_dir: Path, environ: Mapping[str, str]) -> str:
    path = environ.get("PATH", os.defpath)
    if "/" in name:
        places = [str(root_dir / name)]
    else:
        places = [str(folder / name) for folder in _folders(path, root_dir)]
        if name == "dotnet" and environ.get("DOTNET_ROOT"):
            # Source: .NET's own installer and launchers, learn.microsoft.com/dotnet/core/install.
            places.append(str(root_dir / environ["DOTNET_ROOT"] / name))
    for place in places:
        if name and _is_executable(place):
            return place
    searched = tuple(str(Path(place).parent) for place in places)
    where = "not there, or not executable" if "/" in name else "not on PATH"
    fix = install_hint(environ) if name == "dotnet" else ""
    raise NotMet(f"{name!r} is {where}", name, searched, fix)


def _folders(path: str, root_dir: Path) -> Iterator[Path]:
    """Yield the folders of PATH; relative ones count from the project's, as empty ones do."""
    for folder in path.split(os.pathsep):
        if _UNKNOWN not in folder:
            yield root_dir / folder


def _is_executable(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode) and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False


def _file(name: str, root_dir: Path, environ: Mapping[str, str]) -> str:
    if name.startswith("~/") and environ.get("HOME"):
        name = environ["HOME"] + name[1:]
    path = str(root_dir / name)
    why = "it is no file"
    try:
        if stat.S_ISREG(Path(path).stat().st_mode):
            return path
    except FileNotFoundError:
        fix = not_found(Path(path)) if path.endswith(".dll") else ""
        raise NotMet(f"there is no file {path!r}", path, (path,), fix) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    raise NotMet(f"cannot use {path!r}: {why}", path, (path,))
