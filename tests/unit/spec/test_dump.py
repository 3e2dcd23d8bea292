"""The resolved file that `orchestrator config` prints."""

import json
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.spec.dump import dump, plain
from orchestrator.spec.load import load
from orchestrator.spec.model import Project
from tests.unit.spec.files import project, write

EVERYTHING = """\
    name: shop $${x}
    env_file: {path: a.env}
    config: {path: c.json}
    secrets: {key: {env: KEY, file: f, generate: true}}
    services:
      db:
        command: postgres -p ${PORT} "$$HOME $${A} 1.10"
        cwd: data
        port: 5432
        env: {A: ~, B: "", C: 1.10, D: "$${x}$$$$", E: "${secrets.key}"}
        env_file: {path: db.env}
        inherit_env: false
        oneshot: false
        success_exit_codes: [0, 3]
        health: {tcp: "localhost:${PORT}", log: "^ready$$", exec: [x, y], failures: 5, interval: 90}
        restart: {policy: always, limit: none, backoff: {initial: 1m30s, max: 1h, jitter: 0}}
        stop: {signal: INT, grace: 1.5}
        log: logs/the db.log
        logs: {max_size: 1MiB, keep: 0}
      web:
        run:
        - requires: {program: a, file: b}
          command: ["${requires.program}", "${requires.file}"]
          cwd: "${requires.file.dir}"
          env: {X: ~, Y: z}
        - command: a | b
          shell: true
        port: auto
        depends_on: [db, job]
        health:
          http: {path: /h, method: post, status: [200, 300-302], headers: {A: "${PORT}"}, body: ok}
          tcp: true
          mcp: {path: "/${PORT}", tools: [a, b]}
        mcp: {name: Web, path: /m, auth: {client_id: c, api_key: "${secrets.key}"}}
      job: {command: x, oneshot: true, health: {tcp: "[::1]:80"}}
      none: {command: x, port: 1, health: none, restart: no}
      url: {command: x, health: {http: "http://localhost/x", tcp: 6, mcp: true}}
    """


def again(folder: Path, made: Project) -> Project:
    """Return what the dump of a project becomes when it is read."""
    other = folder / "again"
    other.mkdir(exist_ok=True)
    (other / "services.yaml").write_text(dump(made), encoding="utf-8")
    return load(other / "services.yaml", {})


def without_place(made: Project) -> dict[str, object]:
    return {name: getattr(made, name) for name in Project.model_fields if name != "file"}


def test_what_is_printed_means_the_same(tmp_path: Path) -> None:
    made = project(tmp_path, EVERYTHING)
    assert without_place(again(tmp_path, made)) == without_place(made)


def test_nothing_is_left_to_defaults(tmp_path: Path) -> None:
    made = project(tmp_path, "services: {web: {command: x}}")
    assert plain(made) == {
        "name": tmp_path.name,
        "env_file": {"path": ".env", "required": False},
        "config": {"path": "config/config.json"},
        "secrets": {},
        "services": {
            "web": {
                "command": ["x"],
                "cwd": ".",
                "env": {},
                "inherit_env": True,
                "depends_on": {},
                "oneshot": False,
                "success_exit_codes": [0],
                "health": "none",
                "restart": {
                    "policy": "on-failure",
                    "backoff": {"initial": "500ms", "factor": 2.0, "max": "30s", "jitter": 0.2},
                    "forgive_after": "1m",
                    "limit": {"failures": 5, "within": "2m"},
                },
                "stop": {"signal": "TERM", "grace": "10s"},
                "log": "logs/web.log",
                "logs": {"max_size": "10MiB", "keep": 10},
            }
        },
    }
    assert next(iter(yaml.safe_load(dump(made))["services"]["web"])) == "command"
    json.dumps(plain(made))


def test_no_env_file_is_said(tmp_path: Path) -> None:
    made = project(tmp_path, "env_file: none\nservices: {web: {command: x}}")
    assert plain(made)["env_file"] == "none"


def test_values_of_secrets_are_hidden_wherever_a_variable_brought_them(tmp_path: Path) -> None:
    write(tmp_path, "FILED=file-secret\nSHORT=abc\nDOLLAR=pa$$word\n", ".env")
    text = """\
        secrets: {a: {env: GIVEN}, b: {env: FILED}, c: {env: SHORT}, d: {env: DOLLAR}}
        services:
          web:
            command: [x, "--url=http://me:${GIVEN}@host", "${SHORT}", "abcd", "${DOLLAR}"]
            env: {A: "${FILED}", B: "${secrets.b}"}
        """
    made = project(tmp_path, text, {"GIVEN": "given-secret"})
    web = plain(made)["services"]["web"]
    assert web["command"] == ["x", "--url=http://me:••••@host", "••••", "abcd", "••••"]
    assert web["env"] == {"A": "••••", "B": "${secrets.b}"}
    assert "secret" not in dump(made).replace("secrets", "")


def test_equal_parts_are_written_out_each_time(tmp_path: Path) -> None:
    text = """\
        x-env: &env {A: b}
        services: {a: {command: x, env: *env}, b: {command: x, env: *env}}
        """
    assert "&" not in dump(project(tmp_path, text))


values = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("${}"))


@given(st.lists(values, min_size=1), st.dictionaries(st.from_regex(r"\A[A-Z]{1,3}\Z"), values))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_a_service_says_it_says_again(
    tmp_path: Path, words: list[str], env: dict[str, str]
) -> None:
    def dollars(text: str) -> str:
        return text.replace("$", "$$")

    services = {
        "web": {
            "command": [dollars(word) for word in words],
            "env": {name: dollars(value) for name, value in env.items()},
        }
    }
    made = project(tmp_path, yaml.safe_dump({"services": services}, allow_unicode=True))
    web = made.services["web"]
    assert [word.parts for word in web.run[0].command] == [(word,) for word in words]
    assert {name: value and value.parts for name, value in web.env.items()} == {
        name: (value,) for name, value in env.items()
    }
    found = without_place(again(tmp_path, made))
    assert found == without_place(made) | {"name": made.name}
