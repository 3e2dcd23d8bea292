"""services.yaml into a Project, or every problem in it at once."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.errors import Problem, SpecError
from orchestrator.spec import dotenv, normalise, words
from orchestrator.spec.interpolate import replace
from orchestrator.spec.model import SERVICE_NAME, Project
from orchestrator.spec.order import find_cycle
from orchestrator.spec.template import Ref
from orchestrator.spec.tree import TooLarge, Tree, read

FILE_NAMES = ("services.yaml", "services.yml")

_MAX_BYTES = 5 * 1024 * 1024
_REQUIRES = {"program", "file", "file.dir"}
_OF_SERVICES = {"url", "port", "log"}

Where = tuple[str | int, ...]


def find_file(start: Path) -> Path | None:
    """Return the services.yaml of ``start`` or of its nearest parent that has one."""
    for folder in (start, *start.parents):
        for name in FILE_NAMES:
            if (folder / name).is_file():
                return folder / name
    return None


def load(
    file: Path, environ: Mapping[str, str], env_file: Path | None = None, shown: str | None = None
) -> Project:
    """Return what ``file`` says. ``environ`` is the environment of `up`.

    ``env_file`` stands in place of the file's own; ``shown`` is how messages call the file.

    Raises:
        SpecError: it can't be read, or there is something wrong in it; all problems are named.
    """
    return _Loading(file, environ, env_file, shown or file.name).project()


class _Loading:
    """One reading of one file: collects problems while it goes on as far as it can."""

    def __init__(
        self, file: Path, environ: Mapping[str, str], env_file: Path | None, shown: str
    ) -> None:
        self._file = Path(file).resolve()
        self._environ = environ
        self._env_file = env_file
        self._shown = shown
        self._tree = Tree()
        self._problems: list[Problem] = []
        self._variables: Mapping[str, str] = environ
        self._used: dict[Where, list[str]] = {}

    def project(self) -> Project:
        raw = self._read()
        file_values = self._read_env_file(raw)
        self._variables = {**file_values, **self._environ}
        services = raw.get("services")
        for name, one in services.items() if isinstance(services, dict) else ():
            if isinstance(one, dict):
                normalise.commands(one, ("services", name), self._report)
        raw = self._replaced(raw, ())
        raw["services"] = self._services(raw)
        raw.setdefault("name", self._file.parent.name)
        raw["env_file"] = normalise.env_file(raw.get("env_file"))
        raw["file"] = self._file
        raw["env_file_values"] = file_values
        project = self._validated(raw)
        self._fail_if_any()
        if project is None:  # pragma: no cover  a problem was reported for whatever made it None
            raise SpecError(f"{self._shown} is not valid")
        return project

    # Reading.

    def _read(self) -> dict[str, Any]:
        try:
            data = self._file.read_bytes()
        except OSError as error:
            self._report((), f"cannot be read: {(error.strerror or str(error)).lower()}")
            self._fail_if_any()
            raise
        if len(data) > _MAX_BYTES:
            self._report((), "is larger than 5 MiB")
            self._fail_if_any()
        try:
            self._tree = read(data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            self._add(data.count(b"\n", 0, error.start) + 1, None, "", "is not UTF-8")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
            self._add(line, column, "", f"is no YAML: {error.problem or error.context}")
        except (yaml.YAMLError, TooLarge, RecursionError) as error:
            self._add(None, None, "", f"is no YAML that can be read: {error}")
        for path, line, column, message in self._tree.problems:
            self._add(line, column, _dotted(path), message)
        self._fail_if_unreadable()
        value: dict[str, Any] = self._tree.value
        return dict(value)

    def _fail_if_unreadable(self) -> None:
        if self._tree.value is None and not self._problems:
            self._report((), "is empty")
        elif not isinstance(self._tree.value, dict) and not self._problems:
            self._report((), "must be a mapping with `services`")
        if not isinstance(self._tree.value, dict):
            self._fail_if_any()

    def _read_env_file(self, raw: Mapping[str, Any]) -> dict[str, str]:
        asked = normalise.env_file(raw.get("env_file", ".env"))
        required = self._env_file is not None
        path = self._env_file
        if path is None and isinstance(asked, dict) and isinstance(asked.get("path"), str):
            path = self._file.parent / replace(asked["path"], self._environ).template.render(str)
            required = asked.get("required") is True
        if path is None:
            return {}
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            if required or path.exists():
                self._report(("env_file",), f"cannot read {path}: {(error.strerror or '').lower()}")
            return {}
        except UnicodeDecodeError:
            self._report(("env_file",), f"{path} is not UTF-8")
            return {}
        values, malformed = dotenv.parse(text)
        for one in malformed:
            self._problems.append(Problem(path.name, one.line, None, "", one.message))
        return values

    # Replacing.

    def _replaced(self, value: Any, path: Where) -> Any:  # noqa: ANN401  YAML is anything
        if isinstance(value, dict):
            return {key: self._replaced(one, (*path, key)) for key, one in value.items()}
        if isinstance(value, list):
            return [self._replaced(one, (*path, number)) for number, one in enumerate(value)]
        if not isinstance(value, str) or "$" not in value or _is_pattern(path):
            return value
        result = replace(value, self._variables)
        for problem in result.problems:
            self._report(path, problem)
        if result.used:
            self._used[path] = result.used
        for ref in result.template.refs:
            self._check_ref(ref, path)
        return result.value

    def _check_ref(self, ref: Ref, path: Where) -> None:
        root, rest = ref.path[0], ".".join(ref.path[1:])
        document = self._tree.value
        if root == "secrets":
            known = document.get("secrets") or {}
            if rest not in known:
                self._report(path, f"there is no secret {rest!r}{_meant(rest, known)}")
        elif root == "requires":
            if rest not in _REQUIRES or "run" not in path:
                self._report(
                    path,
                    f"{ref} is not known; in a `run:` there are ${{requires.program}}, "
                    "${requires.file} and ${requires.file.dir}",
                )
        elif root == "services":
            self._check_service_ref(ref, path)

    def _check_service_ref(self, ref: Ref, path: Where) -> None:
        name = ref.path[1] if len(ref.path) > 1 else ""
        what = ref.path[2] if len(ref.path) > 2 else ""
        services = self._tree.value.get("services") or {}
        if name not in services:
            self._report(path, f"there is no service {name!r}{_meant(name, services)}")
        elif what not in _OF_SERVICES or (what == "log") != (len(ref.path) == 4):
            self._report(path, f"{ref} is not known; there are .url, .port and .log.GROUP")
        elif len(path) > 1 and path[0] == "services":
            own = services.get(path[1])
            needs = own.get("depends_on") if isinstance(own, dict) else None
            if name not in (needs or ()):
                self._report(path, f"{ref} needs {name!r} in depends_on")

    # Services.

    def _services(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        services = raw.get("services")
        if not isinstance(services, dict) or not services:
            self._report(("services",), "names no service")
            self._fail_if_any()
            return {}
        made: dict[str, Any] = {}
        for name, one in services.items():
            path = ("services", name)
            if not SERVICE_NAME.fullmatch(name) or name == "orchestrator":
                self._report(
                    path,
                    "is no name for a service: lower-case letters, digits, _ and -, 40 at most"
                    if name != "orchestrator"
                    else "is the supervisor's own name",
                )
            if isinstance(one, dict):
                made[name] = normalise.service(name, one, path, self._report)
                self._note_user_requirements(made[name], path)
            else:
                self._report(path, "must be a mapping with at least `command`")
        self._dependencies(made)
        self._unique_logs(made)
        self._unique_ports(made)
        self._unique_publications(made)
        return made

    def _note_user_requirements(self, service: dict[str, Any], path: Where) -> None:
        run = service.get("run")
        for number, one in enumerate(run if isinstance(run, list) else ()):
            requires = one.get("requires") if isinstance(one, dict) else None
            if isinstance(requires, dict):
                here = (*path, "run", number, "requires")
                names = [n for place, used in self._used.items() if place[:5] == here for n in used]
                requires["set_by_user"] = tuple(dict.fromkeys(names))

    def _dependencies(self, services: dict[str, dict[str, Any]]) -> None:
        needs: dict[str, list[str]] = {}
        for name, service in services.items():
            asked = service.get("depends_on")
            wanted: dict[str, Any] = asked if isinstance(asked, dict) else {}
            needs[name] = []
            for other in wanted:
                path: Where = ("services", name, "depends_on", other)
                if other == name:
                    self._report(path, "a service cannot depend on itself")
                elif other not in services:
                    hint = _meant(other, (one for one in services if one != name))
                    self._report(path, f"there is no service {other!r}{hint}")
                else:
                    needs[name].append(other)
                    if wanted[other] is None:
                        wanted[other] = normalise.default_condition(services[other])
        ring = find_cycle(needs)
        if ring is not None:
            path = ("services", ring[0], "depends_on")
            self._report(path, f"the services wait for each other: {' → '.join(ring)}")

    def _unique_logs(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        seen: dict[Path, str] = {(self._file.parent / "logs/orchestrator.log").resolve(): ""}
        for name, service in services.items():
            if not isinstance(service.get("log"), str):
                continue
            log = (self._file.parent / service["log"]).resolve()
            if log in seen:
                whose = f"service {seen[log]!r}" if seen[log] else "the supervisor"
                self._report(("services", name, "log"), f"is the log file of {whose} as well")
            seen.setdefault(log, name)

    def _unique_ports(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        seen: dict[int, str] = {}
        for name, service in services.items():
            text = str(service.get("port"))
            if not text.isdigit():
                continue
            if int(text) in seen:
                other = seen[int(text)]
                self._report(
                    ("services", name, "port"), f"service {other!r} has port {text} as well"
                )
            seen.setdefault(int(text), name)

    def _unique_publications(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        seen: dict[str, str] = {}
        for name, service in services.items():
            mcp = service.get("mcp")
            published = mcp.get("name") if isinstance(mcp, dict) else None
            if not isinstance(published, str):
                continue
            if published in seen:
                path = ("services", name, "mcp", "name")
                self._report(path, f"service {seen[published]!r} is published by this name as well")
            seen.setdefault(published, name)

    # Checking.

    def _validated(self, raw: dict[str, Any]) -> Project | None:
        try:
            return Project.model_validate(raw)
        except ValidationError as error:
            reported = {(one.line, one.column, one.path) for one in self._problems}
            for path, message in words.problems(error, Project):
                line, column = self._tree.place(path)
                if (line, column, _dotted(path)) not in reported:
                    self._report(path, message)
            return None

    # Problems.

    def _report(self, path: Where, message: str) -> None:
        line, column = self._tree.place(path)
        self._add(line, column, _dotted(path), message)

    def _add(self, line: int | None, column: int | None, path: str, message: str) -> None:
        problem = Problem(self._shown, line, column, path, message)
        if problem not in self._problems:
            self._problems.append(problem)

    def _fail_if_any(self) -> None:
        if self._problems:
            ordered = sorted(self._problems, key=lambda one: (one.line or 0, one.column or 0))
            text = "\n".join(str(problem) for problem in ordered)
            raise SpecError(text, tuple(ordered))


def _dotted(path: Where) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _is_pattern(path: Where) -> bool:
    """A regular expression ends lines with `$`; there is nothing to replace in it."""
    return path[-2:] == ("health", "log")
