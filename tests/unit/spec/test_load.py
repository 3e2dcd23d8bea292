"""What a services.yaml becomes, and what is said of one that is wrong."""

import os
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.dump import dump
from orchestrator.spec.load import as_typed, find_file, load
from orchestrator.spec.model import Condition, Policy
from tests.unit.spec.files import problems, project, service, service_problems, write

# Finding and reading the file.


def test_the_file_is_looked_for_in_the_folder_and_then_in_its_parents(tmp_path: Path) -> None:
    write(tmp_path, "", "services.yml")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_file(below) == tmp_path / "services.yml"
    write(tmp_path, "")
    assert find_file(below) == tmp_path / "services.yaml"


def test_a_folder_of_that_name_is_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "services.yaml").mkdir()
    found = find_file(tmp_path)
    assert found is None or tmp_path not in found.parents


def test_a_relative_start_has_parents_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "")
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert find_file(Path()) == tmp_path / "services.yaml"


def test_messages_call_the_file_as_a_user_would_type_it(tmp_path: Path) -> None:
    assert as_typed(tmp_path / "a" / "services.yaml", tmp_path) == "a/services.yaml"
    assert as_typed(tmp_path / "services.yaml", tmp_path / "a") == str(tmp_path / "services.yaml")
    file = write(tmp_path, "nothing", "a/services.yaml")
    with pytest.raises(SpecError, match=r"^a/services.yaml:1:1: must be a mapping"):
        load(file, {}, shown="a/services.yaml")


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^services.yaml: cannot be read: no such file"):
        load(tmp_path / "services.yaml", {})


def test_an_empty_file_says_what_it_needs(tmp_path: Path) -> None:
    for text in ("", "\n\n", "# nothing\n", "---\n", "~\n"):
        assert "is empty: it needs `services`" in problems(tmp_path, text)[0]


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "- a\n") == ["services.yaml:1:1: must be a mapping with `services`"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "services.yaml"
    file.write_bytes(b"\xef\xbb\xbfservices: {web: {command: serve}}\n")
    assert list(load(file, {}).services) == ["web"]


def test_bytes_that_are_not_utf_8_have_their_line(tmp_path: Path) -> None:
    file = tmp_path / "services.yaml"
    file.write_bytes(b"name: x\nservices: {w\xfcb: {command: serve}}\n")
    with pytest.raises(SpecError, match=r"^services.yaml:2: is not UTF-8$"):
        load(file, {})


def test_a_file_that_nobody_wrote_by_hand_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "services.yaml"
    file.write_bytes(b"#" * (5 * 1024 * 1024 + 1))
    with pytest.raises(SpecError, match="larger than 5 MiB"):
        load(file, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n\tweb: 1\n", "services.yaml:2:1: is no YAML: a tab"),
        ("services: {web: {command: [a, ${PORT}]}}\n", "with ${…} needs quotes"),
        ("a: 1\n---\nb: 2\n", "services.yaml:2:1: is no YAML: a second document"),
        ("a: b: c\n", 'services.yaml:1:5: is no YAML: a ": " that stands for no key'),
        ("a: @b\n", "a character that cannot begin anything here"),
        ("a: x\x07y\n", "services.yaml:1: is no YAML: it holds the control character U+0007"),
        ("a:\n  - b\n c: 1\n", "while parsing a block mapping of line 1"),
        ("a: *b\n", "services.yaml:1:4: is no YAML: found undefined alias"),
        ("a: [1,\n", "is no YAML: did not find expected node content"),
    ],
)
def test_broken_yaml_is_told_in_words_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)[0]


def test_a_number_is_no_mapping_of_services(tmp_path: Path) -> None:
    assert problems(tmp_path, "services: 5\n") == ["services.yaml:1:1: services: must be a mapping"]
    assert problems(tmp_path, "services: {}\n") == ["services.yaml:1:1: services: names no service"]
    assert problems(tmp_path, "name: x\n") == ["services.yaml:1:1: services: names no service"]


# All at once, each with its place.


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        """\
        name: shop
        secrets:
          key: {genrate: true, env: A}
        services:
          web:
            command: [serve, "${PROT}"]
            port: 99999
            helth: {http: /}
            depends_on: [databse]
            stop: {grace: soon}
          database:
            command: "serve 'x"
            restart: sometimes
          Web:
            command: x
          nothing:
        """,
    ) == [
        'services.yaml:3:9: secrets.key.genrate: unknown key; did you mean "generate"?',
        (
            "services.yaml:6:22: services.web.command[1]: ${PROT} is set neither in the "
            'environment nor in the env_file; did you mean "${PORT}"?'
        ),
        "services.yaml:7:5: services.web.port: 99999 is neither a port from 1 to 65535 nor auto",
        'services.yaml:8:5: services.web.helth: unknown key; did you mean "health"?',
        (
            "services.yaml:9:18: services.web.depends_on[0]: there is no service 'databse'; "
            'did you mean "database"?'
        ),
        (
            "services.yaml:10:12: services.web.stop.grace: 'soon' is not a duration such as 500ms, "
            "10s or 1m30s"
        ),
        (
            "services.yaml:12:5: services.database.command: cannot be split into words: "
            "no closing quotation"
        ),
        'services.yaml:13:5: services.database.restart: must be "always", "on-failure" or "no"',
        (
            "services.yaml:14:3: services.Web: is no name for a service: a-z, 0-9, _ and -, 40 at "
            "most, no _ or - in front"
        ),
        "services.yaml:16:3: services.nothing: must be a mapping with at least `command`",
    ]


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    assert service_problems(tmp_path, "port: 1\nport: 2") == ["port: the key stands here twice"]


def test_keys_of_other_supervisors_lead_to_ours(tmp_path: Path) -> None:
    keys = "environment: {}\nworking_dir: .\nhealthcheck: {}"
    assert service_problems(tmp_path, keys) == [
        'environment: unknown key; did you mean "env"?',
        'working_dir: unknown key; did you mean "cwd"?',
        'healthcheck: unknown key; did you mean "health"?',
    ]


def test_names_of_our_own_fields_are_unknown_keys(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """\
        file: x
        env_file_values: {}
        services:
          web:
            name: x
            stop: {grace_s: 5}
            logs: {max_size_bytes: 5000}
            run: [{requires: {program: a, set_by_user: [A]}, command: [x]}]
        """,
    )
    assert [line.partition(": ")[2] for line in found] == [
        "file: unknown key",
        "env_file_values: unknown key",
        "services.web.name: unknown key",
        'services.web.stop.grace_s: unknown key; did you mean "grace"?',
        'services.web.logs.max_size_bytes: unknown key; did you mean "max_size"?',
        "services.web.run[0].requires.set_by_user: unknown key",
    ]


def test_an_unknown_key_far_from_any_other_stands_without_a_suggestion(tmp_path: Path) -> None:
    assert service_problems(tmp_path, "zzz: 1\nenv: {A: {}}") == [
        "zzz: unknown key",
        "env.A: must be text",
    ]


def test_a_key_that_is_missing_has_the_place_of_what_should_hold_it(tmp_path: Path) -> None:
    assert problems(tmp_path, "services:\n  web:\n    run:\n    - requires: {program: x}\n") == [
        "services.yaml:4:7: services.web.run[0].command: is missing"
    ]
    assert service_problems(tmp_path, "mcp: {path: /mcp}") == ["mcp.name: is missing"]


def test_a_value_from_an_anchor_has_the_place_where_it_was_written(tmp_path: Path) -> None:
    text = """\
        x-common: &common
          stop: {grace: soon}
        services:
          web: {<<: *common, command: serve}
          api: {<<: *common, command: serve}
        """
    assert [line.split(": ")[:2] for line in problems(tmp_path, text)] == [
        ["services.yaml:2:10", "services.web.stop.grace"],
        ["services.yaml:2:10", "services.api.stop.grace"],
    ]


# Wrong types, in plain words.


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("env: [A=b]", "env: must be a mapping"),
        ("env: {A: true}", "env.A: must be text: put it in quotes"),
        ('env: {"A=B": x}', "env.A=B: is no name of a variable"),
        ("cwd: [x]", "cwd: must be text"),
        ("command: {a: b}", "command: must be a list"),
        ("command: []", "command: must not be empty"),
        ('command: ""', "command: must not be empty"),
        ("command: [[x]]", "command[0]: must be text"),
        ("run: [{command: [x], cdw: y}]", 'run[0].cdw: unknown key; did you mean "cwd"?'),
        ("run: serve", "run: must be a list"),
        ("run: []", "run: must not be empty"),
        ("run: [serve]", "run[0]: must be a mapping"),
        ("run: {requires: {file: x}, command: [x]}", "run: must be a list"),
        ("oneshot: 1", "oneshot: must be true or false"),
        ("inherit_env: maybe", "inherit_env: must be true or false"),
        ("success_exit_codes: 0", "success_exit_codes: must be a list"),
        ("success_exit_codes: [256]", "success_exit_codes[0]: must be 255 at most"),
        ("success_exit_codes: [-1]", "success_exit_codes[0]: must be 0 or more"),
        ("success_exit_codes: [true]", "success_exit_codes[0]: must be a whole number"),
        ("port: true", "port: true is neither a port from 1 to 65535 nor auto"),
        ("port: 80:80", "port: '80:80' is neither a port from 1 to 65535 nor auto"),
        ("port: [80]", "port: a list is neither a port from 1 to 65535 nor auto"),
        ("restart: [x]", 'restart: must be "always", "on-failure" or "no"'),
        ("restart: {limit: 5}", "restart.limit: must be a mapping"),
        ("restart: {limit: {failures: 0}}", "restart.limit.failures: must be 1 or more"),
        ("restart: {limit: {within: 0}}", "restart.limit.within: must be more than 0"),
        ("restart: {backoff: {factor: 0.5}}", "restart.backoff.factor: must be 1 or more"),
        ("restart: {backoff: {jitter: 2}}", "restart.backoff.jitter: must be 1 at most"),
        ("restart: {backoff: {jitter: x}}", "restart.backoff.jitter: must be a number"),
        ("restart: {backoff: {initial: -1}}", "zero to thirty years"),
        ("stop: {signal: HARD}", "stop.signal: 'HARD' is not a signal of this system"),
        ("stop: 5s", "stop: must be a mapping"),
        ("log: [x]", "log: must be text"),
        ("logs: {max_size: 1KiB}", "logs.max_size: must be 4096 or more"),
        ("logs: {max_size: much}", "logs.max_size: 'much' is not a size"),
        ("logs: {keep: 1.5}", "logs.keep: must be a whole number"),
        ("mcp: Scheduler", "mcp: must be a mapping"),
        ('mcp: {name: ""}', "mcp.name: must not be empty"),
        ("mcp: {name: x, path: mcp}", "mcp.path: a path begins with /"),
        ("env_file: [a]", "env_file: must be text"),
        ("env_file: {required: true}", "env_file.path: is missing"),
        ("depends_on: 5", "depends_on: must be a mapping"),
        ("depends_on: [{db: healthy}]", "depends_on[0]: must be a name; with conditions it is a"),
        ("shell: maybe", "shell: must be true or false"),
        ("shell: true", "command: must be one text where `shell` is true"),
        ("command: x\nrun: [{command: [y]}]", "run: cannot stand beside `command`: name one"),
        ("health: [x]", "health: must be a mapping such as {http: /health}, or none"),
        ('command: "a\\0b"', "command: holds a NUL character"),
        ("command: !bang x", "command: the tag '!bang' is not known here"),
        ("command: !bang [x]", "command: the tag '!bang' is not known here"),
        ("port: !!int x", "port: is no YAML int"),
        ("command: &a [*a]", "command[0]: holds itself"),
        ("? [a]\n: b\ncommand: x", "a key must be a word"),
        ("restart: {limit: 0}", "restart.limit: must be a mapping"),
        ("health: 0", "health: must be a mapping"),
        ("tty: 0", "tty: is not supported by this version"),
        ("health: !x {}", "health: the tag '!x' is not known here"),
        ("<<: 5", "`<<` takes a mapping or a list of mappings"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(tmp_path: Path, keys: str, said: str) -> None:
    found = service_problems(tmp_path, keys)
    assert len(found) == 1, found
    assert said in found[0]


def test_a_service_without_a_command_is_looked_at_all_the_same(tmp_path: Path) -> None:
    text = "services:\n  web: {port: 0}\n"
    assert problems(tmp_path, text) == [
        "services.yaml:2:3: services.web: has no `command`",
        "services.yaml:2:9: services.web.port: 0 is neither a port from 1 to 65535 nor auto",
    ]


def test_the_top_is_checked_like_the_rest(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """\
        name: true
        config: logs
        env_file: 5
        secrets: [a]
        service: {}
        services: {web: {command: x}}
        """,
    )
    assert found == [
        "services.yaml:1:1: name: must be text: put it in quotes",
        "services.yaml:2:1: config: must be a mapping",
        "services.yaml:4:1: secrets: must be a mapping",
        'services.yaml:5:1: service: unknown key; did you mean "services"?',
    ]


# Names, and what services may not have in common.


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "x" * 40])
def test_a_name_is_of_small_letters_digits_and_lines(tmp_path: Path, name: str) -> None:
    assert list(project(tmp_path, f"services: {{{name}: {{command: x}}}}").services) == [name]


@pytest.mark.parametrize("name", ["A", "_a", "-a", "x" * 41, "a.b", "é", "a b", '""'])
def test_any_other_name_is_refused(tmp_path: Path, name: str) -> None:
    found = problems(tmp_path, f"services: {{{name}: {{command: x}}}}")
    assert "is no name for a service" in found[0]


def test_no_service_has_the_name_of_the_supervisor(tmp_path: Path) -> None:
    text = "services:\n  orchestrator: {command: x, log: other.log}\n"
    assert problems(tmp_path, text) == [
        "services.yaml:2:3: services.orchestrator: is the supervisor's own name"
    ]


def _two(tmp_path: Path, one: str, two: str) -> list[str]:
    text = f"services:\n  one: {{command: x, {one}}}\n  two: {{command: x, {two}}}\n"
    return [line.partition(" ")[2] for line in problems(tmp_path, text)]


def test_two_services_may_not_share_a_log_file(tmp_path: Path) -> None:
    assert _two(tmp_path, "log: a.log", "log: ./b/../a.log") == [
        "services.two.log: is the log file of 'one' as well"
    ]
    # The index and the rotated segments of both would be the same files.
    assert _two(tmp_path, "log: a.log", "log: a") == [
        "services.two.log: is the log file of 'one' as well"
    ]


def test_a_log_file_is_the_same_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert _two(tmp_path, "log: real/a.log", "log: link/a.log") == [
        "services.two.log: is the log file of 'one' as well"
    ]


def test_no_log_file_is_what_another_one_becomes_when_rotated(tmp_path: Path) -> None:
    assert _two(tmp_path, "log: a.log", "log: a.100.log") == [
        "services.two.log: is what the log file of 'one' is called when it is rotated"
    ]


@pytest.mark.parametrize(
    ("log", "what"),
    [
        ("logs/orchestrator.log", "is the supervisor's log file as well"),
        ("services.yaml", "is services.yaml itself as well"),
        ("config/config.json", "is the file that is published as well"),
        (".env", "is env_file as well"),
        ("logs/", "'logs/' is no name of a file"),
        ('""', "'' is no name of a file"),
        ("logs/..", "'logs/..' is no name of a file"),
    ],
)
def test_no_log_file_is_written_over_something_else(tmp_path: Path, log: str, what: str) -> None:
    assert service_problems(tmp_path, f"log: {log}") == [f"log: {what}"]


def test_a_port_belongs_to_one_service(tmp_path: Path) -> None:
    assert _two(tmp_path, "port: 80", 'port: "80"') == [
        "services.two.port: 80 is the port of 'one' as well"
    ]
    text = "services: {one: {command: x, port: auto}, two: {command: x, port: auto}}"
    assert [one.port for one in project(tmp_path, text).services.values()] == ["auto", "auto"]


def test_a_published_name_belongs_to_one_service(tmp_path: Path) -> None:
    assert _two(tmp_path, "mcp: {name: A}", "mcp: {name: A}") == [
        "services.two.mcp.name: 'one' is published by this name as well"
    ]


# Dependencies.


def test_a_list_of_dependencies_gets_the_condition_that_fits_each(tmp_path: Path) -> None:
    found = project(
        tmp_path,
        """\
        services:
          migrate: {command: x, oneshot: true}
          db: {command: x, port: 5432}
          quiet: {command: x}
          unprobed: {command: x, port: 1, health: none}
          web: {command: x, depends_on: [migrate, db, quiet, unprobed]}
          lone: {command: x, depends_on: db}
          mapped: {command: x, depends_on: {db: started, quiet: }}
        """,
    ).services
    assert found["web"].depends_on == {
        "migrate": Condition.COMPLETED,
        "db": Condition.HEALTHY,
        "quiet": Condition.STARTED,
        "unprobed": Condition.STARTED,
    }
    assert found["lone"].depends_on == {"db": Condition.HEALTHY}
    assert found["mapped"].depends_on == {"db": Condition.STARTED, "quiet": Condition.STARTED}


def test_a_service_cannot_depend_on_itself(tmp_path: Path) -> None:
    assert service_problems(tmp_path, "depends_on: [web]") == [
        "depends_on[0]: a service cannot depend on itself"
    ]


def test_a_cycle_is_shown_as_a_path(tmp_path: Path) -> None:
    text = """\
        services:
          a: {command: x, depends_on: [b]}
          b: {command: x, depends_on: [c]}
          c: {command: x, depends_on: {a: started}}
        """
    assert problems(tmp_path, text) == [
        (
            "services.yaml:2:32: services.a.depends_on[0]: the services wait for each other: "
            "a → b → c → a"
        )
    ]


def test_what_is_no_oneshot_never_completes(tmp_path: Path) -> None:
    assert _two(tmp_path, "port: 1", "depends_on: {one: completed}") == [
        "services.two.depends_on.one: 'one' never completes: it is no `oneshot`"
    ]


def test_a_condition_is_one_of_three(tmp_path: Path) -> None:
    assert _two(tmp_path, "port: 1", "depends_on: {one: service_healthy}") == [
        'services.two.depends_on.one: must be "started", "healthy" or "completed"'
    ]


def test_what_a_dependency_is_may_be_wrong_itself(tmp_path: Path) -> None:
    assert _two(tmp_path, "oneshot: 1", "depends_on: [one]") == [
        "services.one.oneshot: must be true or false"
    ]


def test_a_dependency_on_a_service_that_cannot_be_read_is_no_second_problem(tmp_path: Path) -> None:
    text = "services:\n  web: {command: x, depends_on: [db]}\n  db: 5\n"
    assert len(problems(tmp_path, text)) == 1


# Values.


def test_nothing_but_a_command_is_a_complete_service(tmp_path: Path) -> None:
    found = service(tmp_path, "command: uvicorn app.main:app --root-path '/a b'")
    words = [str(word) for word in found.run[0].command]
    assert words == ["uvicorn", "app.main:app", "--root-path", "/a b"]
    assert found.health is None
    assert found.log == "logs/web.log"
    assert found.restart.policy is Policy.ON_FAILURE
    assert found.stop.signal == 15


def test_the_stack_is_called_as_its_folder_unless_it_has_a_name(tmp_path: Path) -> None:
    assert project(tmp_path, "services: {a: {command: x}}").name == tmp_path.name
    assert project(tmp_path, "name: 1.10\nservices: {a: {command: x}}").name == "1.10"


def test_a_stack_at_the_root_of_the_machine_has_a_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing is read: a folder without a name can only be the root.
    from orchestrator.spec import load as module

    def nothing_wrong(*_: object) -> dict[str, object]:
        return {"services": {"a": {"command": ["x"]}}}

    monkeypatch.setattr(module, "read_services", nothing_wrong)
    assert load(Path("/services.yaml"), {}).name == "root"


def test_a_folder_and_variables_need_not_be_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    odd = os.fsdecode(b"\xff")
    text = "secrets: {a: {env: ODD}}\nservices: {web: {command: ['${ODD}']}}"
    found = project(folder, text, {"ODD": odd})
    assert found.name == "caf\ufffd"
    assert found.file == folder / "services.yaml"
    assert found.services["web"].run[0].command[0].render(str) == odd
    assert "••••" in dump(found)
    assert "\ufffd" in dump(project(folder, text.partition("\n")[2], {"ODD": odd}))
    assert service_problems(folder, "mcp: {name: '${ODD}'}", {"ODD": odd}) == [
        "mcp.name: is not UTF-8"
    ]


def test_the_file_is_known_by_its_real_path(tmp_path: Path) -> None:
    write(tmp_path, "services: {a: {command: x}}", "real/services.yaml")
    (tmp_path / "link.yaml").symlink_to("real/services.yaml")
    found = load(tmp_path / "link.yaml", {})
    assert found.file == (tmp_path / "real" / "services.yaml").resolve()
    assert found.root_dir == found.file.parent


def test_a_key_without_a_value_is_as_good_as_absent(tmp_path: Path) -> None:
    keys = """
        port: 80
        health:
        restart:
        stop:
        mcp:
        cwd:
        depends_on:
        env: {GONE: , HERE: ""}
        """
    found = service(tmp_path, keys)
    assert found == service(tmp_path, 'port: 80\nenv: {GONE: ~, HERE: ""}')
    assert found.env["GONE"] is None
    assert str(found.env["HERE"]) == ""
    assert found.health is not None


def test_numbers_are_taken_as_text_as_they_were_written(tmp_path: Path) -> None:
    found = service(tmp_path, "env: {A: 1.10, B: 0755, C: 1_000, D: 12:30:00, E: 2026-11-23}")
    assert [str(value) for value in found.env.values()] == [
        "1.10",
        "0755",
        "1_000",
        "12:30:00",
        "2026-11-23",
    ]


def test_values_of_other_types_may_come_from_variables(tmp_path: Path) -> None:
    keys = """
        port: ${PORT_VAR:-8000}
        oneshot: ${ONCE:-yes}
        stop: {grace: "${GRACE}", signal: "${SIGNAL:-int}"}
        logs: {keep: "${KEEP:-3}", max_size: "${SIZE:-1MiB}"}
        restart: {policy: "${POLICY:-always}", backoff: {jitter: "${JITTER:-0.5}"}}
        """
    found = service(tmp_path, keys, {"GRACE": "1m30s"})
    assert (found.port, found.oneshot, found.stop.grace_s) == (8000, True, 90.0)
    assert (found.stop.signal, found.logs.keep, found.logs.max_size_bytes) == (2, 3, 1048576)
    assert (found.restart.policy, found.restart.backoff.jitter) == (Policy.ALWAYS, 0.5)


def test_the_port_may_come_from_a_variable_of_its_own_name(tmp_path: Path) -> None:
    keys = 'port: ${PORT:-8000}\ncommand: [serve, "${PORT}"]'
    assert service(tmp_path, keys).port == 8000
    found = service(tmp_path, keys, {"PORT": "9000"})
    assert found.port == 9000
    assert str(found.run[0].command[1]) == "${PORT}"


def test_unquoted_no_is_the_policy_no(tmp_path: Path) -> None:
    assert service(tmp_path, "restart: no").restart.policy is Policy.NO
    assert service(tmp_path, "restart: {policy: no}").restart.policy is Policy.NO
    assert service(tmp_path, "restart: always").restart.policy is Policy.ALWAYS


def test_a_limit_of_none_never_gives_up(tmp_path: Path) -> None:
    assert service(tmp_path, "restart: {limit: none}").restart.limit is None
    assert service(tmp_path, "restart: {limit: }").restart.limit is not None


def test_none_stands_for_no_port_no_publication_and_no_env_file(tmp_path: Path) -> None:
    found = service(tmp_path, "port: none\nmcp: none\nenv_file: none\nhealth: none")
    assert (found.port, found.mcp, found.env_file, found.health) == (None, None, None, None)


@pytest.mark.parametrize(
    "key",
    [
        "watch: {paths: [src]}",
        "tty: true",
        "user: nobody",
        "limits: {memory: 1GiB}",
        "replicas: 2",
        "groups: [web]",
        "health: {notify: true, http: 'http://localhost/'}",
    ],
)
def test_what_is_not_built_yet_is_refused(tmp_path: Path, key: str) -> None:
    found = service_problems(tmp_path, f"port: 80\n{key}")
    assert len(found) == 1
    assert found[0].endswith(": is not supported by this version")


def test_what_is_not_built_yet_may_be_named_when_it_asks_for_nothing(tmp_path: Path) -> None:
    keys = """
        watch: none
        tty: false
        user: none
        limits: {}
        replicas: 1
        groups: []
        health: {mcp: none, notify: false, tcp: 80}
        """
    assert service(tmp_path, keys) == service(tmp_path, "health: {tcp: 80}")


def test_shell_commands_are_given_to_a_shell_as_they_are(tmp_path: Path) -> None:
    found = service(tmp_path, "shell: true\ncommand: echo $HOME | cat")
    assert [str(word) for word in found.run[0].command] == ["/bin/sh", "-c", "echo $HOME | cat"]
    keys = """
        shell: true
        run:
        - requires: {program: a}
          command: a | b
        - command: a b
          shell: false
        """
    run = service(tmp_path, keys).run
    assert [len(one.command) for one in run] == [3, 2]


def test_alternatives_after_one_that_is_always_taken_are_refused(tmp_path: Path) -> None:
    assert service_problems(tmp_path, "run: [{command: [a]}, {command: [b]}]") == [
        "run[0]: has no `requires`, so that those after it are never taken"
    ]
    assert service_problems(tmp_path, "run: [{requires: {}, command: [a]}]") == [
        "run[0].requires: names neither `program` nor `file`"
    ]
    assert service_problems(tmp_path, "run: [{requires: x, command: [a]}]") == [
        "run[0].requires: must be a mapping"
    ]


def test_the_variables_of_a_requirement_that_users_set_are_noted(tmp_path: Path) -> None:
    keys = """
        run:
        - requires: {program: "${TOOL:-tool}", file: "${HOME}/${DLL:-${OTHER:-x}}.dll"}
          command: [x, "${ARGUMENT}"]
        - requires: {file: "${DLL:-y}"}
          command: [x]
        """
    environ = {"HOME": "/h", "OTHER": "o", "ARGUMENT": "a"}
    first, second = service(tmp_path, keys, environ).run
    assert first.requires is not None
    assert second.requires is not None
    assert first.requires.set_by_user == ("OTHER",)
    assert second.requires.set_by_user == ()
    assert str(first.requires.file) == "/h/o.dll"


# Secrets.


def test_a_secret_says_where_it_comes_from(tmp_path: Path) -> None:
    text = """\
        secrets:
          none:
          empty: {}
          off: {generate: false}
          a.b: {generate: true}
          word: KEY
          bad: {env: "A=B"}
        services: {web: {command: x}}
        """
    assert [line.partition(" ")[2] for line in problems(tmp_path, text)] == [
        "secrets.none: needs one of `env`, `file` and `generate: true`",
        "secrets.empty: needs one of `env`, `file` and `generate: true`",
        "secrets.off: needs one of `env`, `file` and `generate: true`",
        "secrets.a.b: is no name for a secret: letters, digits, _ and -",
        "secrets.word: must be a mapping",
        "secrets.bad.env: is no name of a variable",
    ]


# Env files.


def test_env_files_are_below_the_environment_and_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, "A=file\nB=file\n", ".env")
    text = "services: {web: {command: x, env: {A: '${A}', B: '${B}'}}}"
    found = project(tmp_path, text, {"A": "environment"})
    assert [str(value) for value in found.services["web"].env.values()] == ["environment", "file"]
    assert found.env_file_values == {"A": "file", "B": "file"}
    assert "env_file_values" not in repr(found)
    missing = project(tmp_path, "env_file: other\nservices: {web: {command: x}}")
    assert missing.env_file_values == {}


def test_an_env_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "A=b\n", "production.env")
    text = "env_file: ${STAGE}.env\nservices: {web: {command: '${A}'}}"
    found = project(tmp_path, text, {"STAGE": "production"})
    assert found.env_file_values == {"A": "b"}
    assert found.env_file is not None
    assert found.env_file.path == "production.env"


def test_no_env_file_is_read_where_there_is_to_be_none(tmp_path: Path) -> None:
    write(tmp_path, "A=b\n", ".env")
    found = project(tmp_path, "env_file: none\nservices: {web: {command: x}}")
    assert (found.env_file, found.env_file_values) == (None, {})


def test_an_env_file_that_is_required_must_be_there(tmp_path: Path) -> None:
    text = "env_file: {path: a.env, required: true}\nservices: {web: {command: x}}"
    assert problems(tmp_path, text) == [
        "services.yaml:1:1: env_file: cannot read 'a.env': no such file or directory"
    ]
    assert service_problems(tmp_path, "env_file: {path: a.env, required: yes}") == [
        "env_file: cannot read 'a.env': no such file or directory"
    ]


def test_the_env_file_of_the_command_line_must_be_there(tmp_path: Path) -> None:
    file = write(tmp_path, "services: {web: {command: '${A}'}}")
    write(tmp_path, "A=b\n", "given")
    assert load(file, {}, tmp_path / "given").env_file_values == {"A": "b"}
    with pytest.raises(SpecError, match="nowhere: cannot be read: no such file"):
        load(file, {"A": ""}, Path("nowhere"))


def test_lines_of_env_files_that_cannot_be_read_have_their_place(tmp_path: Path) -> None:
    write(tmp_path, "A=b\nwhat\n", ".env")
    write(tmp_path, 'X="\n', "web.env")
    text = "services:\n  web: {command: x, env_file: web.env}\n"
    assert problems(tmp_path, text) == [
        ".env:2: is not NAME=value",
        'web.env:1: the " is never closed',
    ]


def test_an_env_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    (tmp_path / "latin").write_bytes(b"A=\xfc\n")
    (tmp_path / "large").write_bytes(b"#" * (5 * 1024 * 1024 + 1))
    text = """\
        services:
          a: {command: x, env_file: latin}
          b: {command: x, env_file: large}
        """
    found = problems(tmp_path, text)
    assert found[0] == "services.yaml:1:1: env_file: cannot read '.env': is a directory"
    assert found[1].endswith("services.a.env_file: cannot read 'latin': it is not UTF-8")
    assert found[2].endswith("services.b.env_file: cannot read 'large': it is larger than 5 MiB")


def test_the_env_file_of_a_service_is_read_with_the_file(tmp_path: Path) -> None:
    write(tmp_path, "A=$b # c\n", "web.env")
    found = service(tmp_path, "env_file: web.env")
    assert found.env_file_values == {"A": "$b"}


# Not to be brought down.


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 50_000,
        "\n".join(" " * depth + "a:" for depth in range(3000)),
        "a: " + "[" * 150 + "]" * 150,
        "- " * 50_000,
    ],
    ids=["brackets", "indentation", "balanced", "dashes"],
)
def test_a_file_nested_too_deeply_is_refused_and_overflows_nothing(
    tmp_path: Path, text: str
) -> None:
    assert (
        "is nested too deeply" in problems(tmp_path, text)[0]
        or "no YAML" in problems(tmp_path, text)[0]
    )


@pytest.mark.parametrize("join", ["[{}]", "{{<<: [{}]}}"], ids=["lists", "merges"])
def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path, join: str) -> None:
    lines = ["a0: &a0 " + ("{" + ", ".join(f"k{n}: v" for n in range(99)) + "}")]
    lines += [
        f"a{level}: &a{level} " + join.format(", ".join([f"*a{level - 1}"] * 200))
        for level in range(1, 9)
    ]
    assert "unfold to more than 100,000 values" in problems(tmp_path, "\n".join(lines))[0]


def test_a_mapping_that_merges_itself_ends(tmp_path: Path) -> None:
    found = service(tmp_path, "<<: &a {<<: *a, port: 80}")
    assert found.port == 80


def test_a_file_with_many_services_is_read_whole(tmp_path: Path) -> None:
    lines = ["services:"]
    for number in range(600):
        needs = f", depends_on: [s{number - 1}]" if number else ""
        lines.append(f"  s{number}: {{command: [x, '-', '{{}}'], port: {number + 1}{needs}}}")
    assert len(project(tmp_path, "\n".join(lines)).services) == 600


def test_an_unreadable_file_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "services.yaml").mkdir()
    with pytest.raises(SpecError, match="cannot be read: is a directory"):
        load(tmp_path / "services.yaml", {})
    assert os.path.isdir(tmp_path / "services.yaml")
