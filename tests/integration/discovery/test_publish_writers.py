"""publish() while others write, read, or die in the middle."""

import ctypes
import dataclasses
import itertools
import json
import os
import random
import select
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.discovery import replace as replacing
from orchestrator.discovery.exposure import exposures
from orchestrator.discovery.publish import Entry, needs_republish, publish
from orchestrator.discovery.replace import replace, tidy
from orchestrator.discovery.snapshot import Snapshot, read, signature
from orchestrator.discovery.swap import How, rename
from tests.integration.discovery.publish_stage import (
    SCHEDULER,
    beside,
    config_in,
    mounted,
    needs_root,
    running,
)

KILLS = 25


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return config_in(tmp_path)


def loaded(path: Path) -> Any:
    return json.loads(path.read_bytes())


def snapshot_of(path: Path) -> Snapshot:
    snapshot = read(path)
    assert snapshot is not None
    return snapshot


# Other processes.

PUBLISH_MANY = """
import sys
from pathlib import Path
from orchestrator.discovery.publish import Entry, publish
path, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for n in range(count):
    result = publish(path, [Entry(f"{who}-{n}", f"http://localhost:{n + 1}", None, "key")], 50)
    assert result.changed and not result.warnings, result
"""

PUBLISH_FOR_EVER = """
import itertools, sys
from pathlib import Path
from orchestrator.discovery.publish import Entry, publish
path, size = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for n in itertools.count():
    publish(path, [Entry("Scheduler", f"http://localhost:1/{n}" + "x" * size * (n % 2))])
"""

# Another tool: knows no lock, replaces the file whole, keeps what it does not know.
EDIT = """
import json, os, sys, time
path, count = sys.argv[1], int(sys.argv[2])
for n in range(count):
    with open(path) as file:
        document = json.load(file)
    document.setdefault("edits", []).append(n)
    with open(path + ".edit", "w") as file:
        json.dump(document, file, indent=4)
    os.replace(path + ".edit", path)
    time.sleep(0.005)
"""

OBSERVE = """
import json, sys
print("ready", flush=True)
looks = 0
while sys.stdin not in __import__("select").select([sys.stdin], [], [], 0)[0]:
    with open(sys.argv[1], "rb") as file:
        document = json.loads(file.read())
    assert document["logging"] == {"level": 1.0}, document
    looks += 1
print(looks)
"""


def test_no_entry_of_400_is_lost_among_four_processes(config: Path) -> None:
    with ExitStack() as stack:
        many = [
            stack.enter_context(running(PUBLISH_MANY, config, who, 100))
            for who in ("a", "b", "c", "d")
        ]
        for process in many:
            assert process.communicate(timeout=50)[1] == b""
    names = [server["name"] for server in loaded(config)["mcp"]["mcp_servers"]]
    assert sorted(names) == sorted(f"{who}-{n}" for who in "abcd" for n in range(100))
    assert not beside(config)


def test_no_edit_of_a_tool_that_knows_no_lock_is_lost(config: Path) -> None:
    with running(EDIT, config, 150) as editor:
        turns = 0
        while editor.poll() is None:
            url = f"http://localhost:{turns % 60000 + 1}"
            publish(config, [Entry("Scheduler", url)])
            turns += 1
            select.select([], [], [], 0.003)
        assert editor.returncode == 0
    assert turns > 20
    assert loaded(config)["edits"] == list(range(150))
    assert not beside(config)


def test_a_reader_never_sees_half_a_file(config: Path) -> None:
    with running(OBSERVE, config) as observer:
        assert observer.stdout is not None
        assert observer.stdout.readline() == b"ready\n"
        for n in range(300):
            long = "x" * 70_000 * (n % 2)
            assert publish(config, [Entry("Scheduler", f"http://localhost:1/{n}{long}")]).changed
        said, trouble = observer.communicate(b"stop", timeout=10)
    assert trouble == b""
    assert int(said) > 50


@pytest.mark.parametrize("names", [1, 2])
def test_a_kill_in_the_middle_leaves_the_old_or_the_new_file(config: Path, names: int) -> None:
    rng = random.Random(4711)
    # Long foreign text: half a write of it would be valid JSON, and only the mending tells.
    foreign = config.read_bytes().replace(b"1e0", b'"' + b"y" * 200_000 + b'"')
    config.write_bytes(foreign)
    if names == 2:
        config.with_name("twin").hardlink_to(config)
    left = 0
    for _ in range(KILLS):
        with running(PUBLISH_FOR_EVER, config, 30_000) as process:
            assert process.stdout is not None
            process.stdout.readline()
            select.select([], [], [], rng.uniform(0.001, 0.03))
            process.send_signal(signal.SIGKILL)
            process.wait(5)
        left += len(beside(config)) - (names - 1)
        if names == 1:
            assert loaded(config)["logging"] == {"level": "y" * 200_000}
        publish(config, [Entry("Scheduler", f"http://localhost:2/{left}")])
        document = loaded(config)
        assert document["logging"] == {"level": "y" * 200_000}
        assert len(document["mcp"]["mcp_servers"]) == 1
        assert beside(config) == ["twin"] * (names - 1)
    assert left > 0, "no kill hit a write"


# One writer between our looks, at the exact place.


def test_what_was_written_since_the_look_stands(config: Path) -> None:
    before = snapshot_of(config)
    config.write_bytes(b'{"theirs": 1}')
    assert replace(config, before, b'{"ours": 1}') is None
    assert config.read_bytes() == b'{"theirs": 1}'
    config.with_name("twin").hardlink_to(config)
    twin = dataclasses.replace(before, stat=config.stat())
    config.write_bytes(b'{"theirs": 22}')
    assert replace(config, twin, b'{"ours": 1}') is None
    assert config.read_bytes() == b'{"theirs": 22}'
    assert beside(config) == ["twin"]


def test_what_was_written_between_the_last_look_and_the_swap_is_put_back(config: Path) -> None:
    # Same signature and other bytes: as if it was written after the signature was compared.
    before = dataclasses.replace(snapshot_of(config), data=b'{"older": 1}')
    inode = config.stat().st_ino
    text = config.read_bytes()
    assert replace(config, before, b'{"ours": 1}') is None
    assert (config.stat().st_ino, config.read_bytes()) == (inode, text)
    assert not beside(config)


def test_of_two_who_write_in_between_the_last_one_stands(config: Path) -> None:
    ours = config.with_name("ours")
    ours.write_bytes(b"first of theirs")
    config.write_bytes(b"last of theirs")
    replacing._swap_back(config, ours, ours=(0, 0, 0))
    assert config.read_bytes() == b"last of theirs"
    ours.unlink()
    replacing._swap_back(config, ours, ours=None)
    assert config.read_bytes() == b"last of theirs"


def test_a_file_that_came_or_went_in_between_is_looked_at_again(config: Path) -> None:
    before = snapshot_of(config)
    assert replace(config, None, b'{"ours": 1}') is None
    assert config.read_bytes() == before.data
    config.unlink()
    assert replace(config, before, b'{"ours": 1}') is None
    assert not config.exists()
    assert replace(config, None, b'{"ours": 1}') == signature(config)


def test_a_file_that_is_only_just_being_written_is_waited_for(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config.read_bytes()
    config.write_bytes(b"")
    monkeypatch.setattr(time, "sleep", lambda _: config.write_bytes(text))
    assert publish(config, [SCHEDULER]).changed
    assert loaded(config)["logging"] == {"level": 1.0}


def test_a_file_that_others_write_all_the_time_is_given_up_for_now(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = itertools.count()
    real = os.fsync

    def write_meanwhile(fd: int) -> None:
        real(fd)
        config.write_text(json.dumps({"edit": "x" * next(writes)}))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", write_meanwhile)
        (warning,) = publish(config, [SCHEDULER]).warnings
    assert "other programs write it all the time (10 tries)" in warning
    assert loaded(config) == {"edit": "x" * 9}
    assert needs_republish(config, [SCHEDULER])
    assert publish(config, [SCHEDULER]).changed


# Systems that can do less.


class _NoLibrary:
    def __init__(self, *_: object, **__: object) -> None:
        raise OSError("no C library")


def test_without_an_exchange_the_file_is_renamed_over(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _NoLibrary)
    assert publish(config, [SCHEDULER]).changed
    assert publish(config.with_name("new.json"), [SCHEDULER]).changed
    assert loaded(config) == {"logging": {"level": 1.0}} | loaded(config.with_name("new.json"))
    assert beside(config) == [".new.json.lock", "new.json"]


def test_a_kind_of_rename_that_the_kernel_does_not_know_changes_nothing(config: Path) -> None:
    other = config.with_name("other")
    other.write_bytes(b"other")
    before = config.read_bytes()
    assert rename(other, config, 3) is False  # type: ignore[arg-type]  # both flags at once
    assert (config.read_bytes(), other.read_bytes()) == (before, b"other")
    assert rename(other, config, How.EXCHANGE) is True
    assert (config.read_bytes(), other.read_bytes()) == (b"other", before)
    with pytest.raises(FileExistsError):
        rename(other, config, How.NOREPLACE)


# In place: mended after a death in the middle.


def torn(old: bytes, new: bytes, at: int) -> bytes:
    """What a file holds after the first ``at`` bytes of ``new`` were written over ``old``."""
    return new[:at] + old[at:]


@settings(max_examples=150, deadline=None)
@given(
    old=st.binary(min_size=1, max_size=40),
    new=st.binary(min_size=1, max_size=40),
    data=st.data(),
)
def test_a_torn_file_is_mended_and_any_other_is_left(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "config.json"
    left = path.with_name(".config.json.99.0123456789abcdef.old")
    at = data.draw(st.integers(0, len(new)))
    for before, after in ((torn(old, new, at), old), (new, new), (b"theirs" * 9, b"theirs" * 9)):
        path.write_bytes(before)
        left.write_bytes(old)
        left.with_suffix(".new").write_bytes(new)
        tidy(path)
        assert path.read_bytes() == (new if before == new else after)
        assert not beside(path)


def test_leftovers_are_removed_and_what_only_looks_like_them_is_not(config: Path) -> None:
    ours = [".config.json.1.0123456789abcdef.new", ".config.json.22.aaaaaaaaaaaaaaaa.old"]
    theirs = [".config.json.swp", ".config.json.1.0123.new", ".other.json.1.0123456789abcdef.new"]
    for name in ours + theirs:
        config.with_name(name).write_bytes(b"{}")
    folder = config.with_name(".config.json.3.0123456789abcdef.new")
    folder.mkdir()
    publish(config, [SCHEDULER])
    assert beside(config) == sorted([*theirs, folder.name])
    text = config.read_bytes()
    config.unlink()
    for suffix in (".old", ".new"):
        config.with_name(f".config.json.4.0123456789abcdef{suffix}").write_bytes(text)
    tidy(config)
    assert not config.exists()


@needs_root
def test_a_disk_that_fills_up_while_writing_in_place_gets_the_old_bytes_back(
    config: Path,
) -> None:
    with mounted("-t", "tmpfs", "-o", "size=64k", "none", at=config.parent):
        old = b"old" * 3000
        config.write_bytes(old)
        with config.open("r+b") as file, config.with_name("filler").open("wb") as filler:
            with suppress(OSError):
                while True:
                    os.write(filler.fileno(), b"x" * 4096)
            with pytest.raises(OSError, match="No space left"):
                replacing._fill_or_restore(file.fileno(), b"new" * 9000, old)
        assert config.read_bytes() == old


# Watching.


def test_an_entry_that_an_old_copy_wiped_out_is_noticed_and_written_again(config: Path) -> None:
    old = config.read_bytes()
    assert needs_republish(config, [SCHEDULER])
    assert publish(config, [SCHEDULER]).changed
    assert not needs_republish(config, [SCHEDULER])
    config.write_bytes(config.read_bytes().replace(b"1e0", b"2e0"))
    assert not needs_republish(config, [SCHEDULER])
    config.write_bytes(old)
    assert needs_republish(config, [SCHEDULER])
    assert publish(config, [SCHEDULER]).changed
    config.unlink()
    assert needs_republish(config, [SCHEDULER])
    assert needs_republish(config, [Entry("Scheduler", "http://localhost:2")])


def test_what_nothing_can_be_done_about_is_looked_at_once_until_it_changes(config: Path) -> None:
    config.write_bytes(b"{")
    assert not needs_republish(config, [SCHEDULER])
    config.write_bytes(b"{}")
    assert needs_republish(config, [SCHEDULER])
    config.chmod(0o400)
    assert publish(config, [SCHEDULER]).warnings
    assert not needs_republish(config, [SCHEDULER])
    config.chmod(0o600)
    config.write_bytes(b"{} ")
    assert needs_republish(config, [SCHEDULER])
    folder = config.parent / "folder"
    folder.mkdir()
    assert not needs_republish(folder, [SCHEDULER])
    loop = config.parent / "loop"
    loop.symlink_to(loop)
    assert not needs_republish(loop, [SCHEDULER])


def test_a_git_that_hangs_is_not_waited_for_for_long(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert list(exposures(config, config, timeout_s=0.1)) == []
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not any(b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)
