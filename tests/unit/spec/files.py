"""Writes services.yaml and reads it: what most tests of this room begin with."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.load import load
from orchestrator.spec.model import Project, Service


def write(folder: Path, text: str, name: str = "services.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def project(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Project:
    return load(write(folder, text), environ or {})


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with a file, a line each."""
    with pytest.raises(SpecError) as caught:
        project(folder, text, environ)
    lines = [str(one) for one in caught.value.problems]
    assert str(caught.value) == "\n".join(lines)
    assert caught.value.exit_code == 6
    return lines


def service(folder: Path, keys: str, environ: Mapping[str, str] | None = None) -> Service:
    """Return the service `web` with these keys; its command is `serve` if they name none."""
    return project(folder, _one(keys), environ).services["web"]


def service_problems(
    folder: Path, keys: str, environ: Mapping[str, str] | None = None
) -> list[str]:
    """Return what is wrong with these keys of a service, without file and place."""
    lines = problems(folder, _one(keys), environ)
    return [line.partition(": services.web")[2].removeprefix(".") for line in lines]


def _one(keys: str) -> str:
    keys = textwrap.dedent(keys).strip("\n")
    if "command:" not in keys and "run:" not in keys:
        keys = f"command: [serve]\n{keys}"
    return f"services:\n  web:\n{textwrap.indent(keys, '    ')}\n"
