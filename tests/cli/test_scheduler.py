"""`orchestrator scheduler …`: against the embedded scheduler, the .NET one, and worse servers."""

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.scheduler import COMMANDS
from tests.cli.conftest import HANG, Make
from tests.cli.test_program import modules_loaded_by
from tests.dotnet import QUIET_DOTNET, Found, found_dotnet
from tests.integration.scheduler.scripted import Answer, Asked, scripted
from tests.integration.scheduler.stage import (
    API_KEY,
    ENVIRONMENT,
    LISTENING,
    Process,
    Receiver,
    caller,
    embedded,
    free_port,
    receiving,
    running,
    soon,
    write_config,
)
from tests.stack import Ran, Stack, wait_until

NOBODY = "00000000-0000-0000-0000-000000000000"
TOOLS = ["scheduleConversation", "getConversationStatus", "cancelConversation"]
STEPS = ["config", "connect", "authenticate", "tools", "schedule", "deliver", "cancel"]
TOKEN = re.compile(r"\beyJ[\w-]{10,}\.")
ASKING = {
    "tools": [],
    "auth": [],
    "check": [],
    "schedule": ["hello", "--in", "1h", "--endpoint", "http://127.0.0.1:9/x"],
    "show": [NOBODY],
    "cancel": [NOBODY],
    "list": [],
}


@pytest.fixture(scope="module")
def dotnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """The .NET scheduler, or skip."""
    with found_dotnet(tmp_path_factory.mktemp("dotnet")) as found:
        yield found


def dotnet_server(found: Found, folder: Path, **environ: str) -> Process:
    """Return a .NET scheduler with its data in a folder."""
    known = {**ENVIRONMENT, **QUIET_DOTNET, "Store__Path": str(folder / "store.json"), **environ}
    command = [found.host, str(found.dll), "--urls", "http://127.0.0.1:0"]
    return Process(command, folder / "log", known, cwd=found.dll.parent)


@pytest.fixture(scope="module", params=["embedded", "dotnet"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A real scheduler."""
    folder = tmp_path_factory.mktemp("server")
    process = embedded(folder)
    if request.param == "dotnet":
        process = dotnet_server(request.getfixturevalue("dotnet"), folder)
    with running(process):
        yield process


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The embedded scheduler, where it makes no difference which one it is."""
    with running(embedded(tmp_path_factory.mktemp("ours"))) as process:
        yield process


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of deliveries that answers 200."""
    with receiving() as made:
        yield made


def knows(one: Stack, url: str, api_key: str = API_KEY, path: str = "config/config.json") -> Stack:
    """Publish a scheduler in a project's config.json."""
    (one.folder / path).parent.mkdir(exist_ok=True)
    write_config(one.folder / path, url, api_key)
    return one


def scheduler(one: Stack, *words: object, code: int = 0, **environ: Any) -> Ran:
    """Run a command of `scheduler`, which must end with ``code`` and tell no secret."""
    ran = one.run("scheduler", *words, **environ)
    assert ran.code == code, ran
    assert "Traceback" not in ran.err
    for text in (ran.out, ran.err):
        assert API_KEY not in text
        assert not TOKEN.search(text)
    return ran


def told(one: Stack, *words: object, code: int = 0, **environ: Any) -> dict[str, Any]:
    """Run a command with --json and return its one document."""
    ran = scheduler(one, *words, "--json", code=code, **environ)
    assert ran.out.count("\n") == 1, ran
    document: dict[str, Any] = json.loads(ran.out)
    assert document["schema"] == 1
    return document


def made(one: Stack, *words: object, **environ: Any) -> str:
    """Schedule something and return its id."""
    ran = scheduler(one, "schedule", *words, **environ)
    assert re.fullmatch(r"[0-9a-f-]{36}\n", ran.out)
    return ran.out.strip()


# What works, with every kind of scheduler.


def test_tools_tells_how_the_server_speaks_and_what_it_offers(one: Stack, server: Process) -> None:
    knows(one, server.url)
    out = scheduler(one, "tools").out
    assert out.startswith(f"{server.url}/mcp speaks ")
    assert re.findall(r"^(\w+)  ", out, re.MULTILINE) == TOOLS
    document = told(one, "tools")
    assert [tool["name"] for tool in document["tools"]] == TOOLS
    assert document["tools"][0]["input_schema"]["type"] == "object"
    assert document["missing"] == []
    is_dotnet = "--urls" in server.command
    assert document["speaks"].startswith("the REST dialect" if is_dotnet else "standard MCP (2026")


def test_auth_tells_that_the_credentials_are_taken(one: Stack, server: Process) -> None:
    knows(one, server.url)
    out = scheduler(one, "auth").out
    assert out == f"{server.url}/mcp takes client 'tests': a token for 2h\n"
    document = told(one, "auth", "--client-id", "somebody")
    assert document["accepted"] is True
    assert document["token_life_s"] == 7200
    assert document["client_id"] == document["token_client_id"] == "somebody"


def test_auth_tells_what_the_server_says_to_a_wrong_key(one: Stack, server: Process) -> None:
    knows(one, server.url, "a-wrong-key")
    ran = scheduler(one, "auth", "--json", code=1)
    assert "answers 401 to client 'tests': Unauthorized; the key must be" in ran.err
    assert "a-wrong-key" not in ran.out + ran.err
    assert json.loads(ran.out)["error"]["kind"] == "scheduler"


def test_a_key_of_the_command_line_wins_over_the_environment_and_that_over_the_file(
    one: Stack, ours: Process
) -> None:
    knows(one, ours.url, "a-wrong-key")
    scheduler(one, "auth", "--api-key", API_KEY, SCHEDULER_API_KEY="another-wrong-key")
    scheduler(one, "auth", SCHEDULER_API_KEY=API_KEY)
    assert scheduler(one, "auth", "--api-key", "", code=1, SCHEDULER_API_KEY=API_KEY).out == ""


def test_check_goes_through_the_whole_integration(one: Stack, server: Process) -> None:
    knows(one, server.url)
    out = scheduler(one, "check").out
    assert re.findall(r"^✓ (\w+) +\d+ ms  \S", out, re.MULTILINE) == STEPS
    document = told(one, "check")
    assert document["ok"] is True
    assert [step["name"] for step in document["steps"]] == STEPS
    assert {step["result"] for step in document["steps"]} == {"passed"}
    assert 0.5 < document["steps"][5]["duration_s"] < 5
    left = told(one, "list", "--status", "scheduled")
    assert [item for item in left["conversations"] if "check" in item["text"]] == []


def test_check_speaks_standard_mcp_with_the_dotnet_service_too(
    one: Stack, dotnet: Found, tmp_path: Path
) -> None:
    with running(dotnet_server(dotnet, tmp_path, Test__Mcp="standard")) as process:
        out = scheduler(knows(one, process.url), "check").out
        assert "standard MCP (2026-07-28)" in out


def test_what_is_scheduled_arrives_and_is_shown(
    one: Stack, server: Process, receiver: Receiver
) -> None:
    knows(one, server.url)
    text = '{"say": "grüße\\n"}'
    words = (text, "--in", "1s", "--endpoint", receiver.url, "--method", "PUT", "--info", "why")
    wanted = made(one, *words)
    wait_until(lambda: receiver.texts() == [text])
    assert receiver.deliveries[0].method == "PUT"
    wait_until(lambda: told(one, "show", wanted)["conversation"]["status"] == "Completed")
    shown = told(one, "show", wanted)["conversation"]
    assert (shown["id"], shown["text"], shown["method"]) == (wanted, text, "PUT")
    assert shown["endpoint"] == receiver.url
    assert shown["additional_info"] == "why"
    rows = dict(line.split(maxsplit=1) for line in scheduler(one, "show", wanted).out.splitlines())
    assert rows["status"] == "Completed"
    assert rows["to"] == f"PUT {receiver.url}"


def test_a_time_without_a_zone_is_local(one: Stack, server: Process) -> None:
    knows(one, server.url)
    words = ("hello", "--at", "2031-01-31T09:30", "--endpoint", "http://127.0.0.1:9/x")
    ran = scheduler(one, "schedule", *words, TZ="America/New_York")
    assert "will be sent at 2031-01-31 09:30:00-05:00 to http://127.0.0.1:9/x" in ran.err
    shown = told(one, "show", ran.out.strip())["conversation"]
    assert shown["scheduled_time"] == "2031-01-31T14:30:00.000Z"
    words = ("hello", "--at", "2031-01-31T09:30+02:00", *words[3:])
    document = told(one, "schedule", *words, TZ="America/New_York")
    assert document["scheduled_time"] == "2031-01-31T07:30:00.000Z"
    row = scheduler(one, "list", "--page-size", 1, TZ="Asia/Tokyo").out.splitlines()[1]
    assert "2031-01-31 16:30:00+09:00" in row


def test_in_counts_from_now(one: Stack, server: Process) -> None:
    knows(one, server.url)
    before = datetime.now(UTC)
    document = told(one, *_schedule("--in", "1m30s"))
    due = datetime.fromisoformat(document["scheduled_time"])
    assert timedelta(seconds=90) <= due - before < timedelta(seconds=110)


def test_a_conversation_can_be_cancelled_once(one: Stack, server: Process) -> None:
    knows(one, server.url)
    with caller(server.url) as known:
        wanted, other = (known.schedule("x", soon(3600), "http://127.0.0.1:9/x") for _ in "ab")
    ran = scheduler(one, "cancel", wanted)
    assert (ran.out, ran.err) == ("", f"cancelled {wanted}\n")
    assert f"too late: {wanted} is Cancelled" in scheduler(one, "cancel", wanted, code=1).err
    assert told(one, "cancel", other)["cancelled"] is True


@pytest.mark.parametrize("name", ["show", "cancel"])
def test_an_unknown_conversation_has_an_exit_code_of_its_own(
    one: Stack, server: Process, name: str
) -> None:
    knows(one, server.url)
    assert f"knows no conversation {NOBODY}" in scheduler(one, name, NOBODY, code=4).err
    error = told(one, name, "not-an-id", code=1)["error"]
    assert error["kind"] == "scheduler"


def test_a_list_is_filtered_and_paged(one: Stack, server: Process) -> None:
    knows(one, server.url)
    with caller(server.url) as known:
        mine = [known.schedule("x", soon(3600), "http://127.0.0.1:9/x") for _ in range(3)]
        for wanted in mine:
            known.tool("cancelConversation", conversationId=wanted)
    document = told(one, "list", "--status", "CANCELLED", "--page", 2, "--page-size", 1)
    assert (document["page"], document["page_size"]) == (2, 1)
    assert document["total"] == document["pages"] >= 3
    assert document["conversations"][0]["id"] == mine[1]
    ran = scheduler(one, "list", "--status", "Cancelled", "--page-size", 2)
    lines = ran.out.splitlines()
    assert lines[0].split() == ["ID", "STATUS", "SCHEDULED", "TO", "TEXT"]
    assert [line.split()[0] for line in lines[1:]] == [mine[2], mine[1]]
    assert re.search(r"page 1 of \d+, \d+ in all", ran.err)


def test_a_time_that_is_past_is_refused_in_the_servers_words(one: Stack, server: Process) -> None:
    knows(one, server.url)
    ran = scheduler(one, *_schedule("--at", "2001-01-01"), code=1)
    assert "the scheduler refuses: Scheduled time must be in the future" in ran.err


# What is refused before anybody is asked.


def _schedule(*when: str) -> list[str]:
    return ["schedule", "hello", *when, "--endpoint", "http://127.0.0.1:9/x"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (_schedule("--at", "tomorrow"), "2031-01-31T09:30"),
        (_schedule("--at", "2031-13-01"), "no time"),
        (_schedule("--in", "soon"), "10s"),
        (_schedule(), "either --at or --in"),
        (_schedule("--in", "1s", "--at", "2031-01-01"), "either --at or --in"),
        (["schedule", "hello", "--in", "1s"], "--endpoint"),
        (["schedule", "hello", "--in", "1s", "--endpoint", "localhost:9"], "no http"),
        (["list", "--status", "Done"], "'inprogress'"),
        (["list", "--page", "0"], "--page"),
        (["tools", "--url", "ftp://somewhere"], "no http URL"),
        (["fly"], "fly"),
    ],
)
def test_wrong_words_are_a_usage_error(one: Stack, words: list[str], hint: str) -> None:
    assert hint in scheduler(one, *words, code=2).err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_short_help(one: Stack, name: str) -> None:
    out = one.run("scheduler", name, "--help").out
    assert f"orchestrator scheduler {name}" in out
    assert len(out.splitlines()) <= 40
    assert max(map(len, out.splitlines())) <= 100


def test_other_commands_load_nothing_of_it(one: Stack) -> None:
    for words in (["--help"], ["ps"], ["scheduler", "--help"], ["scheduler", "check", "--help"]):
        loaded = modules_loaded_by(one, *words)
        assert not {"httpx2", "mcp", "anyio", "uvicorn", "h11"} & loaded, words
        if words[0] != "scheduler":
            assert "orchestrator.scheduler" not in loaded


def test_a_shell_completes_the_commands(one: Stack) -> None:
    line = "orchestrator scheduler sch"
    out = one.run(_ORCHESTRATOR_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD="2").out
    assert out.split() == ["plain,schedule"]


# Where the scheduler is.


@pytest.mark.parametrize("name", ASKING)
def test_without_config_json_it_is_said_what_writes_it(one: Stack, name: str) -> None:
    ran = scheduler(one, name, *ASKING[name], code=6)
    assert "config/config.json" in ran.err + ran.out
    assert "`orchestrator up` writes" in ran.err + ran.out


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "cannot read"),
        ("[]", "no server 'Scheduler'"),
        ('{"mcp": {"mcp_servers": [{"name": "Other"}]}}', "no server 'Scheduler' in"),
        ('{"mcp": {"mcp_servers": [{"name": "Scheduler"}]}}', "no http URL"),
    ],
)
def test_a_config_json_without_a_usable_entry_is_told(one: Stack, content: str, why: str) -> None:
    (one.folder / "config").mkdir()
    (one.folder / "config/config.json").write_text(content)
    assert why in scheduler(one, "tools", code=6).err
    steps = told(one, "check", code=6)["steps"]
    assert steps[0]["result"] == "failed"
    assert "orchestrator up" in steps[0]["fix"]
    assert {step["result"] for step in steps[1:]} == {"not tried"}


def test_config_json_is_found_as_the_stack_is_found(make: Make, ours: Process) -> None:
    one = make({"a": {"command": HANG}}, config={"path": "elsewhere/known.json"})
    knows(one, ours.url, path="elsewhere/known.json")
    scheduler(one, "auth")
    for words in (["-f", one.file], ["-C", one.folder]):
        assert one.run(*words, "scheduler", "auth").code == 0
    below = one.folder / "some/where"
    below.mkdir(parents=True)
    assert one.run("-C", below, "scheduler", "auth").code == 0
    assert one.run("-f", one.folder / "no.yaml", "scheduler", "auth").code == 6


def test_a_running_stack_knows_its_config_json_whatever_the_file_says_now(
    make: Make, ours: Process
) -> None:
    one = make({"a": {"command": HANG}}, config={"path": "known.json"})
    knows(one, ours.url, path="known.json")
    one.up()
    one.file.write_text("services: [")
    scheduler(one, "auth")
    one.down()
    assert "services.yaml:2" in scheduler(one, "auth", code=6).err
    assert "orchestrator config -q" in scheduler(one, "check", code=6).out


def test_without_a_stack_config_json_of_this_folder_is_meant(one: Stack, ours: Process) -> None:
    one.file.unlink()
    knows(one, ours.url)
    scheduler(one, "auth")
    assert "no server 'Other'" in scheduler(one, "auth", "--server", "Other", code=6).err


def test_another_url_takes_its_key_from_the_environment_alone(one: Stack, ours: Process) -> None:
    knows(one, ours.url)
    url = f"{ours.url}/mcp"
    assert "set SCHEDULER_API_KEY" in scheduler(one, "tools", "--url", url, code=6).err
    assert told(one, "tools", "--url", url, SCHEDULER_API_KEY=API_KEY)["url"] == url


# Servers that are down, foreign, or bad.


@pytest.mark.parametrize("name", ASKING)
def test_a_server_that_is_down_has_an_exit_code_of_its_own(one: Stack, name: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    knows(one, url)
    ran = scheduler(one, name, *ASKING[name], code=4)
    assert f"cannot reach {url}" in ran.err + ran.out
    assert "`orchestrator up` starts it" in ran.err + ran.out
    document = told(one, name, *ASKING[name], code=4)
    assert document.get("ok") is False or document["error"]["kind"] == "scheduler-unreachable"


def test_check_stops_at_a_wrong_key_and_names_the_fix(one: Stack, ours: Process) -> None:
    knows(one, ours.url, "a-wrong-key")
    out = scheduler(one, "check", code=1).out
    assert re.search(r"^✗ authenticate +\d+ ms  /api/auth/token answers 401", out, re.MULTILINE)
    assert "the key must be the scheduler's own" in out
    assert re.findall(r"^· (\w+) +not tried$", out, re.MULTILINE) == STEPS[3:]


def test_a_server_without_the_tools_is_no_scheduler(one: Stack) -> None:
    def foreign(asked: Asked) -> Answer | None:
        fly = {"name": "fly", "description": "\x1b[31mup", "inputSchema": {"type": "object"}}
        return Answer(200, {"tools": [fly]}) if asked.path == "/api/mcptools/tools" else None

    with scripted(foreign) as server:
        knows(one, server.url)
        ran = scheduler(one, "tools", code=1)
        assert ran.out.splitlines()[1] == "fly  up"
        assert f"this is no scheduler: it has no {', '.join(TOOLS)}" in ran.err
        assert told(one, "tools", code=1)["missing"] == TOOLS
        out = scheduler(one, "check", code=1).out
        assert "✗ tools" in out
        assert "this is another server; choose with --server" in out


def test_a_server_without_a_login_is_no_scheduler_either(one: Stack) -> None:
    with scripted(lambda asked: Answer(404, b"")) as server:
        knows(one, server.url)
        assert "this is no scheduler's address" in scheduler(one, "auth", code=1).err
        assert "answers 404" in scheduler(one, "tools", code=1).err
        assert "✗ authenticate" in scheduler(one, "check", code=1).out


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (Answer(500, b""), "its database may be gone"),
        (Answer(400, {"error": "Scheduled time must be in the future"}), "TZ=UTC"),
    ],
)
def test_check_names_the_fix_for_what_a_scheduler_is_known_for(
    one: Stack, answer: Answer, fix: str
) -> None:
    with scripted(_dialect({"scheduleConversation": answer})) as server:
        knows(one, server.url)
        assert fix in scheduler(one, "check", code=1).out


def test_a_delivery_that_does_not_come_is_told_and_what_was_scheduled_is_cancelled(
    one: Stack,
) -> None:
    answers = {
        "getConversationStatus": Answer(200, {"result": "Scheduled"}),
        "cancelConversation": Answer(200, {"result": "true"}),
    }
    with scripted(_dialect(answers)) as server:
        knows(one, server.url)
        out = scheduler(one, "check", "--timeout", "200ms", code=1).out
        assert re.search(r"✗ deliver +\d+ ms  it is Scheduled 200ms later", out)
        assert "it must reach 127.0.0.1 of this machine" in out
        assert _called(server.asked, "cancelConversation") == 1


def test_a_delivery_that_is_told_and_did_not_come_is_a_failure(one: Stack) -> None:
    answers = {"getConversationStatus": Answer(200, {"result": "Completed"})}
    with scripted(_dialect(answers)) as server:
        knows(one, server.url)
        out = scheduler(one, "check", code=1).out
        assert "it is told as Completed, and did not arrive here" in out


def test_a_call_that_may_have_been_made_says_so(one: Stack) -> None:
    with scripted(_dialect({"scheduleConversation": Answer(drop=True)})) as server:
        knows(one, server.url)
        ran = scheduler(one, *_schedule("--in", "1h"), code=4)
        assert "it may have been done all the same: `orchestrator scheduler list`" in ran.err
        assert _called(server.asked, "scheduleConversation") == 1


def test_a_server_that_says_too_much_is_cut_short(one: Stack) -> None:
    with scripted(lambda asked: Answer(400, {"error": "no " * 100_000})) as server:
        knows(one, server.url)
        assert len(scheduler(one, "auth", code=1).err) < 1000


def test_a_server_that_repeats_the_key_is_not_repeated(one: Stack) -> None:
    def echo(asked: Asked) -> Answer | None:
        said = {"error": f"no \x1b[2J{API_KEY} or {asked.headers.get('authorization')}"}
        return Answer(401 if "auth" in asked.path else 400, said)

    with scripted(echo) as server:
        knows(one, server.url)
        assert "no •••• or" in scheduler(one, "auth", code=1).err
        assert "••••" in scheduler(one, "check", code=1).out
        assert "••••" in told(one, "auth", code=1)["error"]["message"]


def test_not_even_a_verbose_command_tells_a_secret(one: Stack, ours: Process) -> None:
    url = ours.url.replace("://", "://user:the-password@")
    knows(one, url)
    for name, words in ASKING.items():
        ran = one.run("-v", "scheduler", name, *words)
        for secret in (API_KEY, "the-password"):
            assert secret not in ran.out + ran.err, name
        assert not TOKEN.search(ran.out + ran.err), name


def test_the_headers_and_the_password_of_a_conversation_are_not_told(
    one: Stack, ours: Process
) -> None:
    knows(one, ours.url)
    endpoint = "http://me:pass-word@127.0.0.1:9/x"
    wanted = made(one, "hello", "--in", "1h", "--endpoint", endpoint)
    for words in (["show", wanted], ["list"], ["show", wanted, "--json"], ["list", "--json"]):
        out = scheduler(one, *words).out
        assert "http://••••@127.0.0.1:9/x" in out
        assert "pass-word" not in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_check_that_is_interrupted_ends_without_noise(one: Stack, number: int, code: int) -> None:
    answers = {"getConversationStatus": Answer(200, {"result": "Scheduled"})}
    with scripted(_dialect(answers)) as server:
        knows(one, server.url)
        started = one.start("scheduler", "check", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with contextlib.ExitStack() as block:
            for stream in (started.stdout, started.stderr):
                assert stream is not None
                block.enter_context(stream)
            wait_until(lambda: _called(server.asked, "getConversationStatus"), 10)
            started.send_signal(number)
            assert started.wait(10) == code
            assert started.stderr is not None
            assert b"Traceback" not in started.stderr.read()
        assert _called(server.asked, "cancelConversation") == 1


def _dialect(answers: dict[str, Answer]) -> Any:
    """Return the script of a scheduler that answers some calls as it is told."""

    def script(asked: Asked) -> Answer | None:
        if asked.path == "/api/mcptools/tools":
            tools = [{"name": name, "description": "", "inputSchema": {}} for name in TOOLS]
            return Answer(200, {"tools": tools})
        if asked.path == "/api/mcptools/execute":
            return answers.get(asked.json()["name"])
        return None

    return script


def _called(asked: list[Asked], tool: str) -> int:
    calls = [one.json() for one in asked if one.path == "/api/mcptools/execute"]
    return sum(1 for call in calls if call["name"] == tool)


# The embedded scheduler in the foreground.


def serve(one: Stack, folder: Path, *words: str, **environ: Any) -> Process:
    """Return `scheduler serve` with its data in a folder."""
    command = [*one.command("scheduler", "serve", "--data", folder / "data.sqlite"), *words]
    known = {**one.environ, **ENVIRONMENT, **environ}
    return Process(command, folder / "serve.log", known, one.folder, LISTENING)


def test_serve_runs_the_embedded_scheduler_until_it_is_told_to_stop(
    one: Stack, tmp_path: Path
) -> None:
    with running(serve(one, tmp_path, "--port", "0", "--attempts", "2")) as process:
        knows(one, process.url)
        scheduler(one, "check")
        assert process.stop() == 0
        assert "Traceback" not in process.log()
        assert process.log().endswith("stopped\n")


def test_serve_keeps_a_key_that_nobody_gave(one: Stack, tmp_path: Path) -> None:
    with running(serve(one, tmp_path, "--port", "0", Auth__ApiKey="")) as process:
        keys = (tmp_path / "data.sqlite.keys").read_text()
        key = re.findall(r"^Auth__ApiKey=(.+)$", keys, re.MULTILINE)[0]
        url = f"{process.url}/mcp"
        assert told(one, "auth", "--url", url, SCHEDULER_API_KEY=key)["accepted"] is True
        assert key not in process.log()


def test_serve_has_the_exit_codes_of_the_server(one: Stack, tmp_path: Path, ours: Process) -> None:
    taken = serve(one, tmp_path, "--port", str(ours.port)).start()
    assert taken.ends(10) == 8
    assert f"{ours.port}" in taken.log()
    open_to_all = serve(one, tmp_path, "--port", "0", "--host", "0.0.0.0", Auth__ApiKey="").start()
    assert open_to_all.ends(10) == 78
    assert "Auth__ApiKey" in open_to_all.log()
    for words in (["--port", "70000"], ["--attempts", "0"], ["--delivery-timeout", "0"], ["fly"]):
        assert one.run("scheduler", "serve", *words).code == 2
