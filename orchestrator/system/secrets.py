"""The values of a stack's secrets: from the environment, from files, or made once and kept."""

import json
import secrets as randomness
from collections.abc import Collection, Mapping
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.spec.model import Project, Secret
from orchestrator.system.files import alone, write_private

_RANDOM_BYTES = 32
_SHORTEST = 8
_FILE = "secrets.json"
_MAX_BYTES = 1024 * 1024


def resolve(project: Project, environ: Mapping[str, str], state_dir: Path) -> dict[str, str]:
    """Return the value of every secret of the project, in the file's order.

    Each is the first that there is: its variable in the environment of `up`, then in the env_file;
    its file, less one line end; else it is made once and kept in ``state_dir`` (0600). An empty
    one counts as none.

    Raises:
        OrchestratorError: some have no value (all are named), or the kept ones can't be read or
            written; they are never written over then.
    """
    values: dict[str, str] = {}
    to_make: list[str] = []
    missing: list[str] = []
    for name, secret in project.secrets.items():
        found = _given(project, name, secret, environ)
        if found is not None:
            values[name] = found
        elif secret.generate:
            to_make.append(name)
        else:
            missing.append(_how_to_give(name, secret))
    if missing:
        raise OrchestratorError("; ".join(missing))
    if to_make:
        values |= _made(to_make, state_dir)
    return {name: values[name] for name in project.secrets}


def known(project: Project, environ: Mapping[str, str], state_dir: Path) -> dict[str, str]:
    """Return the values that secrets have now, for redaction: none is made, nothing is raised."""
    values: dict[str, str] = {}
    try:
        kept = _kept(state_dir / _FILE)
    except OrchestratorError:
        kept = {}
    for name, secret in project.secrets.items():
        try:
            found = _given(project, name, secret, environ)
        except OrchestratorError:
            found = None
        if found is None and secret.generate:
            found = kept.get(name)
        if found is not None:
            values[name] = found
    return values


def warnings(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return what people should be told about the values."""
    return tuple(
        f"the secret {name!r} is shorter than {_SHORTEST} characters: easily guessed, "
        "and hiding it hides innocent text as well"
        for name, value in values.items()
        if len(value) < _SHORTEST
    )


def _given(project: Project, name: str, secret: Secret, environ: Mapping[str, str]) -> str | None:
    if secret.env is not None:
        found = environ.get(secret.env) or project.env_file_values.get(secret.env)
        if found:
            return found
    if secret.file is None:
        return None
    path = project.root_dir / _at_home(secret.file, environ)
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = _reason(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise OrchestratorError(f"cannot read the secret {name!r} in {path}: {why}") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if "\0" in text:
        raise OrchestratorError(f"cannot use the secret {name!r} in {path}: it holds a NUL")
    return text or None


def _at_home(text: str, environ: Mapping[str, str]) -> str:
    home = environ.get("HOME")
    return home + text[1:] if home and text.startswith("~/") else text


def _how_to_give(name: str, secret: Secret) -> str:
    ways = []
    if secret.env:
        ways.append(f"set {secret.env}")
    if secret.file:
        ways.append(f"put it into {secret.file}")
    return f"the secret {name!r} has no value: {' or '.join(ways)}, or let it `generate: true`"


def _made(names: Collection[str], state_dir: Path) -> dict[str, str]:
    path = state_dir / _FILE
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(state_dir / "secrets.lock"):
            kept = _kept(path)
            wanted = [name for name in names if name not in kept]
            if wanted:
                kept |= {name: randomness.token_urlsafe(_RANDOM_BYTES) for name in wanted}
                write_private(path, json.dumps(kept, indent=1).encode(), durable=True)
    except OSError as error:
        raise OrchestratorError(
            f"cannot keep the generated secrets in {path}: {_reason(error)}"
        ) from error
    return {name: kept[name] for name in names}


def _kept(path: Path) -> dict[str, str]:
    how = "mend it, or move it away to have new ones made"
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OrchestratorError(
            f"cannot read the generated secrets in {path}: {_reason(error)}"
        ) from error
    except ValueError as error:
        raise OrchestratorError(
            f"cannot read the generated secrets in {path}: it is no JSON; {how}"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise OrchestratorError(f"cannot read the generated secrets in {path}: {how}")
    return value


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
