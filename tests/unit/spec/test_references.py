"""References that will have a value, and those that never will."""

from pathlib import Path

import pytest

from tests.unit.spec.files import problems, project, service, service_problems


def told(tmp_path: Path, web: str) -> list[str]:
    """Return what is wrong with a service beside some others."""
    text = f"""\
        secrets: {{key: {{generate: true}}}}
        services:
          db: {{command: x, port: 1, health: {{log: 'at (?P<where>.*)'}}}}
          job: {{command: x, oneshot: true, health: {{log: '(?P<token>.*)'}}}}
          quiet: {{command: x}}
          web: {{{web}}}
        """
    return [line.partition("services.web.")[2] for line in problems(tmp_path, text)]


@pytest.mark.parametrize(
    ("web", "said"),
    [
        ("command: ['${PORT}']", "command[0]: ${PORT} needs the service to have a `port`"),
        ("command: [x], env: {A: '${secrets.kee}'}", "secret 'kee'; did you mean \"key\"?"),
        ("command: [x], env: {A: '${secrets.a.b}'}", "${secrets.a.b} is not known"),
        ("command: ['${secrets.key}']", "command[0]: a secret in a command line can be read by"),
        ("command: 'x ${secrets.key}'", "command[1]: a secret in a command line can be read"),
        ("run: [{command: ['${secrets.key}']}]", "run[0].command[0]: a secret in a command line"),
        ("command: [x], health: {exec: ['${secrets.key}']}", "health.exec[0]: a secret in a com"),
        ("command: ['${requires.program}']", "is known only to an alternative of `run`"),
        ("command: [x], cwd: '${requires.file.dir}'", "known only to an alternative of `run`"),
        (
            "run: [{command: ['${requires.program}']}]",
            "${requires.program} needs a `program` in the `requires` of this alternative",
        ),
        (
            "run: [{requires: {program: x}, command: ['${requires.file}']}]",
            "${requires.file} needs a `file` in the `requires` of this alternative",
        ),
        (
            "run: [{requires: {file: x}, command: ['${requires.foo}']}]",
            (
                "${requires.foo} is not known; there are ${requires.program}, ${requires.file}, "
                "${requires.file.dir}"
            ),
        ),
        (
            "run: [{requires: {file: '${STATE_DIR}/x'}, command: [x]}]",
            "${STATE_DIR} is not known yet when the alternative is chosen",
        ),
        ("command: ['${services.dbb.url}']", "there is no service 'dbb'; did you mean \"db\"?"),
        ("command: ['${services.db.url}']", "${services.db.url} needs 'db' in `depends_on`"),
        ("command: ['${services.db.url}'], depends_on: 5", "needs 'db' in `depends_on`"),
        (
            "command: ['${services.db.host}'], depends_on: [db]",
            "${services.db.host} is not known; a service has .url, .port and .log.GROUP",
        ),
        (
            "command: ['${services.db.log}'], depends_on: [db]",
            "${services.db.log} is not known; a service has",
        ),
        (
            "command: ['${services.quiet.port}'], depends_on: [quiet]",
            "command[0]: 'quiet' has no `port`",
        ),
        (
            "command: ['${services.quiet.url}'], depends_on: [quiet]",
            "${services.quiet.url} is known once 'quiet' is healthy: wait for that",
        ),
        (
            "command: ['${services.db.log.were}'], depends_on: [db]",
            "`health.log` of 'db' has no group 'were'; did you mean \"where\"?",
        ),
        (
            "command: ['${services.db.log.where}'], depends_on: {db: started}",
            "${services.db.log.where} is known once 'db' is healthy: wait for that",
        ),
        (
            "command: ['${services.quiet.log.a}'], depends_on: [quiet]",
            "needs 'quiet' to have a `health.log` with the group 'a'",
        ),
        ("command: [x], log: '${STATE_DIR}/x'", "log: ${STATE_DIR} is known only when a service"),
        ("command: [x], oneshot: '${PORT}', port: 5", "${PORT} is known only when a service"),
        ("command: [x], port: '${PYTHON}'", "port: ${PYTHON} is known only when a service starts"),
    ],
)
def test_a_reference_that_can_never_have_a_value_is_refused(
    tmp_path: Path, web: str, said: str
) -> None:
    found = [line for line in told(tmp_path, web) if "depends_on: must be" not in line]
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    "web",
    [
        "command: ['${PORT}', '${PYTHON}', '${STATE_DIR}'], port: auto",
        "command: [x], env: {A: '${secrets.key}', B: 'x${secrets.key}'}",
        "command: ['${services.db.url}', '${services.db.port}'], depends_on: {db: started}",
        "command: ['${services.db.log.where}'], depends_on: [db]",
        "command: ['${services.job.log.token}'], depends_on: [job]",
        "command: ['${services.job.log.token}'], depends_on: {job: started}",
        "command: ['${services.quiet.url}'], depends_on: {quiet: healthy}",
        (
            "run: [{requires: {program: a, file: b}, command: "
            "['${requires.program}', '${requires.file}', '${requires.file.dir}']}]"
        ),
        (
            "command: [x], port: 1, mcp: {name: a, path: '/${PORT}', auth: {api_key: "
            "'${secrets.key}'}}"
        ),
        "command: [x], port: 1, health: {http: {path: /, headers: {A: '${secrets.key}'}}}",
    ],
)
def test_references_that_will_have_a_value_are_taken(tmp_path: Path, web: str) -> None:
    text = f"""\
        secrets: {{key: {{generate: true}}}}
        services:
          db: {{command: x, port: 1, health: {{log: 'at (?P<where>.*)'}}}}
          job: {{command: x, oneshot: true, health: {{log: '(?P<token>.*)'}}}}
          quiet: {{command: x}}
          web: {{{web.replace("port: 1", "port: 2")}}}
        """
    assert "web" in project(tmp_path, text).services


def test_a_reference_outside_of_services_has_nothing_to_refer_to(tmp_path: Path) -> None:
    text = "name: '${PORT}'\nconfig: {path: '${STATE_DIR}/x'}\nservices: {web: {command: x}}"
    assert [line.partition(" ")[2] for line in problems(tmp_path, text)] == [
        "name: ${PORT} is known only when a service starts, and cannot stand here",
        "config.path: ${STATE_DIR} is known only when a service starts, and cannot stand here",
    ]


def test_a_pattern_that_is_broken_is_told_once(tmp_path: Path) -> None:
    text = """\
        services:
          db: {command: x, health: {log: '('}}
          web: {command: ["${services.db.log.a}"], depends_on: [db]}
        """
    assert len(problems(tmp_path, text)) == 1


def test_a_run_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    keys = "run: {requires: {file: x}, command: ['${requires.file}']}"
    assert service_problems(tmp_path, keys)[0] == "run: must be a list"


def test_secrets_that_are_given_by_variables_are_known_to_the_project(tmp_path: Path) -> None:
    text = """\
        secrets: {a: {env: A}, b: {env: B, generate: true}, c: {generate: true}}
        services: {web: {command: ["${A}"]}}
        """
    assert project(tmp_path, text, {"A": "aaaa"}).secret_values == ("aaaa",)
    assert "secret_values" not in repr(project(tmp_path, text, {"A": "aaaa"}))


def test_a_variable_named_requires_is_no_requirement(tmp_path: Path) -> None:
    text = "services:\n  requires: {command: ['${A}'], env: {requires: '${A}'}}\n"
    assert str(project(tmp_path, text, {"A": "b"}).services["requires"].run[0].command[0]) == "b"


def test_a_service_may_use_its_references_anywhere(tmp_path: Path) -> None:
    found = service(tmp_path, "port: 1\nenv: {A: 'x${PORT}y$$'}\ncwd: ${STATE_DIR}")
    assert str(found.env["A"]) == "x${PORT}y$"
    assert str(found.cwd) == "${STATE_DIR}"
