"""publish() with real files: what it writes, what it keeps, and what it leaves alone."""

import dataclasses
import errno
import fcntl
import json
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orchestrator.discovery.publish import Entry, Published, needs_republish, publish
from orchestrator.discovery.replace import replace
from orchestrator.discovery.snapshot import read
from tests.integration.discovery.publish_stage import (
    SCHEDULER,
    beside,
    config_in,
    mounted,
    needs_root,
    remount,
)

NOTHING = Published(changed=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return config_in(tmp_path)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def servers(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(path.read_bytes())["mcp"]["mcp_servers"]
    return found


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "one" / "two" / "config.json"
    path.parent.parent.mkdir()
    before = os.umask(umask)
    try:
        assert publish(path, [SCHEDULER]) == Published(changed=True)
    finally:
        os.umask(before)
    lock = path.with_name(".config.json.lock")
    assert mode_of(path) == mode_of(lock) == 0o600
    assert not mode_of(path.parent) & 0o022
    assert servers(path)[0]["name"] == "Scheduler"
    assert path.read_text().startswith('{\n  "mcp": {\n    "mcp_servers": [\n')
    assert path.read_text().endswith("}\n")
    assert not beside(path)


def test_foreign_things_stay_and_the_second_time_nothing_is_written(config: Path) -> None:
    assert publish(config, [SCHEDULER]).changed
    after = config.read_text()
    assert after.startswith(
        '{\n    "logging": {"level": 1e0},\n    "mcp": {\n        "mcp_servers"'
    )
    before = config.stat()
    assert publish(config, [SCHEDULER]) == NOTHING
    assert publish(config, []) == NOTHING
    assert config.stat() == before
    assert not beside(config)


def test_a_new_url_replaces_only_the_url(config: Path) -> None:
    publish(config, [SCHEDULER])
    text = config.read_text()
    moved = Entry("Scheduler", "http://localhost:7000/mcp", "orchestrator", "s3cret-key")
    assert publish(config, [moved]) == Published(changed=True)
    assert config.read_text() == text.replace("5146", "7000")


def test_ten_thousand_entries_are_kept(config: Path) -> None:
    many = [{"name": f"s{n}", "transport": {"url": f"http://h:{n}", "n": 1}} for n in range(10_000)]
    config.write_text(json.dumps({"mcp": {"mcp_servers": many}}))
    text = config.read_text()
    assert publish(config, [Entry("s7777", "http://localhost:1")]).changed
    after = text.replace(
        '"http://h:7777", "n": 1}', '"http://localhost:1", "n": 1, "type": "http"}'
    )
    assert config.read_text() == after


BROKEN = {
    "empty": b"",
    "only white space": b" \n\t\n",
    "cut off": b'{"a": {"b": [1, 2',
    "only a brace": b"{",
    "torn in a text": b'{"a": "b',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": '{"a": "ü"}'.encode("latin-1"),
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "half a pair in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "NUL bytes": b"\x00" * 64,
    "NUL after the end": b"{}\x00",
    "line comment": b'{\n  // mine\n  "a": 1\n}',
    "block comment": b'{"a": /* mine */ 1}',
    "hash comment": b'# mine\n{"a": 1}',
    "trailing comma in an object": b'{"a": 1,}',
    "trailing comma in a list": b'{"a": [1,]}',
    "leading comma": b'{,"a": 1}',
    "no comma": b'{"a": 1 "b": 2}',
    "no colon": b'{"a" 1}',
    "two colons": b'{"a":: 1}',
    "key without quotes": b"{a: 1}",
    "single quotes": b"{'a': 'b'}",
    "key that is a number": b'{1: "a"}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": [Infinity]}',
    "minus Infinity": b'{"a": -Infinity}',
    "hexadecimal": b'{"a": 0x10}',
    "leading zero": b'{"a": 01}',
    "leading plus": b'{"a": +1}',
    "number without an end": b'{"a": 1.}',
    "exponent without an end": b'{"a": 1e}',
    "capital True": b'{"a": True}',
    "raw tab in a text": b'{"a": "\t"}',
    "raw line break in a text": b'{"a": "x\ny"}',
    "wrong escape": b'{"a": "\\x41"}',
    "short escape": b'{"a": "\\u12"}',
    "two documents": b"{} {}",
    "JSON lines": b'{"a": 1}\n{"b": 2}\n',
    "wrong bracket": b'{"a": [1, 2}}',
    "a bracket too many": b'{"a": 1}}',
    "merge conflict": b'<<<<<<< HEAD\n{"a": 1}\n=======\n{"a": 2}\n>>>>>>> b\n',
    "YAML": b"mcp:\n  mcp_servers: []\n",
    "HTML": b"<!DOCTYPE html><html></html>",
    "list": b"[]",
    "text": b'"config"',
    "number": b"12",
    "null": b"null",
    "key twice": b'{"a": 1, "a": 1}',
    "mcp twice": b'{"mcp": {}, "mcp": {"mcp_servers": []}}',
    "key twice in another spelling": b'{"mcp": {}, "\\u006dcp": {}}',
    "key twice far away": b'{"x": [{"y": {"a": 1, "b": 2, "a": 3}}]}',
    "mcp is a list": b'{"mcp": []}',
    "mcp is true": b'{"mcp": true}',
    "mcp_servers is an object": b'{"mcp": {"mcp_servers": {}}}',
    "mcp_servers is a text": b'{"mcp": {"mcp_servers": "none"}}',
    "transport is a text": b'{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":"http"}]}}',
    "auth is a list": (
        b'{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":{"auth":["a"]}}]}}'
    ),
    "url is an object": b'{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":{"url":{}}}]}}',
    "over 5 MB": b'{"a": "' + b"x" * 5 * 1024 * 1024 + b'"}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_edited_without_harm_is_left_byte_for_byte(
    config: Path, kind: str
) -> None:
    config.write_bytes(BROKEN[kind])
    before = config.stat()
    result = publish(config, [SCHEDULER])
    assert config.read_bytes() == BROKEN[kind]
    after = config.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not beside(config)
    assert not result.changed
    (warning,) = result.warnings
    assert str(config) in warning
    assert '"url": "http://localhost:5146/mcp"' in warning
    assert "s3cret" not in warning


def test_the_warning_says_where_what_is_wrong_and_what_to_do(config: Path) -> None:
    config.write_bytes(b'{\r\n  "a": 1, // mine\r\n}\r\n')
    (warning,) = publish(config, [SCHEDULER]).warnings
    assert warning == (
        f"{config}:2:11: a comment is not JSON; it is left as it is; mend that, or put this into "
        'it by hand: {"mcp": {"mcp_servers": [{"name": "Scheduler", "transport": {"type": "http", '
        '"url": "http://localhost:5146/mcp", "auth": {"client_id": "orchestrator", "api_key": '
        '"••••••••"}}}]}}'
    )


def test_a_folder_and_a_pipe_are_left_alone(tmp_path: Path) -> None:
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)
    assert "it is a folder" in publish(folder, [SCHEDULER]).warnings[0]
    assert "not a regular file" in publish(pipe, [SCHEDULER]).warnings[0]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert "Not a directory" in publish(tmp_path / "pipe" / "x", [SCHEDULER]).warnings[0]


# Links.


def test_a_symlink_stays_and_its_target_is_replaced(config: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "link.json", tmp_path / "other.json"
    other.symlink_to(config)
    link.symlink_to("other.json")
    assert publish(link, [SCHEDULER]).changed
    assert link.readlink() == Path("other.json")
    assert other.is_symlink()
    assert servers(config)[0]["name"] == "Scheduler"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_the_target_of_a_symlink_that_leads_nowhere_is_made(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("shared/real.json")
    assert publish(link, [SCHEDULER]).changed
    assert link.is_symlink()
    assert mode_of(tmp_path / "shared" / "real.json") == 0o600


def test_a_symlink_to_itself_is_left_alone(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(link)
    (warning,) = publish(link, [SCHEDULER]).warnings
    assert "Too many levels of symbolic links" in warning


def test_a_file_with_two_names_keeps_both(config: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.json"
    twin.hardlink_to(config)
    inode = config.stat().st_ino
    long = Entry("Scheduler", "http://localhost:5146/" + "x" * 3000)
    for entry in (SCHEDULER, long, SCHEDULER):
        assert publish(config, [entry]).changed
        assert config.stat().st_ino == twin.stat().st_ino == inode
        assert json.loads(twin.read_bytes())["mcp"]["mcp_servers"][0]["transport"]["url"] == (
            entry.url
        )
        assert not beside(config)


@needs_root
def test_a_file_that_is_mounted_by_itself_is_written_in_place(config: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text('{\n\t"x": 1\n}')
    with mounted("--bind", str(source), at=config):
        assert publish(config, [SCHEDULER]).changed
        assert servers(config)[0]["name"] == "Scheduler"
    assert source.read_text().startswith('{\n\t"x": 1,\n\t"mcp": {\n\t\t"mcp_servers": [')
    assert not beside(config)


@needs_root
def test_a_file_that_is_mounted_read_only_by_itself_is_left_alone(
    config: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source.json"
    source.write_text("{}")
    with mounted("--bind", str(source), at=config):
        remount("-o", "remount,bind,ro", at=config)
        (warning,) = publish(config, [SCHEDULER]).warnings
    assert "Read-only file system" in warning
    assert source.read_text() == "{}"
    assert not beside(config)


# What can't be written.


@needs_root
def test_a_read_only_file_system_is_no_error_and_a_finished_file_on_it_no_warning(
    config: Path,
) -> None:
    with mounted("-t", "tmpfs", "none", at=config.parent):
        config.write_bytes(b"{}")
        publish(config, [SCHEDULER])
        config.with_name("new.json").write_bytes(b"{}")
        remount("-o", "remount,ro", at=config.parent)
        assert publish(config, [SCHEDULER]) == NOTHING
        for name in ("new.json", "absent.json"):
            result = publish(config.with_name(name), [SCHEDULER])
            assert not result.changed
            assert "Read-only file system" in result.warnings[0]


@needs_root
def test_a_full_disk_leaves_the_old_file(config: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=64k", "none", at=config.parent):
        config.write_bytes(b'{"a": "' + b"x" * 9000 + b'"}')
        publish(config.with_name("other.json"), [SCHEDULER])
        before = config.read_bytes()
        with config.with_name("filler").open("wb") as filler, suppress(OSError):
            while True:
                os.write(filler.fileno(), b"x" * 4096)
        (warning,) = publish(config, [SCHEDULER]).warnings
        assert "No space left on device" in warning
        config.with_name("twin.json").hardlink_to(config)
        assert "No space left on device" in publish(config, [SCHEDULER]).warnings[0]
        assert config.read_bytes() == before
        assert beside(config) == [".other.json.lock", "filler", "other.json", "twin.json"]


@needs_root
@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_file_is_left_alone(config: Path, flag: str) -> None:
    done = subprocess.run(["chattr", f"+{flag}", str(config)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this file system has no such attribute")
    before = config.read_bytes()
    try:
        (warning,) = publish(config, [SCHEDULER]).warnings
    finally:
        subprocess.run(["chattr", f"-{flag}", str(config)], check=True)
    assert "Operation not permitted" in warning
    assert config.read_bytes() == before
    assert not beside(config)


def test_a_file_marked_read_only_is_left_alone(config: Path) -> None:
    config.chmod(0o444)
    before = config.read_bytes()
    (warning,) = publish(config, [SCHEDULER]).warnings
    assert "marked read-only (mode 0444" in warning
    assert config.read_bytes() == before


NOBODY = 65534


@contextmanager
def as_nobody(path: Path) -> Iterator[Path]:
    """Yield a copy of ``path`` in a folder that every user reaches, and be another user."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy = folder / path.name
        copy.write_bytes(path.read_bytes())
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            yield copy
        finally:
            os.seteuid(0)
            os.setegid(0)


@contextmanager
def as_root() -> Iterator[None]:
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(NOBODY)


@needs_root
@pytest.mark.parametrize(
    ("owner", "folder_mode", "reason"),
    [
        (0, 0o777, "belongs to another user (uid 0)"),
        (NOBODY, 0o755, "Permission denied"),
        (NOBODY, 0o777, None),
    ],
)
def test_another_user_writes_only_what_is_its_own(
    config: Path, owner: int, folder_mode: int, reason: str | None
) -> None:
    with as_nobody(config) as path:
        with as_root():
            path.parent.chmod(folder_mode)
            os.chown(path, owner, NOBODY)
        result = publish(path, [SCHEDULER])
        assert result.changed is (reason is None)
        if reason is not None:
            assert reason in result.warnings[0]
            assert b"Scheduler" not in path.read_bytes()


@needs_root
def test_a_group_that_cannot_be_given_on_is_kept_by_writing_in_place(config: Path) -> None:
    with as_nobody(config) as path:
        with as_root():
            path.parent.chmod(0o777)
            os.chown(path, NOBODY, 4)
            path.chmod(0o640)
        before = path.stat()
        assert publish(path, [SCHEDULER]).changed
        after = path.stat()
        assert after.st_ino == before.st_ino
        assert (after.st_uid, after.st_gid, mode_of(path)) == (NOBODY, 4, 0o640)
        assert not beside(path)


def test_an_attribute_that_cannot_be_given_on_is_kept_by_writing_in_place(config: Path) -> None:
    before = read(config)
    assert before is not None
    unknown = dataclasses.replace(before, xattrs={"nonsense.x": b"1"})
    assert replace(config, unknown, b"{}") is not None
    assert config.stat().st_ino == before.stat.st_ino
    label = dataclasses.replace(before, stat=config.stat(), data=b"{}")
    label.xattrs["security." + "x" * 300] = b"the system sets these"
    assert replace(config, label, b"[]") is not None
    assert config.stat().st_ino != before.stat.st_ino
    assert config.read_bytes() == b"[]"


# What is kept.


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o755])
def test_the_mode_is_kept(config: Path, mode: int) -> None:
    config.chmod(mode)
    assert publish(config, [SCHEDULER]).changed
    assert mode_of(config) == mode


@needs_root
def test_the_owner_is_kept(config: Path) -> None:
    os.chown(config, 4711, 4712)
    assert publish(config, [SCHEDULER]).changed
    assert (config.stat().st_uid, config.stat().st_gid) == (4711, 4712)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list as the attribute holds it: version 2, then (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY_READS = acl(
    (0x01, 6, 0xFFFFFFFF),
    (0x02, 4, 65534),
    (0x04, 0, 0xFFFFFFFF),
    (0x10, 4, 0xFFFFFFFF),
    (0x20, 0, 0xFFFFFFFF),
)


def setxattr(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"this file system has no {name}: {error.strerror}")


def test_extended_attributes_and_the_access_list_are_kept(config: Path) -> None:
    setxattr(config, "user.origin", b"guide")
    setxattr(config, "system.posix_acl_access", NOBODY_READS)
    mode = mode_of(config)
    assert publish(config, [SCHEDULER]).changed
    assert os.getxattr(config, "user.origin") == b"guide"
    assert os.getxattr(config, "system.posix_acl_access") == NOBODY_READS
    assert mode_of(config) == mode


def test_an_access_list_that_the_folder_hands_down_is_not_taken(config: Path) -> None:
    setxattr(config.parent, "system.posix_acl_default", NOBODY_READS)
    assert publish(config, [SCHEDULER]).changed
    assert os.listxattr(config) == []
    assert mode_of(config) == 0o600


def test_a_file_system_without_attributes_is_no_fault(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[str]:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "listxattr", refuse)
    assert publish(config, [SCHEDULER]).changed


# Who else can read it.


@pytest.mark.parametrize(("mode", "who"), [(0o640, "its group"), (0o644, "every user")])
def test_a_file_that_others_can_read_is_written_with_a_warning(
    config: Path, mode: int, who: str
) -> None:
    config.chmod(mode)
    result = publish(config, [SCHEDULER])
    assert result.changed
    (warning,) = result.warnings
    assert who in warning
    assert f"(mode {mode:04o}); to keep them to yourself: chmod 600 {config}" in warning
    assert publish(config, [Entry("Open", "http://localhost:1")]) == Published(changed=True)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def test_a_file_that_git_tracks_is_written_with_a_warning(config: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert publish(config, [SCHEDULER]) == Published(changed=True)
    git(tmp_path, "add", "config/config.json")
    (warning,) = publish(config, [Entry("B", "http://localhost:1", None, "k")]).warnings
    assert f"git rm --cached {config}" in warning


def test_without_git_the_question_is_not_asked(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert publish(config, [SCHEDULER]) == Published(changed=True)


# The lock.


def test_a_lock_that_is_held_is_waited_for_and_a_finished_file_needs_none(config: Path) -> None:
    publish(config, [SCHEDULER])
    lock = config.with_name(".config.json.lock")
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert publish(config, [SCHEDULER], wait_s=0.05) == NOTHING
        (warning,) = publish(config, [Entry("B", "http://localhost:1")], wait_s=0.05).warnings
    assert f"another process holds {lock}" in warning
    assert needs_republish(config, [Entry("B", "http://localhost:1")])
    assert publish(config, [Entry("B", "http://localhost:1")]).changed


def test_a_lock_that_cannot_be_opened_is_named(config: Path) -> None:
    lock = config.with_name(".config.json.lock")
    lock.symlink_to("elsewhere")
    (warning,) = publish(config, [SCHEDULER]).warnings
    assert str(lock) in warning


def test_nothing_is_imported_that_is_not_needed() -> None:
    code = "import sys, orchestrator.discovery.publish; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
