"""The values of a stack's secrets."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.spec.model import Project
from orchestrator.system.secrets import known, resolve, warnings
from tests.unit.spec.files import project, write


def stack(folder: Path, secrets: str) -> Project:
    return project(folder, f"secrets: {secrets}\nservices: {{web: {{command: x}}}}")


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state" / "abc"


def test_a_secret_comes_from_the_first_place_that_has_one(tmp_path: Path, state_dir: Path) -> None:
    write(tmp_path, "KEY=dotenv-key\n", ".env")
    write(tmp_path, "file-key\n", "key")
    made = stack(tmp_path, "{key: {env: KEY, file: key, generate: true}}")
    assert resolve(made, {"KEY": "up-key"}, state_dir) == {"key": "up-key"}
    assert resolve(made, {}, state_dir) == {"key": "dotenv-key"}
    # An empty line in a copied .env is no secret.
    assert resolve(made, {"KEY": ""}, state_dir) == {"key": "dotenv-key"}
    (tmp_path / ".env").write_text("KEY=\n")
    made = stack(tmp_path, "{key: {env: KEY, file: key, generate: true}}")
    assert resolve(made, {"KEY": ""}, state_dir) == {"key": "file-key"}
    assert not state_dir.exists()
    (tmp_path / "key").unlink()
    assert len(resolve(made, {}, state_dir)["key"]) >= 43


def test_a_file_is_taken_less_one_line_end(tmp_path: Path, state_dir: Path) -> None:
    made = stack(tmp_path, "{key: {file: ~/key}}")
    for content, value in (
        (b" a b \n", " a b "),
        (b"a\r\n", "a"),
        (b"a\n\n", "a\n"),
        ("ä".encode(), "ä"),
    ):
        (tmp_path / "key").write_bytes(content)
        assert resolve(made, {"HOME": str(tmp_path)}, state_dir) == {"key": value}


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"\xff\n", "it is not UTF-8"), (b"a\0b", "it holds a NUL"), (None, "is a directory")],
)
def test_a_file_that_holds_no_secret_is_named(
    tmp_path: Path, state_dir: Path, content: bytes | None, why: str
) -> None:
    if content is None:
        (tmp_path / "key").mkdir()
    else:
        (tmp_path / "key").write_bytes(content)
    made = stack(tmp_path, "{key: {file: key, generate: true}}")
    with pytest.raises(OrchestratorError, match=rf"the secret 'key' in .*key: {why}"):
        resolve(made, {}, state_dir)


def test_all_that_have_no_value_are_named_with_what_to_do(tmp_path: Path, state_dir: Path) -> None:
    (tmp_path / "empty").write_bytes(b"\n")
    made = stack(tmp_path, "{a: {env: A}, b: {env: B, file: empty}, c: {file: gone}}")
    with pytest.raises(OrchestratorError) as caught:
        resolve(made, {}, state_dir)
    assert str(caught.value) == (
        "the secret 'a' has no value: set A, or let it `generate: true`; "
        "the secret 'b' has no value: set B or put it into empty, or let it `generate: true`; "
        "the secret 'c' has no value: put it into gone, or let it `generate: true`"
    )
    assert not state_dir.exists()


# Made ones.

TWO = "{a: {generate: true}, b: {generate: true}}"


def test_a_secret_is_made_once_and_kept_for_its_owner_alone(
    tmp_path: Path, state_dir: Path
) -> None:
    made = stack(tmp_path, TWO)
    first = resolve(made, {}, state_dir)
    assert len(set(first.values())) == 2
    assert all(len(value) == 43 for value in first.values())
    assert resolve(made, {}, state_dir) == first
    file = state_dir / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert json.loads(file.read_text()) == first


def test_one_more_is_made_beside_those_that_are_kept(tmp_path: Path, state_dir: Path) -> None:
    first = resolve(stack(tmp_path, "{b: {generate: true}}"), {}, state_dir)
    second = resolve(stack(tmp_path, TWO), {}, state_dir)
    assert list(second) == ["a", "b"]
    assert second["b"] == first["b"]
    # One that is named no more is kept: it may come back.
    resolve(stack(tmp_path, "{c: {generate: true}}"), {}, state_dir)
    assert json.loads((state_dir / "secrets.json").read_text()).keys() == {"a", "b", "c"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 5}', "\udcff"])
def test_kept_secrets_that_cannot_be_read_are_never_written_over(
    tmp_path: Path, state_dir: Path, content: str
) -> None:
    state_dir.mkdir(parents=True)
    file = state_dir / "secrets.json"
    data = content.encode("utf-8", "surrogateescape")
    file.write_bytes(data)
    with pytest.raises(
        OrchestratorError, match=r"cannot read the generated secrets in .*json: "
    ) as c:
        resolve(stack(tmp_path, TWO), {}, state_dir)
    assert "move it away to have new ones made" in str(c.value)
    assert file.read_bytes() == data


def test_a_folder_in_their_place_is_told(tmp_path: Path, state_dir: Path) -> None:
    (state_dir / "secrets.json").mkdir(parents=True)
    with pytest.raises(OrchestratorError, match=r"secrets.json: is a directory"):
        resolve(stack(tmp_path, TWO), {}, state_dir)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(OrchestratorError, match=r"cannot keep the generated secrets in .*: "):
        resolve(stack(tmp_path, TWO), {}, tmp_path / "state" / "abc")


def test_what_one_who_was_killed_left_is_no_hindrance(tmp_path: Path, state_dir: Path) -> None:
    state_dir.mkdir(parents=True)
    (state_dir / "secrets.json.new").write_text("{half")
    assert resolve(stack(tmp_path, TWO), {}, state_dir).keys() == {"a", "b"}
    assert sorted(path.name for path in state_dir.iterdir()) == ["secrets.json", "secrets.lock"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, state_dir: Path) -> None:
    state_dir.mkdir(parents=True)
    # A folder cannot be unlinked: so the writing fails before it has begun.
    (state_dir / "secrets.json.new").mkdir()
    with pytest.raises(OrchestratorError, match="cannot keep the generated secrets"):
        resolve(stack(tmp_path, TWO), {}, state_dir)
    assert not (state_dir / "secrets.json").exists()


MAKE = """
import sys
from pathlib import Path
from orchestrator.spec.load import load
from orchestrator.system.secrets import resolve
print(resolve(load(Path(sys.argv[1]), {}), {}, Path(sys.argv[2])))
"""


def test_several_at_once_agree_on_one_value(tmp_path: Path, state_dir: Path) -> None:
    made = stack(tmp_path, TWO)
    state_dir.mkdir(parents=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, str(made.file), str(state_dir)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    try:
        told = {process.communicate(timeout=30)[0] for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert len(told) == 1
    assert told == {f"{resolve(made, {}, state_dir)}\n".encode()}


def test_a_full_disk_costs_no_secret_that_was_kept(tmp_path: Path, state_dir: Path) -> None:
    first = resolve(stack(tmp_path, "{b: {generate: true}}"), {}, state_dir)
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
    ) + MAKE.replace("print(", "(")
    made = stack(tmp_path, TWO)
    ran = subprocess.run(
        [sys.executable, "-B", "-c", script, str(made.file), str(state_dir)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    assert "cannot keep the generated secrets in" in ran.stderr
    assert "file too large" in ran.stderr
    assert json.loads((state_dir / "secrets.json").read_text()) == first
    assert not (state_dir / "secrets.json.new").exists()
    assert os.listdir(state_dir)


# For redaction, and for people.


def test_what_is_known_now_is_told_without_making_any(tmp_path: Path, state_dir: Path) -> None:
    write(tmp_path, "ok", "good")
    (tmp_path / "bad").mkdir()
    made = stack(
        tmp_path,
        "{a: {env: A}, b: {generate: true}, c: {file: good}, d: {file: bad}, e: {env: E}}",
    )
    assert known(made, {"A": "x"}, state_dir) == {"a": "x", "c": "ok"}
    assert not state_dir.exists()
    kept = resolve(stack(tmp_path, TWO), {}, state_dir)
    assert known(made, {"A": "x"}, state_dir) == {"a": "x", "b": kept["b"], "c": "ok"}
    (state_dir / "secrets.json").write_text("{")
    assert known(made, {}, state_dir) == {"c": "ok"}


def test_a_short_secret_is_warned_of_by_name_alone() -> None:
    assert warnings({"a": "1234567", "b": "12345678"}) == (
        (
            "the secret 'a' is shorter than 8 characters: easily guessed, "
            "and hiding it hides innocent text as well"
        ),
    )
    assert warnings({}) == ()
