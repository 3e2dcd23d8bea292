"""Small parts of the shim by themselves."""

import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from orchestrator.shim import failpoints, files, launch, sys_linux, wire
from orchestrator.shim.identity import Stat
from orchestrator.shim.index import Index
from orchestrator.shim.launch import Launch, Refused
from orchestrator.shim.run import End
from orchestrator.shim.segments import Segments


@pytest.mark.parametrize(
    ("soft", "number"),
    [(1024, 999), (1000, 999), (256, 254), (201, 199), (128, 127), (4, 3), (3, None),
     (resource.RLIM_INFINITY, 999), (1 << 20, 999)],
)  # fmt: skip
def test_the_holder_stands_high_but_below_the_limit_and_off_the_shells_numbers(
    soft: int, number: int | None
) -> None:
    assert launch.holder_number(soft) == number


@pytest.mark.parametrize(
    ("number", "permanent"),
    [(errno.ENOENT, True), (errno.EACCES, True), (errno.ENOEXEC, True), (errno.ENOTDIR, True),
     (errno.EAGAIN, False), (errno.ENOMEM, False), (errno.EMFILE, False), (errno.ENFILE, False),
     (errno.ETXTBSY, False)],
)  # fmt: skip
def test_only_what_another_try_cannot_mend_is_permanent(number: int, permanent: bool) -> None:
    assert Refused(number, "").permanent is permanent


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(Refused, match="the command is empty"):
        Launch([], {}, "/")


@pytest.mark.parametrize(
    ("status", "code", "number", "core"),
    [(0, 0, None, False), (3 << 8, 3, None, False), (9, None, 9, False), (0x8B, None, 11, True)],
)
def test_a_wait_status_is_read(
    status: int, code: int | None, number: int | None, core: bool
) -> None:
    assert End.of_status(status).fields() == {"code": code, "signal": number, "core": core}


def test_a_name_with_brackets_and_blanks_does_not_confuse_the_stat() -> None:
    fields = [
        "S",
        "7",
        "8",
        "9",
        *("0" for _ in range(15)),
        "4242",
        *("0" for _ in range(29)),
        "256",
    ]
    stat = Stat(b"12 (a) R 1 (b) " + " ".join(fields).encode())
    assert (stat.pid, stat.comm, stat.state) == (12, "a) R 1 (b", "S")
    assert (stat.parent, stat.group, stat.session) == (7, 8, 9)
    assert (stat.starttime, stat.wait_status) == (4242, 256)


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, None, True, 2.5, "ü\udcff\x00"]}, {"x": {"y": []}}]
)
def test_the_wire_is_what_json_is(value: dict[str, object]) -> None:
    assert json.loads(wire.encoded(value)) == value
    assert wire.decoded_object(json.dumps(value, indent=1).encode()) == value
    assert wire.encoded(value).count(b"\n") == 1


@pytest.mark.parametrize("text", [b"", b"{", b'{"a"', b"[1]", b"{} {}", b"\xff", b"nul", b'"\x01"'])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.decoded_object(text)


def test_folders_are_made_private_and_only_where_missing(tmp_path: Path) -> None:
    files.make(str(tmp_path / "a" / "b" / "c"))
    files.make(str(tmp_path / "a" / "b" / "c"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.make(str(tmp_path / "file" / "below"))


def test_an_unknown_failpoint_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no such failpoint: explode"):
        failpoints.arm({"explode": "kill"})
    failpoints.reach("exit.before_record")


def test_tee_shows_and_does_not_take() -> None:
    first, second = os.pipe(), os.pipe()
    try:
        os.write(first[1], b"two\nlines\n")
        assert sys_linux.tee(first[0], second[1], 4096) == 10
        assert sys_linux.bytes_waiting(first[0]) == 10
        assert os.read(second[0], 100) == b"two\nlines\n"
        os.read(first[0], 100)
        with pytest.raises(BlockingIOError):
            sys_linux.tee(first[0], second[1], 4096)
    finally:
        for fd in (*first, *second):
            os.close(fd)


def test_a_pipe_gets_the_first_size_that_is_granted() -> None:
    reader, writer = os.pipe()
    try:
        assert sys_linux.enlarge_pipe(reader, (1 << 30, 1 << 17, 1 << 16)) >= 1 << 16
    finally:
        os.close(reader)
        os.close(writer)


def test_the_kernel_tells_the_code_of_what_somebody_else_reaped() -> None:
    pid = os.posix_spawn(sys.executable, ["python", "-I", "-S", "-c", "raise SystemExit(5)"], {})
    pidfd = os.pidfd_open(pid)
    try:
        assert sys_linux.exit_status(pidfd) is None
        os.waitpid(pid, 0)
        # 6.15 and later; older kernels say nothing, and a code is never invented.
        assert sys_linux.exit_status(pidfd) in (5 << 8, None)
    finally:
        os.close(pidfd)


@pytest.mark.parametrize(("name", "rotated"), [("web.log", "web.120.log"), ("web", "web.120")])
def test_a_rotated_segment_is_named_by_its_first_offset(
    tmp_path: Path, name: str, rotated: str
) -> None:
    index = Index(str(tmp_path / ".index" / "web"))
    for text in ("0", "120", "007x", "x"):
        (tmp_path / rotated.replace("120", text)).write_text("12345")
    segments = Segments(str(tmp_path / name), 1000, 10, index)
    assert segments.rotated() == [0, 120]
    segments.open()
    assert (segments.base, segments.position) == (125, 0)
    segments.close()
    index.close()


def test_the_signals_of_a_service_are_all_but_two() -> None:
    from orchestrator.shim import signals

    assert set(signal.valid_signals()) - set(signals.CATCHABLE) == {signal.SIGKILL, signal.SIGSTOP}
