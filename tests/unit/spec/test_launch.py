"""What a service is started with."""

from pathlib import Path

import pytest

from orchestrator.errors import ServiceError
from orchestrator.spec.launch import Chosen, Facts, Launch, launch
from orchestrator.spec.model import Project
from orchestrator.spec.template import Ref, Template
from tests.unit.spec.files import project, write

UP = {"PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C"}


def started(
    made: Project,
    *,
    environ: dict[str, str] | None = None,
    port: int | None = None,
    chosen: Chosen | None = None,
    facts: dict[str, Facts] | None = None,
) -> Launch:
    return launch(
        made,
        made.services["web"],
        chosen or Chosen(),
        environ=UP if environ is None else environ,
        port=port,
        secrets={"key": "s3cret"},
        facts=facts or {},
        python="/usr/bin/python3",
        state_dir="/state",
        cookie="abc/web/1",
    )


def web(folder: Path, keys: str, environ: dict[str, str] | None = None) -> Project:
    text = f"""\
        secrets: {{key: {{generate: true}}}}
        services:
          db: {{command: x, port: 5432, health: {{log: '(?P<who>.*)'}}}}
          web: {{{keys}}}
        """
    return project(folder, text, environ)


def test_every_reference_has_its_value(tmp_path: Path) -> None:
    keys = """port: 80, depends_on: [db], cwd: "${STATE_DIR}/x",
            command: ["${PYTHON}", "-p${PORT}", "${services.db.url}:${services.db.port}"],
            env: {WHO: "${services.db.log.who}", KEY: "${secrets.key}", COST: "$$5 $x"}"""
    facts = {"db": Facts("http://localhost:5432", 5432, {"who": "me"})}
    found = started(web(tmp_path, keys), port=80, facts=facts)
    assert found.argv == ("/usr/bin/python3", "-p80", "http://localhost:5432:5432")
    assert found.cwd == "/state/x"
    assert {name: found.env[name] for name in ("WHO", "KEY", "COST")} == {
        "WHO": "me",
        "KEY": "s3cret",
        "COST": "$5 $x",
    }
    assert found.render(Template(("<", Ref(("PORT",)), ">"))) == "<80>"
    assert "s3cret" not in repr(found)


def test_what_requires_found_is_known_to_its_alternative(tmp_path: Path) -> None:
    keys = """run: [{requires: {program: dotnet, file: a/b.dll}, cwd: "${requires.file.dir}",
            env: {A: alternative}, command: ["${requires.program}", "${requires.file}"]},
            {command: [other]}], env: {A: service, B: service}, cwd: sub"""
    made = web(tmp_path, keys)
    chosen = Chosen(0, "/usr/bin/dotnet", "/project/a/b.dll")
    found = started(made, chosen=chosen)
    assert found.argv == ("/usr/bin/dotnet", "/project/a/b.dll")
    assert found.cwd == "/project/a"
    assert (found.env["A"], found.env["B"]) == ("alternative", "service")
    other = started(made, chosen=Chosen(1))
    assert (other.argv, other.cwd) == (("other",), str(tmp_path / "sub"))
    assert other.env["A"] == "service"


@pytest.mark.parametrize(
    ("reference", "facts"),
    [
        ("services.db.url", {}),
        ("services.db.url", {"db": Facts()}),
        ("services.db.port", {"db": Facts()}),
        ("services.db.log.who", {"db": Facts(log={})}),
    ],
)
def test_a_fact_that_is_not_there_is_an_error_and_never_empty(
    tmp_path: Path, reference: str, facts: dict[str, Facts]
) -> None:
    made = web(tmp_path, f'depends_on: [db], command: ["${{{reference}}}"]')
    with pytest.raises(ServiceError) as caught:
        started(made, facts=facts)
    assert str(caught.value) == f"cannot start 'web': ${{{reference}}} is not known now"
    assert caught.value.service == "web"


@pytest.mark.parametrize(
    "path",
    [
        ("PORT",),
        ("secrets", "other"),
        ("requires", "program"),
        ("requires", "file"),
        ("requires", "file", "dir"),
        ("requires", "what"),
        ("services", "db", "what"),
    ],
)
def test_whatever_has_no_value_is_an_error(tmp_path: Path, path: tuple[str, ...]) -> None:
    found = started(web(tmp_path, "command: [x]"))
    with pytest.raises(ServiceError, match="is not known now"):
        found.render(Template((Ref(path),)))


def test_the_first_that_has_a_value_wins(tmp_path: Path) -> None:
    write(tmp_path, "A=dotenv\nB=dotenv\nC=dotenv\nD=dotenv\n", ".env")
    write(tmp_path, "A=file\nB=file\n", "web.env")
    made = web(tmp_path, "command: [x], env_file: web.env, env: {A: declared}")
    found = started(made, environ={"A": "up", "B": "up", "C": "up"})
    assert [found.env[name] for name in "ABCD"] == ["declared", "file", "up", "dotenv"]


def test_null_takes_a_variable_out_wherever_it_comes_from(tmp_path: Path) -> None:
    keys = "command: [x], port: 1, env: {LC_ALL: , PORT: , PYTHONUNBUFFERED: , NONE: }"
    found = started(web(tmp_path, keys), port=1)
    assert found.env.keys() == {"PATH", "HOME", "PYTHONFAULTHANDLER", "ORCH_COOKIE"}


def test_it_inherits_the_environment_of_up_unless_told_otherwise(tmp_path: Path) -> None:
    write(tmp_path, "FROM_FILE=x\nLANG=C\n", ".env")
    assert started(web(tmp_path, "command: [x]")).env == {
        **UP,
        "FROM_FILE": "x",
        "LANG": "C",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "ORCH_COOKIE": "abc/web/1",
    }
    alone = started(web(tmp_path, "command: [x], inherit_env: false, env: {A: b}"))
    assert alone.env == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "LANG": "C",
        "A": "b",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "ORCH_COOKIE": "abc/web/1",
    }


def test_its_port_is_in_its_environment(tmp_path: Path) -> None:
    write(tmp_path, "PORT=7\n", "web.env")
    made = web(tmp_path, "command: [x], port: 80, env_file: web.env")
    assert started(made, environ={"PORT": "9"}, port=80).env["PORT"] == "80"
    declared = web(tmp_path, "command: [x], port: 80, env: {PORT: '1'}")
    assert started(declared, port=80).env["PORT"] == "1"
    portless = web(tmp_path, "command: [x]")
    assert started(portless, environ={"PORT": "9"}).env["PORT"] == "9"


def test_what_helps_python_stays_as_it_was_set(tmp_path: Path) -> None:
    found = started(web(tmp_path, "command: [x]"), environ={"PYTHONUNBUFFERED": ""})
    assert found.env["PYTHONUNBUFFERED"] == ""
    declared = started(web(tmp_path, "command: [x], env: {PYTHONFAULTHANDLER: '0'}"))
    assert declared.env["PYTHONFAULTHANDLER"] == "0"


def test_what_concerns_the_supervisor_is_not_handed_down(tmp_path: Path) -> None:
    around = {
        "ORCH_COOKIE": "of another stack",
        "ORCH_DISABLE": "splice",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
        "ORCHESTRA": "stays",
    }
    found = started(web(tmp_path, "command: [x]"), environ=around)
    assert found.env.keys() == {
        "ORCHESTRA",
        "ORCH_COOKIE",
        "PYTHONUNBUFFERED",
        "PYTHONFAULTHANDLER",
    }
    assert found.env["ORCH_COOKIE"] == "abc/web/1"


def test_its_folder_counts_from_that_of_the_file(tmp_path: Path) -> None:
    assert started(web(tmp_path, "command: [x]")).cwd == str(tmp_path.resolve())
    assert started(web(tmp_path, "command: [x], cwd: a/../b")).cwd == str(tmp_path / "b")
    assert started(web(tmp_path, "command: [x], cwd: /srv")).cwd == "/srv"
