"""Which alternative of a `run` this machine can take."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.errors import ProgramMissing
from orchestrator.spec.launch import Chosen, base_environment
from orchestrator.spec.model import Alternative, Project, Requires, Service
from orchestrator.spec.template import Ref, Template

_UNKNOWN = "\0"


class _NotMet(Exception):
    """A requirement is not met; ``places`` were searched."""

    def __init__(self, why: str, looked_for: str, places: tuple[str, ...]) -> None:
        super().__init__(why)
        self.why = why
        self.looked_for = looked_for
        self.places = places


def choose(project: Project, service: Service, environ: Mapping[str, str]) -> Chosen:
    """Return the first alternative whose `requires` are all met, and why not those before it.

    ``environ`` is the environment of `up`. A program is looked for on PATH as the service will see
    it, and `dotnet` in DOTNET_ROOT too; a file counts from the folder of services.yaml.

    Raises:
        ProgramMissing: none is met, or one that the user asked for by a variable is not.
    """
    skipped: list[tuple[int, str]] = []
    last: _NotMet | None = None
    for index, alternative in enumerate(service.run):
        requires = alternative.requires or Requires()
        try:
            program, file = _meet(project, service, alternative, requires, environ)
        except _NotMet as missing:
            if requires.set_by_user:
                raise _asked_for(service, missing, requires.set_by_user) from missing
            skipped.append((index, missing.why))
            last = missing
            continue
        return Chosen(index, program, file, tuple(skipped))
    assert last is not None, "a run without alternatives passes no loader"  # noqa: S101
    reasons = "; ".join(why for _, why in skipped)
    message = f"cannot start {service.name!r}: no alternative of its `run` can be taken: {reasons}"
    raise ProgramMissing(message, service.name, last.looked_for, last.places)


def _asked_for(service: Service, missing: _NotMet, names: tuple[str, ...]) -> ProgramMissing:
    message = (
        f"cannot start {service.name!r}: {missing.why}, and {' and '.join(names)} asks for it; "
        f"correct it, or unset it to have another alternative taken"
    )
    return ProgramMissing(message, service.name, missing.looked_for, missing.places)


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
    raise _NotMet(f"{name!r} is {where}", name, searched)


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
        raise _NotMet(f"there is no file {path!r}", path, (path,)) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    raise _NotMet(f"cannot use {path!r}: {why}", path, (path,))
