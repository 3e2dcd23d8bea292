"""Which alternative of a `run` this machine can take."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import ProgramMissing
from orchestrator.spec.launch import Chosen
from orchestrator.spec.model import Project, Requires, Service
from orchestrator.spec.template import Template

_DOTNET_PLACES = ("/usr/share/dotnet", "/usr/lib/dotnet", "/usr/local/share/dotnet", "~/.dotnet")


def choose(project: Project, service: Service, environ: Mapping[str, str]) -> Chosen:
    """Return the first alternative whose `requires` are all met, and why not those before it.

    Raises:
        ProgramMissing: none is met, or one that the user asked for by a variable is not.
    """
    skipped: list[tuple[int, str]] = []
    path = _path(service, environ)
    for index, alternative in enumerate(service.run):
        requires = alternative.requires
        if requires is None:
            return Chosen(index, skipped=tuple(skipped))
        program = _program(requires.program, path, environ)
        file = _file(requires.file, project.root_dir)
        missing = _missing(requires, program, file, project.root_dir)
        if missing is None:
            return Chosen(index, program, file, tuple(skipped))
        if requires.set_by_user:
            names = ", ".join(requires.set_by_user)
            raise _refusal(service, f"{missing}, and {names} asks for it", requires, path)
        skipped.append((index, missing))
    reasons = "; ".join(why for _, why in skipped)
    raise _refusal(service, reasons, service.run[-1].requires or Requires(), path)


def _refusal(service: Service, why: str, requires: Requires, path: str) -> ProgramMissing:
    wanted = _text(requires.program) or _text(requires.file) or ""
    return ProgramMissing(
        f"cannot run {service.name!r}: {why}",
        service.name,
        looked_for=wanted,
        places=tuple(path.split(os.pathsep)),
    )


def _path(service: Service, environ: Mapping[str, str]) -> str:
    """Return PATH as the service will see it, as far as it is known before the start."""
    own = service.env.get("PATH")
    if own is not None and not own.refs:
        return str(own)
    return environ.get("PATH", os.defpath)


def _program(wanted: Template | None, path: str, environ: Mapping[str, str]) -> str | None:
    if wanted is None:
        return None
    name = str(wanted)
    found = shutil.which(name, path=path)
    if found is None and name == "dotnet":
        places = [environ.get("DOTNET_ROOT", ""), *_DOTNET_PLACES]
        folders = os.pathsep.join(str(Path(one).expanduser()) for one in places if one)
        found = shutil.which(name, path=folders)
    return str(Path(found).absolute()) if found else None


def _file(wanted: Template | None, root_dir: Path) -> str | None:
    if wanted is None:
        return None
    path = root_dir / Path(str(wanted)).expanduser()
    return str(path) if path.is_file() else None


def _missing(
    requires: Requires, program: str | None, file: str | None, root_dir: Path
) -> str | None:
    if requires.program is not None and program is None:
        return f"{_text(requires.program)!r} is not on PATH"
    if requires.file is not None and file is None:
        return f"there is no file {str(root_dir / str(requires.file))!r}"
    return None


def _text(template: Template | None) -> str | None:
    return None if template is None else str(template)
