"""`SchedulerClient` against schedulers of every kind, and against servers with every fault."""

import gc
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from orchestrator.scheduler import (
    ConfigurationUnusable,
    NotDelivered,
    NotFound,
    Rejected,
    SchedulerClient,
    SchedulerError,
    ServerFailed,
    Status,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from tests.integration.scheduler.scripted import NOTHING, OK, Answer, Asked, Scripted, scripted
from tests.integration.scheduler.stage import (
    API_KEY,
    Process,
    Receiver,
    embedded,
    free_port,
    running,
)

pytestmark = pytest.mark.anyio
WHERE = "http://127.0.0.1:9/x"
NOBODY = "00000000-0000-0000-0000-000000000000"
EXECUTE = "/api/mcptools/execute"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["embedded", "dotnet", "dotnet with MCP"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, str]]:
    """Run one scheduler and tell how it speaks."""
    folder = tmp_path_factory.mktemp("server")
    if request.param == "embedded":
        process, speaks = embedded(folder), "standard MCP (2026-07-28)"
    else:
        dotnet = request.getfixturevalue("dotnet")
        has_mcp = request.param == "dotnet with MCP"
        more = {"Test__Mcp": "standard"} if has_mcp else {}
        process = dotnet.process(folder, **more)
        speaks = "standard MCP (2026-07-28)" if has_mcp else "the REST dialect"
    with running(process):
        yield process, speaks


@asynccontextmanager
async def speaking(
    url: str, api_key: str = API_KEY, **how: float
) -> AsyncIterator[SchedulerClient]:
    async with SchedulerClient(f"{url}/mcp", "tests", api_key, **how) as client:  # type: ignore[arg-type]
        yield client


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_it_finds_out_how_a_server_speaks_and_says_so(
    server: tuple[Process, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "orchestrator")
    async with speaking(server[0].url) as client:
        assert await client.check() == server[1]
        assert f"speaks {server[1]}" in caplog.text
        assert [tool.name for tool in await client.tools()] == [
            *("scheduleConversation", "getConversationStatus", "cancelConversation"),
        ]


async def test_the_whole_life_of_a_conversation(
    server: tuple[Process, str], receiver: Receiver
) -> None:
    async with speaking(server[0].url) as client:
        at = datetime.now(UTC) + timedelta(seconds=0.4)
        made = await client.schedule("hällo", at, receiver.url, "put", "why")
        assert await client.status(made) is Status.SCHEDULED
        whole = await client.conversation(made)
        assert (whole.id, whole.text, whole.status) == (made, "hällo", Status.SCHEDULED)
        assert abs(whole.scheduled_time - at) < timedelta(milliseconds=1)
        assert whole.scheduled_time.utcoffset() == timedelta(0)
        assert whole.created_at <= datetime.now(UTC)
        assert (whole.target.endpoint, whole.target.method) == (receiver.url, "put")
        assert whole.target.additional_info == "why"
        done = await client.wait_until_delivered(made, 5)
        assert done.status is Status.COMPLETED
        assert receiver.texts() == ["hällo"]
        assert await client.cancel(made) is False


async def test_what_is_cancelled_is_told_to_who_waits(server: tuple[Process, str]) -> None:
    async with speaking(server[0].url) as client:
        made = await client.schedule("x", later(), WHERE)
        assert await client.cancel(made) is True
        assert await client.status(made) is Status.CANCELLED
        with pytest.raises(NotDelivered) as error:
            await client.wait_until_delivered(made, 5)
        assert error.value.conversation.status is Status.CANCELLED


async def test_waiting_has_an_end(server: tuple[Process, str]) -> None:
    async with speaking(server[0].url) as client:
        made = await client.schedule("x", later(), WHERE)
        with pytest.raises(TimedOut):
            await client.wait_until_delivered(made, 0.2)


async def test_conversations_are_listed_in_pages_and_by_status(server: tuple[Process, str]) -> None:
    async with speaking(server[0].url) as client:
        made = [await client.schedule(str(n), later(), WHERE) for n in range(5)]
        page = await client.conversations(page=2, page_size=2)
        assert [one.id for one in page.conversations] == made[1:3][::-1]
        assert (page.number, page.size) == (2, 2)
        assert page.pages == -(-page.total // 2)
        await client.cancel(made[0])
        found = [one.id async for one in client.all_conversations(Status.CANCELLED)]
        assert found[0] == made[0]
        assert len([one async for one in client.all_conversations()]) == page.total


async def test_refusals_have_the_servers_words(server: tuple[Process, str]) -> None:
    async with speaking(server[0].url) as client:
        with pytest.raises(Rejected) as error:
            await client.schedule("x", "2020-01-01T00:00:00Z", WHERE)
        assert (
            error.value.words == "Scheduled time must be in the future (Parameter 'scheduledTime')"
        )
        with pytest.raises(Rejected, match="Conversation text is required"):
            await client.schedule("", later(), WHERE)
        with pytest.raises(Rejected, match="is no time"):
            await client.schedule("x", "tomorrow", WHERE)
        with pytest.raises(Rejected, match="Invalid conversation ID format"):
            await client.status("x")
        for ask in (client.status, client.conversation, client.wait_until_delivered):
            with pytest.raises(NotFound):
                await ask(NOBODY)
        with pytest.raises(Rejected):
            await client.conversation("x")
        assert await client.cancel(NOBODY) is False


async def test_wrong_credentials_are_named_and_not_shown(server: tuple[Process, str]) -> None:
    async with speaking(server[0].url, "a-wrong-key") as client:
        with pytest.raises(
            Unauthorized, match="refuses the credentials of client 'tests'"
        ) as error:
            await client.schedule("x", later(), WHERE)
        assert "a-wrong-key" not in str(error.value)


async def test_fifty_at_once_work(server: tuple[Process, str]) -> None:
    made: list[str] = []
    async with speaking(server[0].url) as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            wanted = await client.schedule(str(number), later(), WHERE)
            assert await client.status(wanted) is Status.SCHEDULED
            assert await client.cancel(wanted) is True
            made.append(wanted)

        for number in range(50):
            tasks.start_soon(one, number)
    assert len(set(made)) == 50


async def test_naive_times_are_local(server: tuple[Process, str]) -> None:
    naive = datetime.now() + timedelta(hours=1)
    async with speaking(server[0].url) as client:
        for at in (naive, naive.isoformat(), naive.astimezone()):
            made = await client.schedule("x", at, WHERE)
            whole = await client.conversation(made)
            assert whole.scheduled_time == naive.astimezone(UTC)


@pytest.mark.parametrize("option", [{}, {"Test__Mcp": "standard"}])
async def test_a_restarted_server_costs_calls_and_not_the_client(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, option: dict[str, str]
) -> None:
    def make(port: int) -> Process:
        if kind == "embedded":
            return embedded(tmp_path, port=port)
        process: Process = request.getfixturevalue("dotnet").process(tmp_path, port=port, **option)
        return process

    port = free_port()
    with running(make(port)) as process:
        async with speaking(process.url) as client:
            made = await client.schedule("x", later(), WHERE)
            for number in (9, 15):
                process.child.send_signal(number)
                await anyio.to_thread.run_sync(process.ends)
                with pytest.raises(Unreachable, match="cannot reach") as error:
                    await client.schedule("x", later(), WHERE)
                assert not error.value.may_have_happened
                process = make(port).start()
                try:
                    await anyio.to_thread.run_sync(process.listens)
                    assert await client.status(made) is Status.SCHEDULED
                    assert await client.schedule("x", later(), WHERE)
                finally:
                    if number == 15:
                        process.remove()


async def test_a_call_waits_out_a_short_restart(tmp_path: Path) -> None:
    port = free_port()
    async with speaking(f"http://localhost:{port}") as client, anyio.create_task_group() as tasks:
        process = embedded(tmp_path, port=port)
        try:

            async def start() -> None:
                await anyio.sleep(0.05)
                await anyio.to_thread.run_sync(process.start)

            tasks.start_soon(start)
            with anyio.fail_after(10):
                while True:
                    try:
                        assert await client.schedule("x", later(), WHERE)
                        break
                    except Unreachable:
                        continue
        finally:
            process.remove()


async def test_another_kind_of_server_at_the_same_address_is_found_out(
    tmp_path: Path, dotnet: object
) -> None:
    port = free_port()
    with running(embedded(tmp_path, port=port)) as process:
        async with speaking(f"http://127.0.0.1:{port}") as client:
            assert await client.check() == "standard MCP (2026-07-28)"
            assert process.stop() == 0
            other = dotnet.process(tmp_path, port=port)  # type: ignore[attr-defined]
            with running(other):
                made = await client.schedule("x", later(), WHERE)
                assert await client.check() == "the REST dialect"
                assert await client.status(made) is Status.SCHEDULED


# Faults, one at a time.


def token_counter() -> tuple[Callable[[Asked], Answer | None], list[str]]:
    given: list[str] = []

    def script(asked: Asked) -> Answer | None:
        if asked.path != "/api/auth/token":
            return None
        given.append(f"t{len(given) + 1}")
        return Answer(200, {"token": given[-1], "expiresIn": 7200})

    return script, given


async def test_fifty_callers_share_one_token() -> None:
    script, given = token_counter()
    with scripted(script) as server:
        async with speaking(server.url) as client, anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(client.schedule, "x", later(), WHERE)
    assert given == ["t1"]


async def test_a_token_refused_once_is_fetched_again_once() -> None:
    script, given = token_counter()

    def renewed(asked: Asked) -> Answer | None:
        if asked.path == EXECUTE and asked.headers["authorization"] != "Bearer t2":
            return Answer(401, b"")
        return script(asked)

    with scripted(renewed) as server:
        async with speaking(server.url) as client, anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(client.schedule, "x", later(), WHERE)
    assert given == ["t1", "t2"]


async def test_a_token_that_is_never_taken_is_unauthorized() -> None:
    script, given = token_counter()

    def refusing(asked: Asked) -> Answer | None:
        return Answer(401, b"") if asked.path != "/api/auth/token" else script(asked)

    with scripted(refusing) as server:
        async with speaking(server.url) as client:
            with pytest.raises(Unauthorized, match="refuses the token"):
                await client.schedule("x", later(), WHERE)
    assert given == ["t1", "t2"]


class WoundClock:
    """A clock that tests wind."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1e9)


async def test_a_token_is_kept_until_a_minute_before_its_end() -> None:
    script, given = token_counter()
    clock = WoundClock()
    with scripted(script) as server:
        async with SchedulerClient(f"{server.url}/mcp", "me", "k", clock=clock) as client:
            await client.schedule("x", later(), WHERE)
            clock.now += 7139
            await client.schedule("x", later(), WHERE)
            assert given == ["t1"]
            clock.now += 2
            await client.schedule("x", later(), WHERE)
            assert given == ["t1", "t2"]


def failing(path: str, *answers: Answer, tool: str = "") -> Callable[[Asked], Answer | None]:
    left = list(answers)

    def script(asked: Asked) -> Answer | None:
        if asked.path == path and tool.encode() in asked.body and left:
            return left.pop(0)
        if asked.path == EXECUTE and b"getConversationStatus" in asked.body:
            return Answer(200, {"result": "Completed"})
        return None

    return script


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_passing_failure_of_an_idempotent_call_is_repeated(status: int) -> None:
    script = failing(EXECUTE, Answer(status, b""), Answer(status, b""), tool="getConversation")
    with scripted(script) as server:
        async with speaking(server.url) as client:
            assert await client.status(NOBODY) is Status.COMPLETED
        assert server.count(EXECUTE) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(502, b""), ServerFailed),
        (Answer(503, b""), ServerFailed),
        (Answer(500, b""), ServerFailed),
        (Answer(drop=True), Unreachable),
    ],
    ids=["502", "503", "500", "dropped"],
)
async def test_a_scheduling_call_that_may_have_arrived_is_not_sent_twice(
    answer: Answer, error: type[SchedulerError]
) -> None:
    with scripted(failing(EXECUTE, answer)) as server:
        async with speaking(server.url) as client:
            with pytest.raises(error) as caught:
                await client.schedule("x", later(), WHERE)
            assert caught.value.may_have_happened
            assert server.count(EXECUTE) == 1
            assert await client.schedule("x", later(), WHERE)


async def test_repeating_has_an_end() -> None:
    script = failing(EXECUTE, *[Answer(503, b"")] * 100)
    with scripted(script) as server:
        async with speaking(server.url) as client:
            with pytest.raises(ServerFailed, match="503"):
                await client.status(NOBODY)
        assert server.count(EXECUTE) == 4


@pytest.mark.parametrize("path", ["/api/auth/token", "/mcp", EXECUTE])
async def test_a_server_that_never_answers_times_out(path: str) -> None:
    with scripted(lambda _: None) as server:
        async with speaking(server.url, timeout_s=1.0) as client:
            hanging = Hanging(server, path)
            server.script = hanging
            started = time.monotonic()
            with pytest.raises(TimedOut, match="no answer"):
                await client.schedule("x", later(), WHERE)
            assert time.monotonic() - started < 3
            hanging.path = ""
            assert await client.schedule("x", later(), WHERE)


class Hanging:
    """A script that does not answer one path."""

    def __init__(self, server: Scripted, path: str) -> None:
        self.path = path

    def __call__(self, asked: Asked) -> Answer | None:
        deadline = time.monotonic() + 3
        while asked.path == self.path and time.monotonic() < deadline:
            time.sleep(0.01)
        return None


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>"),
        Answer(200, []),
        Answer(200, {"other": 1}),
        Answer(200, b"\xff\xfe"),
        Answer(200, b"[" * 100_000),
        Answer(204, b""),
    ],
    ids=["html", "list", "other", "bytes", "deep", "empty"],
)
async def test_what_no_scheduler_says_is_named(answer: Answer) -> None:
    with scripted(failing(EXECUTE, answer)) as server:
        async with speaking(server.url) as client:
            with pytest.raises(ServerFailed, match="does not answer as a scheduler"):
                await client.schedule("x", later(), WHERE)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"x"),
        Answer(200, {}),
        Answer(200, []),
        Answer(200, {"token": 1, "expiresIn": "x"}),
    ],
)
async def test_a_strange_login_is_named(answer: Answer) -> None:
    with scripted(failing("/api/auth/token", answer)) as server:
        async with speaking(server.url) as client:
            with pytest.raises(ServerFailed, match="login"):
                await client.schedule("x", later(), WHERE)


async def test_an_unknown_status_is_named() -> None:
    script = failing(EXECUTE, Answer(200, {"result": "Lost"}))
    with scripted(script) as server:
        async with speaking(server.url) as client:
            with pytest.raises(ServerFailed, match="'Lost'"):
                await client.status(NOBODY)


async def test_the_old_door_is_the_second_choice() -> None:
    def script(asked: Asked) -> Answer | None:
        if asked.path == EXECUTE:
            return NOTHING
        if asked.path == "/mcp/execute":
            wanted = asked.json()
            assert set(wanted) == {"toolId", "toolParameters"}
            return Answer(200, {"toolId": wanted["toolId"], "toolResult": "7"})
        return None

    with scripted(script) as server:
        async with speaking(server.url) as client:
            for _ in range(2):
                assert await client.schedule("x", later(), WHERE) == "7"
        assert server.count(EXECUTE) == 1


@pytest.mark.parametrize("url", ["http://a b/mcp", "http://x:99999999/"])
async def test_an_address_that_is_none_is_unreachable(url: str) -> None:
    async with SchedulerClient(url, "me", "k", timeout_s=2) as client:
        with pytest.raises(Unreachable, match="cannot reach"):
            await client.check()


@pytest.mark.parametrize("url", ["", "x", "ftp://x/mcp", "http://", "http://[::1/mcp"])
def test_what_is_no_url_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigurationUnusable, match="is no http URL"):
        SchedulerClient(url, "me", "k")


async def test_an_answer_that_cannot_be_decoded_is_named() -> None:
    broken = Answer(200, b"not gzip", {"Content-Encoding": "gzip"})
    with scripted(failing(EXECUTE, broken)) as server:
        async with speaking(server.url) as client:
            with pytest.raises(ServerFailed, match="cannot be read"):
                await client.schedule("x", later(), WHERE)


async def test_a_server_without_any_door_is_named() -> None:
    script = failing(EXECUTE, *[NOTHING] * 9)
    with scripted(script) as server:
        async with speaking(server.url) as client:
            with pytest.raises(ServerFailed, match="there is no scheduler"):
                await client.schedule("x", later(), WHERE)


async def test_problem_documents_become_words() -> None:
    problem = {"title": "One or more errors", "errors": {"Name": ["is required", "is short"]}}
    script = failing(EXECUTE, Answer(400, problem), Answer(400, {"title": "Bad"}), Answer(418, b""))
    with scripted(script) as server:
        async with speaking(server.url) as client:
            for words in ("Name: is required is short", "Bad", "HTTP 418"):
                with pytest.raises(Rejected, match=re.escape(words)):
                    await client.schedule("x", later(), WHERE)


# The connections of a loop that ended can only be closed by the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_client_outlives_its_event_loop(scheduler: Process) -> None:
    client = SchedulerClient(f"{scheduler.url}/mcp", "tests", API_KEY)

    async def ask() -> int:
        return (await client.conversations()).total

    for _ in range(3):
        # As a script does with several asyncio.run calls.
        assert await anyio.to_thread.run_sync(lambda: anyio.run(ask)) == 0
    assert await ask() == 0
    await client.aclose()
    await client.aclose()
    gc.collect()


async def test_a_cancelled_call_harms_no_other(scheduler: Process) -> None:
    async with speaking(scheduler.url) as client:
        assert await client.check()
        for delay in (0, 0.0005, 0.001, 0.002, 0.004):
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(client.schedule, "x", later(), WHERE)
                await anyio.sleep(delay)
                tasks.cancel_scope.cancel()
            assert (await client.conversations()).total >= 0
        made = await client.schedule("x", later(), WHERE)
        assert await client.status(made) is Status.SCHEDULED


async def test_the_answers_of_a_dialect_are_taken_as_results(tmp_path: Path) -> None:
    with scripted(lambda _: None) as server:
        async with speaking(server.url) as client:
            assert await client.schedule("x", later(), WHERE) == OK.body["result"]
            body = next(asked.json() for asked in server.asked if asked.path == EXECUTE)
            assert re.fullmatch(r".*Z", body["arguments"]["scheduledTime"])
            assert "additionalInfo" not in body["arguments"]
