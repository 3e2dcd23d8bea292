"""The program as such: its options, its help, its exit codes, its manners in a pipe."""

import re
import subprocess
import sys

import pytest

from orchestrator import __version__
from orchestrator.cli.main import COMMANDS
from tests.stack import Stack


def modules_loaded_by(one: Stack, *words: str) -> set[str]:
    """Return the modules that a command has loaded when it is done."""
    script = (
        "import sys\n"
        "from orchestrator.cli.main import run\n"
        f"run({list(words)!r})\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=one.folder,
        env=one.environ,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return set(done.stderr.split())


def test_it_tells_its_version(one: Stack) -> None:
    assert one.run("--version").out == f"orchestrator {__version__}\n"


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["ps"], ["status"]])
def test_what_is_asked_often_loads_nothing_heavy(one: Stack, words: list[str]) -> None:
    loaded = modules_loaded_by(one, *words)
    heavy = {"pydantic", "asyncio", "anyio", "yaml", "rich", "mcp", "uvicorn", "psutil", "httpx2"}
    assert heavy & loaded == set()


def test_the_version_is_told_without_a_client(one: Stack) -> None:
    assert "http.client" not in modules_loaded_by(one, "--version")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_short_help(one: Stack, name: str) -> None:
    ran = one.run(name, "--help")
    assert ran.code == 0
    assert f"orchestrator {name}" in ran.out
    assert len(ran.out.splitlines()) <= 50
    assert max(map(len, ran.out.splitlines())) <= 100


def test_the_help_names_every_command_and_an_example(one: Stack) -> None:
    out = one.run("--help").out
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", out, re.MULTILINE)
    assert "orchestrator up -d --wait" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["pss"], "'ps'"), (["lgos"], "'logs'"), (["up", "--detatch"], "--detach"), ([], "Usage")],
)
def test_a_wrong_word_is_a_usage_error_that_names_the_nearest(
    one: Stack, words: list[str], hint: str
) -> None:
    ran = one.run(*words)
    assert ran.code == 2
    assert hint in ran.err


def test_flags_that_exclude_each_other_are_a_usage_error(one: Stack) -> None:
    assert one.run("up", "-d", "--attach").code == 2
    assert one.run("up", "-d", "--exit-code-from", "a").code == 2
    assert one.run("wait", "--timeout", "soon").code == 2


def test_an_error_is_one_line_and_its_origin_is_told_when_asked(one: Stack) -> None:
    ran = one.run("ps")
    assert ran.code == 7
    assert ran.err == "orchestrator: no stack is running here; `orchestrator up` starts it\n"
    assert "Traceback" in one.run("-v", "ps").err


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["config"], ["logs", "-f"]])
def test_a_reader_that_goes_away_is_no_failure(one: Stack, words: list[str]) -> None:
    one.up()
    started = one.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stderr is not None
    with started.stdout, started.stderr:
        started.stdout.close()
        if words[0] == "logs":
            one.run("restart", "a")
        assert started.wait(20) == 0
        assert started.stderr.read() == b""


def test_nobody_to_read_the_error_either_is_no_reason_to_complain(one: Stack) -> None:
    started = one.start("ps", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert started.stdout is not None
    started.stdout.close()
    assert started.wait(20) == 0


def test_the_completion_of_a_shell_knows_commands_and_services(one: Stack) -> None:
    one.up()
    assert "_ORCHESTRATOR_COMPLETE" in one.run("completion", "bash").out

    def complete(line: str) -> str:
        return one.run(
            _ORCHESTRATOR_COMPLETE="bash_complete",
            COMP_WORDS=line,
            COMP_CWORD=str(len(line.split(" ")) - 1),
        ).out

    assert "plain,restart" in complete("orchestrator rest")
    assert "plain,a" in complete("orchestrator restart ")
    one.down()
    assert "plain,a" in complete("orchestrator logs ")


def test_quiet_says_nothing_but_errors(one: Stack) -> None:
    ran = one.run("-q", "up", "-d", "--wait")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert one.run("-q", "restart", "a").out == ""
    ran = one.run("-q", "down")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert one.run("-q", "ps").err.startswith("orchestrator: no stack")
