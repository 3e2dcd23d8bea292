"""Programs that can't be started, and what is said about it."""

import os
import socket
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from tests.integration.shim.stage import connected, staged, until

pytestmark = pytest.mark.anyio

BOTH_WAYS = pytest.mark.parametrize("tiers", [{}, {"posix_spawn": False}], ids=["spawn", "fork"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def refusal(stage: Any, argv: list[str], **order: Any) -> tuple[str, bool]:
    event = await stage.order_start(argv=argv, **order)
    assert event["event"] == "refused", event
    assert event["errno"] > 0
    return event["text"], event["permanent"]


@BOTH_WAYS
async def test_a_missing_program_is_named_with_the_path_that_was_searched(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        said = await refusal(stage, ["uvicornx"], env={"PATH": "/bin:/nowhere"})
        wanted = "cannot start 'uvicornx': no such file or directory; searched PATH=/bin:/nowhere"
        assert said == (wanted, True)
        said = await refusal(stage, ["./gone/x"])
        assert said == ("cannot start './gone/x': no such file or directory", True)
        # Nothing is left of a refused run, and the next one starts.
        assert not (stage.service_dir / "service.json").exists()
        assert (await stage.order_start("exit", "0"))["event"] == "spawned"


@BOTH_WAYS
async def test_a_missing_interpreter_is_not_a_missing_program(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        bad = script(tmp_path / "bad", "#!/no/such/python -u\nprint()\n")
        said = await refusal(stage, [bad])
        assert said == (
            f"cannot start '{bad}': its interpreter '/no/such/python' is not there",
            True,
        )


@BOTH_WAYS
async def test_a_text_without_an_interpreter_is_no_program(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        text, permanent = await refusal(stage, [script(tmp_path / "plain", "echo hi\n")])
        assert "not a program; a script needs '#!'" in text
        assert permanent


@BOTH_WAYS
async def test_a_missing_folder_is_not_a_missing_program(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        gone = str(tmp_path / "gone")
        said = await refusal(stage, ["true"], cwd=gone)
        assert said == (f"cannot start 'true': its folder '{gone}' is not there", True)
        said = await refusal(stage, ["true"], cwd="/dev/null")
        wanted = "cannot start 'true': its folder '/dev/null' can't be entered: not a directory"
        assert said == (wanted, True)


async def test_what_is_not_executable_says_so(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        plain = script(tmp_path / "plain", "#!/bin/sh\n", 0o644)
        said = await refusal(stage, [plain])
        wanted = f"cannot start '{plain}': permission denied; {plain} is not executable"
        assert said == (wanted, True)
        said = await refusal(stage, [str(tmp_path)])
        assert said == (f"cannot start '{tmp_path}': {tmp_path} is a folder", True)
        said = await refusal(stage, ["/dev/null/x"])
        assert said == ("cannot start '/dev/null/x': not a directory", True)


async def test_the_path_is_the_services_own_and_relative_to_its_folder(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        script(tmp_path / "bin" / "tool", "#!/bin/sh\necho from bin\n")
        script(tmp_path / "first" / "tool", "#!/bin/sh\n", 0o644)
        env = {"PATH": "first:bin:/bin"}
        assert (await stage.order_start(argv=["tool"], env=env))["event"] == "spawned"
        await stage.ended()
        assert stage.log() == b"from bin\n"


@BOTH_WAYS
async def test_an_environment_that_cannot_be_passed_is_refused(
    tmp_path: Path, tiers: dict[str, bool]
) -> None:
    async with staged(tmp_path, tiers=tiers) as stage:
        _, permanent = await refusal(stage, ["/bin/true"], env={"A": "nul\0nul"})
        assert permanent
        _, permanent = await refusal(stage, ["/bin/true", "x" * (1 << 18)])
        assert permanent


async def test_garbage_from_a_client_harms_nobody_else(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hang")
        connection = stage.shim._connection
        for garbage in (b"nonsense\n", b"[1]\n", b"{}\n", b'{"op":"start"}\n', b"\xff\xfe\n",
                        b'{"op":"signal","run":"x"}\n', b"[" * 100_000 + b"\n",
                        b'{"op":"explode"}\n', b"\n"):  # fmt: skip
            seen = len(stage.events)
            connection.send(garbage)
            while len(stage.events) == seen:
                await stage.event("error")
                await anyio.lowlevel.checkpoint()
            assert stage.events[-1]["event"] == "error"
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        assert (await stage.ended())["signal"] == 15


async def _turn() -> None:
    import anyio

    await anyio.lowlevel.checkpoint()


async def test_a_line_without_end_gets_its_sender_dropped(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hang")
        other, _ = await connected(stage)
        other._unsent = b"x" * (9 << 20)
        other.send({})
        await until(other.closed.is_set)
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        await stage.ended()


async def test_a_client_that_never_reads_is_dropped(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start("hang")

        def descriptors() -> int:
            return len(os.listdir(f"/proc/{stage.shim.pid}/fd"))

        before = descriptors()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
            deaf.connect(str(stage.service_dir / "shim.sock"))
            await until(lambda: descriptors() == before + 1)
            for _ in range(30_000):
                stage.shim.send({"op": "signal", "run": 9, "signal": 15})
            await until(lambda: descriptors() == before, 20)
        stage.shim.send({"op": "signal", "run": 1, "signal": 15})
        await stage.ended(10)
