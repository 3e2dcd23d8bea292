"""Which services.yaml a command is about, and where its files are."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cli.conftest import HANG, Make
from tests.stack import Stack, wait_until

OTHER = "name: other\nservices: {b: {command: sleep 1000}}\n"


def names(one: Stack, *words: str) -> list[str]:
    return one.run(*words, "ps", "-q", "-a").out.split()


def test_it_is_looked_for_in_the_parents(one: Stack) -> None:
    one.up()
    deep = one.folder / "x" / "y"
    deep.mkdir(parents=True)
    assert names(one, "-C", str(deep)) == ["a"]


def test_a_file_can_be_named_and_is_a_stack_of_its_own(one: Stack) -> None:
    (one.folder / "other.yaml").write_text(OTHER)
    one.up()
    assert one.run("-f", "other.yaml", "ps").code == 7
    assert one.run("-f", "other.yaml", "up", "-d").code == 0
    try:
        assert names(one, "-f", "other.yaml") == ["b"]
        assert names(one) == ["a"]
        listed = one.run("ls").out
        assert "other.yaml" in listed
        assert listed.count("running") == 2
    finally:
        assert one.run("-f", "other.yaml", "down").code == 0


def test_nothing_to_be_found_is_exit_code_6_and_tells_where_it_was_looked_for(one: Stack) -> None:
    empty = one.folder.parent / "empty"
    empty.mkdir()
    for command in (["up", "-d"], ["ps"], ["down"], ["config"]):
        ran = one.run("-C", str(empty), *command)
        assert ran.code == 6, ran
        assert str(empty) in ran.err
        assert "`orchestrator init`" in ran.err


def test_a_named_file_that_is_not_there_is_exit_code_6(one: Stack) -> None:
    for command in (["up", "-d"], ["ps"], ["config"]):
        ran = one.run("-f", "nowhere.yaml", *command)
        assert ran.code == 6, ran
        assert "nowhere.yaml" in ran.err


def test_a_folder_that_is_not_there_is_told(one: Stack) -> None:
    ran = one.run("-C", "nowhere", "ps")
    assert ran.code == 1
    assert "nowhere" in ran.err


def test_a_running_stack_needs_no_file_any_more(one: Stack) -> None:
    one.up()
    one.wait_for_log("a", b"up")
    one.file.unlink()
    (one.folder / "x").mkdir()
    assert names(one, "-C", "x") == ["a"]
    assert "up" in one.run("logs").out
    assert one.run("stop", "a").code == 0
    assert one.run("down").code == 0
    assert one.survivors() == set()


def test_a_file_of_any_name_is_found_again_from_its_folder(one: Stack) -> None:
    (one.folder / "sub").mkdir()
    other = one.folder / "sub" / "dev.yaml"
    other.write_text(OTHER)
    one.file.unlink()
    assert one.run("-f", str(other), "up", "-d").code == 0
    try:
        other.unlink()
        assert names(one, "-C", "sub") == ["b"]
    finally:
        assert one.run("-C", "sub", "down").code == 0


def test_the_runtime_folder_of_the_first_up_is_used_by_every_terminal(one: Stack) -> None:
    """XDG_RUNTIME_DIR is another one under cron, in an agent's shell, in an editor."""
    one.up()
    for other in ("", str(one.folder / "elsewhere"), "/nowhere"):
        ran = one.run("ps", "-q", XDG_RUNTIME_DIR=other)
        assert (ran.code, ran.out) == (0, "a\n")
    noted = (one.state_dir / "runtime").read_text()
    assert Path(noted) == one.runtime_dir


def test_ups_at_once_with_different_runtime_folders_give_one_stack(make: Make) -> None:
    one = make({"a": {"command": HANG}})
    folders = [one.folder / f"run{number}" for number in range(6)]
    for folder in folders:
        folder.mkdir(mode=0o700)

    def up(folder: Path) -> int:
        return one.run("up", "-d", XDG_RUNTIME_DIR=str(folder), within_s=55).code

    with ThreadPoolExecutor(len(folders)) as pool:
        assert list(pool.map(up, folders)) == [0] * len(folders)
    answers = {one.run("ps", "--format", "json", XDG_RUNTIME_DIR=str(f)).out for f in folders}
    assert len({json.loads(answer)["services"][0]["pid"] for answer in answers}) == 1
    assert one.run("down").code == 0
    wait_until(lambda: one.survivors() == set())


def test_folders_that_are_open_to_others_are_closed(one: Stack) -> None:
    one.state_dir.mkdir(parents=True)
    one.state_dir.chmod(0o755)
    one.up()
    for folder in (one.state_dir, one.runtime_dir, one.state_dir / "locks"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_moved_project_is_another_stack(one: Stack) -> None:
    one.up()
    one.down()
    moved = one.folder.parent / "moved"
    moved.mkdir()
    shutil.copy(one.file, moved)
    assert one.run("-C", str(moved), "ps").code == 7


def test_init_writes_a_file_that_is_right_and_never_over_another(one: Stack) -> None:
    ran = one.run("init")
    assert ran.code == 1
    assert "already there" in ran.err
    empty = one.folder.parent / "My Empty_Project"
    empty.mkdir()
    assert one.run("-C", str(empty), "init").code == 0
    assert one.run("-C", str(empty), "config", "-q").code == 0
    assert one.run("-C", str(empty), "init").code == 1
