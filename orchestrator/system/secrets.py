"""The values of a stack's secrets: from the environment, from files, or made once and kept."""

import fcntl
import json
import os
import secrets as randomness
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.spec.model import Project, Secret

_RANDOM_BYTES = 32


def resolve(project: Project, environ: Mapping[str, str], state_dir: Path) -> dict[str, str]:
    """Return the value of every secret of the project; those to be made are made and kept (0600).

    Raises:
        OrchestratorError: one has no value, or the kept ones can't be read or written.
    """
    values: dict[str, str] = {}
    to_make = []
    for name, secret in project.secrets.items():
        found = _given(project, secret, environ)
        if found is not None:
            values[name] = found
        elif secret.generate:
            to_make.append(name)
        else:
            raise OrchestratorError(
                f"the secret {name!r} has no value: set {secret.env}"
                if secret.env
                else f"the secret {name!r} has no value: give it env, file or generate"
            )
    return values | _made(to_make, state_dir)


def _given(project: Project, secret: Secret, environ: Mapping[str, str]) -> str | None:
    if secret.env is not None:
        found = environ.get(secret.env) or project.env_file_values.get(secret.env)
        if found:
            return found
    if secret.file is None:
        return None
    path = project.root_dir / Path(secret.file).expanduser()
    try:
        return path.read_text(encoding="utf-8").rstrip("\n") or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise OrchestratorError(f"cannot read the secret in {path}: {error}") from error


def _made(names: list[str], state_dir: Path) -> dict[str, str]:
    if not names:
        return {}
    path = state_dir / "secrets.json"
    lock_fd = os.open(
        state_dir / "secrets.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        kept = _kept(path)
        new = {name: randomness.token_urlsafe(_RANDOM_BYTES) for name in names if name not in kept}
        if new:
            _write(path, kept | new)
        return {name: (kept | new)[name] for name in names}
    finally:
        os.close(lock_fd)


def _kept(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OrchestratorError(
            f"cannot read the generated secrets in {path}: {error}; "
            "mend it, or move it away to have new ones made"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise OrchestratorError(f"{path} does not hold secrets; move it away to have new ones made")
    return value


def _write(path: Path, values: Mapping[str, str]) -> None:
    temp = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(dict(values), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temp.replace(path)
    folder_fd = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)
