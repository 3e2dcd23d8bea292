"""`SchedulerService`: config.json in, words and None out, never an error."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

import orchestrator.scheduler
from orchestrator.scheduler import SchedulerService
from tests.integration.scheduler.scripted import Answer, scripted
from tests.integration.scheduler.stage import (
    API_KEY,
    Process,
    Receiver,
    embedded,
    free_port,
    running,
    write_config,
)

# ruff: noqa: ASYNC240 - small files in tmp_path
pytestmark = pytest.mark.anyio
WHERE = "http://127.0.0.1:9/x"
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    return folder / "config.json"


def service(config: Path, **environment: str) -> SchedulerService:
    return SchedulerService(config, timeout_s=5, environment=environment)


def later() -> datetime:
    return datetime.now() + timedelta(hours=1)


async def test_it_does_what_the_guide_says(
    scheduler: Process, config: Path, receiver: Receiver
) -> None:
    write_config(config, scheduler.url)
    async with service(config) as scheduling:
        assert await scheduling.initialize() is True
        soon = datetime.now() + timedelta(seconds=0.3)
        made = await scheduling.schedule_conversation("hello", soon, receiver.url)
        assert made is not None
        assert await scheduling.get_conversation_status(made) == "Scheduled"
        with anyio.fail_after(5):
            while await scheduling.get_conversation_status(made) != "Completed":  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert receiver.texts() == ["hello"]
        assert await scheduling.cancel_conversation(made) is False
        made = await scheduling.schedule_conversation("x", later().isoformat(), WHERE, "PUT", "why")
        assert made is not None
        assert await scheduling.cancel_conversation(made) is True
        assert await scheduling.get_conversation_status(made) == "Cancelled"
    await scheduling.close()
    await scheduling.close()


async def test_the_default_place_and_name_are_the_guides(
    scheduler: Process, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(config, scheduler.url)
    monkeypatch.chdir(config.parent.parent)
    async with SchedulerService() as scheduling:
        assert await scheduling.initialize() is True


async def test_the_environment_wins_over_the_file(scheduler: Process, config: Path) -> None:
    write_config(config, scheduler.url, "a-stale-key")
    async with service(config) as scheduling:
        assert await scheduling.initialize() is False
    keys = {"SCHEDULER_CLIENT_ID": "somebody", "SCHEDULER_API_KEY": API_KEY}
    async with service(config, **keys) as scheduling:
        assert await scheduling.initialize() is True


async def test_the_process_environment_is_asked_when_none_is_given(
    scheduler: Process, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(config, scheduler.url, "a-stale-key")
    monkeypatch.setenv("SCHEDULER_API_KEY", API_KEY)
    async with SchedulerService(config) as scheduling:
        assert await scheduling.initialize() is True


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory"),
        ("{", "cannot read"),
        ("[]", "no server 'Scheduler'"),
        ('{"mcp":{"mcp_servers":[{"name":"Other"}]}}', "('Other')"),
        ('{"mcp":{"mcp_servers":[{"name":"Scheduler"}]}}', "no http URL"),
        (
            '{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":{"url":"ftp://x"}}]}}',
            "no http URL",
        ),
        (
            '{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":{"url":"http://x/mcp"}}]}}',
            "SCHEDULER_API_KEY",
        ),
    ],
)
async def test_an_unusable_config_is_a_reason_in_the_log_and_no_error(
    config: Path, content: str | None, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        config.write_text(content)
    async with service(config) as scheduling:
        assert await scheduling.initialize() is False
        assert await scheduling.schedule_conversation("x", later(), WHERE) is None
        assert await scheduling.get_conversation_status(NOBODY) is None
        assert await scheduling.cancel_conversation(NOBODY) is False
    assert caplog.text.count(says) >= 4


@pytest.mark.parametrize(
    ("text", "at", "endpoint"),
    [
        ("", later(), WHERE),
        ("x", "tomorrow", WHERE),
        ("x", "2020-01-01", WHERE),
        ("x", later(), ""),
    ],
)
async def test_a_refused_wish_is_none_with_the_reason_logged(
    scheduler: Process,
    config: Path,
    caplog: pytest.LogCaptureFixture,
    text: str,
    at: datetime | str,
    endpoint: str,
) -> None:
    write_config(config, scheduler.url)
    async with service(config) as scheduling:
        assert await scheduling.schedule_conversation(text, at, endpoint) is None
        assert "cannot schedule a conversation: the scheduler refuses" in caplog.text


async def test_doubt_is_told(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    def script(asked: object) -> Answer | None:
        return Answer(drop=True) if b"schedule" in getattr(asked, "body", b"") else None

    with scripted(script) as server:
        write_config(config, server.url)
        async with service(config) as scheduling:
            assert await scheduling.schedule_conversation("x", later(), WHERE) is None
    assert "(it may have been done all the same)" in caplog.text


async def test_a_scheduler_that_moves_is_followed(tmp_path: Path, config: Path) -> None:
    async with service(config) as scheduling:
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            with running(embedded(folder)) as process:
                write_config(config, process.url)
                assert await scheduling.schedule_conversation("x", later(), WHERE)


async def test_a_file_broken_for_a_moment_costs_nothing_but_that_moment(
    scheduler: Process, config: Path
) -> None:
    write_config(config, scheduler.url)
    async with service(config) as scheduling:
        assert await scheduling.initialize() is True
        whole = config.read_text()
        config.write_text(whole[:20])
        await scheduling.initialize()
        config.write_text(whole)
        assert await scheduling.schedule_conversation("x", later(), WHERE)


async def test_fifty_at_once_survive_a_change_of_address(tmp_path: Path, config: Path) -> None:
    made: list[str | None] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running(embedded(tmp_path / "one")) as one, running(embedded(tmp_path / "two")) as two:
        write_config(config, one.url)
        async with service(config) as scheduling, anyio.create_task_group() as tasks:
            assert await scheduling.initialize()

            async def schedule() -> None:
                made.append(await scheduling.schedule_conversation("x", later(), WHERE))

            for number in range(50):
                if number == 25:
                    write_config(config, two.url)
                tasks.start_soon(schedule)
                await anyio.sleep(0.001)
    assert len([wanted for wanted in made if wanted]) == 50


async def test_no_key_is_logged(
    config: Path, caplog: pytest.LogCaptureFixture, scheduler: Process
) -> None:
    caplog.set_level(logging.DEBUG)
    write_config(config, scheduler.url)
    async with service(config) as scheduling:
        assert await scheduling.schedule_conversation("x", later(), WHERE)
        write_config(config, f"http://127.0.0.1:{free_port()}")
        assert await scheduling.schedule_conversation("x", later(), WHERE) is None
        assert API_KEY not in repr(scheduling.client()) + caplog.text
    assert "Bearer" not in caplog.text


def test_the_package_exports_its_names_and_no_others() -> None:
    for name in orchestrator.scheduler.__all__:
        assert getattr(orchestrator.scheduler, name).__name__ == name
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = orchestrator.scheduler.Nonsense
