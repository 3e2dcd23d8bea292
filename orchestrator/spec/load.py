"""services.yaml into a Project, or every problem in it at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.spec import across, normalise, words
from orchestrator.spec.commands import split_commands
from orchestrator.spec.document import read_env_file, read_services
from orchestrator.spec.interpolate import LATER, replace
from orchestrator.spec.model import SECRET_NAME, Config, EnvFile, Project
from orchestrator.spec.problems import Problems
from orchestrator.spec.references import check_references
from orchestrator.spec.template import Ref
from orchestrator.spec.tree import Where

FILE_NAMES = ("services.yaml", "services.yml")

_SOURCES = ("env", "file", "generate")
# Every login sets these: who uses one in a `requires` has not asked for anything by it.
_SET_BY_ALL = {"HOME", "USER", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHELL", "LANG", "TMPDIR"}


def find_file(start: Path) -> Path | None:
    """Return the services.yaml of ``start`` or of its nearest parent that has one."""
    start = start.absolute()
    for folder in (start, *start.parents):
        for name in FILE_NAMES:
            # Not Path.is_file: a folder that may not be searched has no services.yaml for us.
            if os.path.isfile(folder / name):  # noqa: PTH113
                return folder / name
    return None


def as_typed(file: Path, current_dir: Path) -> str:
    """Return how a user would call the file from ``current_dir``: relative if it is below."""
    try:
        return str(file.relative_to(current_dir))
    except ValueError:
        return str(file)


def load(
    file: Path, environ: Mapping[str, str], env_file: Path | None = None, shown: str | None = None
) -> Project:
    """Return what ``file`` says. ``environ`` is the environment of `up`.

    ``env_file`` stands in place of the file's own, and must be there; ``shown`` is how messages
    call the file, by default by its name alone.

    Raises:
        SpecError: it can't be read, or there is something wrong in it; all problems are named.
    """
    return _Loading(file, environ, Problems(shown or file.name)).project(env_file)


def _readable(name: str) -> str:
    """Return the name of a folder as text, whatever bytes it has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _Loading:
    """One reading of one file, which goes on as far as it can."""

    def __init__(self, file: Path, environ: Mapping[str, str], problems: Problems) -> None:
        self._file = file.resolve()
        self._environ = environ
        self._problems = problems
        self._report = problems.report
        self._variables: Mapping[str, str] = environ
        self._used: dict[Where, list[str]] = {}
        self._refs: list[tuple[Where, Ref]] = []

    def project(self, env_file: Path | None) -> Project:
        raw = read_services(self._file, self._problems)
        # A place for anchors, as in Compose.
        raw = {key: one for key, one in raw.items() if one is not None and key[:2] != "x-"}
        normalise.refuse_keys(raw, words.HIDDEN["Project"], (), self._report)
        raw["env_file"] = normalise.env_file(raw.get("env_file"))
        env_file_values = self._env_file_values(raw["env_file"], env_file)
        self._variables = {**env_file_values, **self._environ}
        self._split_commands(raw.get("services"))
        raw = self._replaced(raw, ())
        raw["services"] = self._services(raw.get("services"))
        self._across(raw)
        raw.setdefault("name", _readable(self._file.parent.name) or "root")
        raw["file"], raw["env_file_values"] = self._file, env_file_values
        raw["secret_values"] = self._secret_values(raw.get("secrets"))
        return self._validated(raw)

    # Env files.

    def _env_file_values(self, asked: Any, given: Path | None) -> dict[str, str]:  # noqa: ANN401
        if given is not None:
            return read_env_file(given, self._problems, shown=str(given), required=True)
        if not isinstance(asked, dict) or not isinstance(asked.get("path"), str):
            return {}  # none, or the model will say what is wrong with it
        # What it holds can't say where it is.
        path = replace(asked["path"], self._environ).value
        return self._read_env_file({**asked, "path": path}, ("env_file",))

    def _read_env_file(self, asked: Any, path: Where) -> dict[str, str]:  # noqa: ANN401
        try:
            env_file = EnvFile.model_validate(asked, by_alias=True, by_name=False)
        except ValidationError:
            return {}  # the model of the whole will say what is wrong with it
        real = self._file.parent / env_file.path
        shown = Path(self._problems.shown).parent / env_file.path
        return read_env_file(
            real, self._problems, shown=str(shown), where=path, required=env_file.required
        )

    # Replacing.

    def _split_commands(self, services: Any) -> None:  # noqa: ANN401
        for name, one in services.items() if isinstance(services, dict) else ():
            if isinstance(one, dict):
                split_commands(one, ("services", name), self._report)

    def _replaced(self, value: Any, path: Where) -> Any:  # noqa: ANN401  YAML is anything
        if isinstance(value, dict):
            return {key: self._replaced(one, (*path, key)) for key, one in value.items()}
        if isinstance(value, list):
            return [self._replaced(one, (*path, number)) for number, one in enumerate(value)]
        if not isinstance(value, str) or "$" not in value:
            return value
        # A service's own port can't be known in its port: there PORT is a variable like any other.
        later = LATER - {"PORT"} if path[2:] == ("port",) else LATER
        result = replace(value, self._variables, later)
        for problem in result.problems:
            self._report(path, problem)
        self._refs.extend((path, ref) for ref in dict.fromkeys(result.template.refs))
        if result.used and path[4:5] == ("requires",):
            self._used.setdefault(path[:5], []).extend(result.used)
        return result.value

    # Services.

    def _services(self, raw: Any) -> dict[str, Any]:  # noqa: ANN401
        if not isinstance(raw, dict) or not raw:
            self._report(("services",), "names no service" if not raw else "must be a mapping")
            return {}
        made: dict[str, Any] = {}
        for name, one in raw.items():
            path: Where = ("services", name)
            across.check_name(name, path, self._report)
            if not isinstance(one, dict):
                self._report(path, "must be a mapping with at least `command`")
                continue
            made[name] = normalise.service(name, one, path, self._report)
            self._note_what_users_set(made[name], path)
            if made[name].get("env_file") is not None:
                values = self._read_env_file(made[name]["env_file"], (*path, "env_file"))
                made[name]["env_file_values"] = values
        across.check_dependencies(made, list(raw), self._report)
        return made

    def _note_what_users_set(self, service: dict[str, Any], path: Where) -> None:
        run = service["run"]
        for number, one in enumerate(run if isinstance(run, list) else ()):
            used = self._used.get((*path, "run", number, "requires"), ())
            if isinstance(one, dict) and isinstance(one.get("requires"), dict):
                names = [name for name in dict.fromkeys(used) if name not in _SET_BY_ALL]
                one["requires"]["set_by_user"] = tuple(names)

    def _across(self, raw: dict[str, Any]) -> None:
        services = raw["services"]
        config = raw.get("config", {"path": Config().path})
        others = {self._file.name: "services.yaml itself"}
        for holder, what in ((config, "the file that is published"), (raw["env_file"], "env_file")):
            if isinstance(holder, dict) and isinstance(holder.get("path"), str):
                others[holder["path"]] = what
        across.check_logs(services, self._file.parent, others, self._report)
        across.check_ports(services, self._report)
        across.check_publications(services, self._report)
        secrets = raw.get("secrets")
        known = secrets if isinstance(secrets, dict) else {}
        self._check_secrets(known)
        check_references(self._refs, known, services, self._report)

    def _check_secrets(self, secrets: dict[str, Any]) -> None:
        for name, secret in secrets.items():
            path: Where = ("secrets", name)
            if not SECRET_NAME.fullmatch(name):
                self._report(path, "is no name for a secret: letters, digits, _ and -")
            given = secret or {}
            if isinstance(given, dict) and not any(given.get(key) for key in _SOURCES):
                self._report(path, "needs one of `env`, `file` and `generate: true`")

    def _secret_values(self, secrets: Any) -> tuple[str, ...]:  # noqa: ANN401
        given = secrets.values() if isinstance(secrets, dict) else ()
        names = [str(one.get("env")) for one in given if isinstance(one, dict)]
        return tuple(self._variables[name] for name in names if self._variables.get(name))

    # Checking.

    def _validated(self, raw: dict[str, Any]) -> Project:
        try:
            project = Project.model_validate(raw, by_alias=True, by_name=False)
        except ValidationError as error:
            for path, message in words.problems(error, Project):
                if not self._problems.has(path):
                    self._report(path, message)
            raise self._problems.error() from error
        self._problems.fail_if_any()
        return project
