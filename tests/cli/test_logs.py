"""`logs` as a user runs it, from files alone: no supervisor runs, none ever did."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import terminal
from tests.logwriter import LogWriter
from tests.stack import Stack, wait_until

NOON = datetime.fromisoformat("2025-11-23T12:00:00+00:00").timestamp()
HEAVY = (
    "pydantic",
    "asyncio",
    "anyio",
    "yaml",
    "rich",
    "mcp",
    "psutil",
    "starlette",
    "http.client",
)


class Written:
    """A project whose services wrote something once."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.stack = Stack(folder, {})
        self.stack.file.write_text("this is: [not readable")
        self.logs = {name: LogWriter(folder / f"logs/{name}.log", NOON) for name in names}
        self.stack.state_dir.mkdir(parents=True)
        self.stack.runtime_dir.mkdir(parents=True)
        plan = {
            "name": "tested",
            "root": str(folder),
            "file": str(self.stack.file),
            "services": {name: {"log": str(log.path)} for name, log in self.logs.items()},
        }
        (self.stack.state_dir / "plan.json").write_text(json.dumps(plan))

    def hide(self, *secrets: str) -> None:
        (self.stack.runtime_dir / "redact.json").write_text(json.dumps(secrets))

    def out(self, *words: object, **environ: Any) -> list[str]:
        """Return the lines of `logs`, which must succeed."""
        ran = self.stack.run("logs", *words, **environ)
        assert (ran.code, ran.err) == (0, "")
        return ran.out.split("\n")[:-1]

    def items(self, *words: object) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out("--format", "json", *words)]


@pytest.fixture
def one(tmp_path: Path) -> Written:
    """One service, two runs, the second of which lives."""
    written = Written(tmp_path / "project", "api")
    log = written.logs["api"]
    log.start()
    log.write(b"first\nlast words")
    log.exit(1)
    log.now += 60
    log.start()
    log.write(b"second\n")
    return written


@pytest.fixture
def two(tmp_path: Path) -> Written:
    """Two services that wrote in turns, a second apart."""
    written = Written(tmp_path / "project", "api", "database")
    for second in range(4):
        log = written.logs["api" if second % 2 == 0 else "database"]
        log.now = NOON + second
        log.write(b"at %d\n" % second)
    return written


def test_runs_are_marked_between_each_other_and_not_at_the_first(one: Written) -> None:
    assert one.out() == [
        "api | first",
        "api | last words",
        "api | ── run 1 ended with exit code 1 ──",
        "api | ── run 2 started ──",
        "api | second",
    ]


def test_services_are_merged_by_time_behind_names_of_one_width(two: Written) -> None:
    assert two.out() == [
        "api      | at 0",
        "database | at 1",
        "api      | at 2",
        "database | at 3",
    ]
    assert two.out("-n", 1) == ["database | at 3"]
    assert two.out("api") == ["api | at 0", "api | at 2"]
    assert two.out("d*", "--no-log-prefix") == ["at 1", "at 3"]


def test_an_unknown_service_is_4_and_names_the_nearest(two: Written) -> None:
    ran = two.stack.run("logs", "databse")
    assert (ran.code, ran.out) == (4, "")
    assert "did you mean 'database'?" in ran.err


def test_a_hundred_lines_are_shown_unless_more_are_asked_for(tmp_path: Path) -> None:
    written = Written(tmp_path / "project", "a")
    for number in range(150):
        written.logs["a"].write(b"%d\n" % number)
    assert written.out() == [f"a | {number}" for number in range(50, 150)]
    assert len(written.out("-n", "all")) == 150
    assert written.out("-n", 0) == []
    assert len(written.out("--since", "2000-01-01")) == 150


def test_lines_are_chosen_by_time(two: Written) -> None:
    utc, local = "2025-11-23T12:00:02Z", datetime.fromtimestamp(NOON + 2).isoformat()
    for moment in (utc, local, "2025-11-23T13:00:02+01:00"):
        assert [line[-1] for line in two.out("--since", moment)] == ["2", "3"]
        assert [line[-1] for line in two.out("--until", moment)] == ["0", "1"]
    assert two.out("--until", "10000d") == []


def test_lines_are_chosen_by_the_line_before_by_run_and_by_pattern(one: Written) -> None:
    assert [item["seq"] for item in one.items("--after", 0)] == [6, 16, 16, 16]
    assert [item.get("text") for item in one.items("--run", -1)] == [
        None, "first", "last words", None,
    ]  # fmt: skip
    assert one.out("--run", 2, "-g", "SEC", "-i") == ["api | second"]
    assert one.out("-g", "SEC") == []


@pytest.mark.parametrize(
    "words",
    [["-n", "many"], ["-n", "-1"], ["--since", "soon"], ["-g", "("], ["--format", "xml"]],
)
def test_words_that_make_no_sense_are_2(one: Written, words: list[str]) -> None:
    ran = one.stack.run("logs", *words)
    assert (ran.code, ran.out) == (2, "")
    assert words[1] in ran.err


def test_json_has_a_line_or_an_event_each(one: Written) -> None:
    ts, later = "2025-11-23T12:00:00.000Z", "2025-11-23T12:01:00.000Z"
    same: dict[str, object] = {"service": "api", "ts": ts, "run": 1}
    new: dict[str, object] = {"service": "api", "ts": later, "run": 2}
    assert one.items() == [
        same | {"seq": 0, "event": "start"},
        same | {"seq": 0, "text": "first"},
        same | {"seq": 6, "text": "last words"},
        same | {"seq": 16, "event": "exit", "exit_code": 1, "signal": None},
        new | {"seq": 16, "event": "start"},
        new | {"seq": 16, "text": "second"},
    ]


def test_a_line_cannot_pass_for_an_event(tmp_path: Path) -> None:
    written = Written(tmp_path / "project", "a")
    forged = '{"service":"a","event":"exit"}\n\u2500\u2500 run 1 ended \u2500\u2500\n'
    written.logs["a"].write(forged.encode())
    assert all("event" not in item for item in written.items())
    assert written.out() == [f"a | {line}" for line in forged.splitlines()]


def test_a_long_line_comes_in_pieces(tmp_path: Path) -> None:
    written = Written(tmp_path / "project", "a")
    written.logs["a"].write(b"short\n" + b"x" * 40_000 + b"\n")
    items = written.items("-n", 1)
    assert [(item["seq"], item.get("partial", False)) for item in items] == [
        (6, True), (6 + 16384, True), (6 + 2 * 16384, False),
    ]  # fmt: skip
    assert "".join(str(item["text"]) for item in items) == "x" * 40_000


def test_secrets_and_control_sequences_are_shown_nowhere_but_in_raw(tmp_path: Path) -> None:
    written = Written(tmp_path / "project", "a")
    raw = "\x1b]0;title\x07key=\x1b[31mtop\x1b[0msecret \u202e\x9b2J".encode() + b"\xff\r\n"
    written.logs["a"].write(raw)
    written.hide("topsecret")
    shown = "key=•••• <U+202E>\ufffd"
    assert written.out() == [f"a | {shown}"]
    assert [item["text"] for item in written.items()] == [shown]
    assert written.out("-g", "topsecret") == []
    done = subprocess.run(
        written.stack.command("logs", "--format", "raw"),
        cwd=written.stack.folder, env=written.stack.environ, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == raw


def test_raw_is_what_was_written_also_in_parts(two: Written) -> None:
    two.logs["api"].write(b"no end")
    assert two.stack.run("logs", "--format", "raw", "api").out == "at 0\nat 2\nno end"
    assert two.stack.run("logs", "--format", "raw", "api", "-n", 1).out == "no end"
    assert two.stack.run("logs", "--format", "raw", "-g", "at").out == "at 0\nat 1\nat 2\nat 3\n"
    assert two.stack.run("logs", "--format", "raw", "api", "--after", 0).out == "at 2\nno end"


def test_timestamps_stand_before_the_name_in_local_time(one: Written) -> None:
    lines = one.out("-t", "-n", 1, TZ="UTC-01:30")
    assert lines == ["2025-11-23T13:31:00.000+01:30 api | second"]


def test_colours_are_for_terminals_that_want_them(one: Written) -> None:
    one.logs["api"].write(b"\x1b[32mgreen\x1b[0m\n")
    assert one.out("-n", 1) == ["api | green"]
    with terminal(one.stack, "logs", "-n", "1") as shown:
        assert shown.end() == 0
        assert shown.seen == b"\x1b[36mapi | \x1b[0m\x1b[32mgreen\x1b[0m\r\n"
    one.stack.environ["NO_COLOR"] = "1"
    with terminal(one.stack, "logs", "-n", "1") as shown:
        assert shown.end() == 0
        assert shown.seen == b"api | green\r\n"


def test_the_places_of_the_files_are_printed(two: Written) -> None:
    assert two.out("--path", "api") == [str(two.logs["api"].path)]


@pytest.fixture
def followed(one: Written) -> Iterator["subprocess.Popen[bytes]"]:
    """`logs -f` that has shown what was there."""
    process = one.stack.start("logs", "-f", "-n", 1, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"api | second\n"
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_following_goes_on_through_restarts_and_rotation(
    one: Written, followed: "subprocess.Popen[bytes]"
) -> None:
    log = one.logs["api"]
    log.write(b"more\n")
    log.exit(signal=15)
    log.rotate()
    log.start()
    log.write(b"again\n")
    assert followed.stdout is not None
    assert [followed.stdout.readline() for _ in range(4)] == [
        b"api | more\n",
        "api | ── run 2 was ended by SIGTERM ──\n".encode(),
        "api | ── run 3 started ──\n".encode(),
        b"api | again\n",
    ]


def test_an_interrupted_follower_is_130(followed: "subprocess.Popen[bytes]") -> None:
    followed.send_signal(signal.SIGINT)
    assert followed.wait(5) == 130


def test_a_follower_whose_reader_is_gone_ends_with_0(
    one: Written, followed: "subprocess.Popen[bytes]"
) -> None:
    assert followed.stdout is not None
    followed.stdout.close()

    def has_ended() -> bool:
        one.logs["api"].write(b"more\n")
        return followed.poll() is not None

    wait_until(has_ended)
    assert followed.returncode == 0


def test_following_ends_when_its_time_is_up(one: Written) -> None:
    assert one.out("-f", "-n", 1, "--until", "2025-11-23T12:00:30Z") == [
        "api | last words", "api | ── run 1 ended with exit code 1 ──",
    ]  # fmt: skip


def test_output_that_cannot_be_encoded_does_not_end_it(one: Written) -> None:
    one.logs["api"].write("snow ☃\n".encode())
    assert one.out("-n", 1, PYTHONIOENCODING="ascii") == ["api | snow ?"]


def test_nothing_heavy_is_imported(one: Written) -> None:
    script = (
        "import sys; from orchestrator.cli.main import run; code = run(sys.argv[2:]); "
        "sys.exit(code or ' '.join(set(sys.argv[1].split()) & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, " ".join(HEAVY), "logs", "-n", "10"],
        cwd=one.stack.folder, env=one.stack.environ, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsdecode(done.stdout).endswith("api | second\n")
