"""The control client against a far end that answers well, badly, late or not at all."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.control.client import (
    ControlClient,
    Leaderless,
    Unresponsive,
    connect,
    living_shims,
)
from orchestrator.control.wire import to_wire
from tests.integration.control.far_end import far_end, silence, stream, text, value
from tests.stack import wait_until

STACK = {"schema": 1, "protocol": 1, "stack": "x", "services": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir(mode=0o700)
    return made


def test_the_stack_comes_as_it_was_sent(folder: Path) -> None:
    with far_end(folder, {"GET /v1/stack": value(STACK)}):
        assert ControlClient(folder).stack() == STACK


def test_a_path_far_longer_than_a_socket_address_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    with far_end(folder, {"GET /v1/stack": value(STACK)}):
        assert ControlClient(folder).stack() == STACK


def test_a_post_carries_its_body(folder: Path) -> None:
    with far_end(folder, {"POST /v1/stop": value({"services": []})}) as end:
        ControlClient(folder).post("/v1/stop", {"services": ["a"], "grace_s": None})
    assert end.asked[0].body == {"services": ["a"], "grace_s": None}


def test_an_error_is_raised_as_the_class_it_was(folder: Path) -> None:
    sent = errors.PortInUse("port 1 is taken", "web", 1, errors.PortOwner(812, "python3"))
    status, content = to_wire(sent)
    with (
        far_end(folder, {"POST /v1/start": value(content, status)}),
        pytest.raises(errors.PortInUse) as caught,
    ):
        ControlClient(folder).post("/v1/start", {"services": ["web"]})
    assert caught.value == sent


@pytest.mark.parametrize("made", [True, False])
def test_no_socket_means_that_nothing_runs(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "run"
    if made:
        folder.mkdir(mode=0o700)
    with pytest.raises(errors.NotRunning) as caught:
        ControlClient(folder).stack()
    assert "`orchestrator up`" in str(caught.value)


def test_a_stale_socket_means_that_nothing_runs(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "control.sock"))
    with pytest.raises(errors.NotRunning):
        ControlClient(folder).stack()


def test_shims_without_a_supervisor_are_named_with_the_ways_out(folder: Path) -> None:
    with far_end(folder / "web", {}, "shim.sock"), far_end(folder / "db", {}, "shim.sock"):
        assert living_shims(folder) == ["db", "web"]
        with pytest.raises(Leaderless) as caught:
            ControlClient(folder).stack()
    assert caught.value.exit_code == 4
    for word in ("db, web", "`orchestrator up`", "`orchestrator down`"):
        assert word in str(caught.value)


def test_a_supervisor_that_does_not_answer_is_named_with_its_pid(folder: Path) -> None:
    began = time.monotonic()
    with far_end(folder, {"GET /v1/stack": silence}), pytest.raises(Unresponsive) as caught:
        ControlClient(folder, timeout_s=0.2).stack()
    assert time.monotonic() - began < 3
    assert caught.value.exit_code == 4
    assert f"kill -9 {os.getpid()}" in str(caught.value)


def test_one_that_accepts_nothing_any_more_is_not_waited_for(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "control.sock"))
        server.listen(0)
        with connect(folder, "control.sock", 1.0), pytest.raises(Unresponsive):
            ControlClient(folder, timeout_s=0.2).stack()


def test_what_takes_long_is_waited_for_while_others_are_answered(folder: Path) -> None:
    done = threading.Event()

    def late(connection: socket.socket) -> None:
        done.wait(5)
        value({"services": []})(connection)

    with far_end(folder, {"POST /v1/stop": late, "GET /v1/stack": value(STACK)}) as end:
        answers: list[object] = []
        client = ControlClient(folder, timeout_s=0.05)
        asking = threading.Thread(target=lambda: answers.append(client.post("/v1/stop", {})))
        asking.start()
        wait_until(lambda: sum(one.line == "GET /v1/stack" for one in end.asked) >= 2)
        done.set()
        asking.join(5)
    assert answers == [{"services": []}]


def test_what_takes_long_is_given_up_when_nobody_is_answered_any_more(folder: Path) -> None:
    with (
        far_end(folder, {"POST /v1/stop": silence, "GET /v1/stack": silence}),
        pytest.raises(Unresponsive),
    ):
        ControlClient(folder, timeout_s=0.1).post("/v1/stop", {})


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1, 2]", b'{"cut": '])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_makes_no_sense_is_a_control_error(
    folder: Path, body: bytes, status: int
) -> None:
    with (
        far_end(folder, {"GET /v1/stack": text(body, status)}),
        pytest.raises(errors.ControlError) as caught,
    ):
        ControlClient(folder).stack()
    assert caught.value.exit_code == 4


def test_a_supervisor_that_ends_while_it_is_asked_is_a_control_error(folder: Path) -> None:
    with (
        far_end(folder, {"GET /v1/stack": lambda connection: connection.close()}),
        pytest.raises(errors.ControlError, match="broke off"),
    ):
        ControlClient(folder).stack()


def test_another_protocol_is_told_with_both_versions(folder: Path) -> None:
    with (
        far_end(folder, {"GET /v1/stack": value(STACK | {"protocol": 2})}),
        pytest.raises(errors.ProtocolMismatch) as caught,
    ):
        ControlClient(folder).stack()
    assert (caught.value.ours, caught.value.theirs) == (1, 2)


def test_a_folder_that_others_may_write_to_is_not_trusted(folder: Path) -> None:
    folder.chmod(0o777)
    with (
        far_end(folder, {"GET /v1/stack": value(STACK)}),
        pytest.raises(errors.ControlError, match="others may write"),
    ):
        ControlClient(folder).stack()


def test_messages_come_in_order_and_the_end_is_told(folder: Path) -> None:
    sent = [
        {"type": "snapshot", "services": []},
        {"type": "tick"},
        {"type": "warning", "text": "ü"},
    ]
    with (
        far_end(folder, {"GET /v1/events": stream(*sent)}),
        ControlClient(folder).events() as events,
    ):
        assert list(events) == sent
        assert events.ended
        assert events.next(0) is None


def test_no_message_in_time_is_none_and_no_end(folder: Path) -> None:
    hold = threading.Event()
    with (
        far_end(folder, {"GET /v1/events": stream({"type": "snapshot"}, hold=hold)}),
        ControlClient(folder).events() as events,
    ):
        assert events.next(5) == {"type": "snapshot"}
        assert events.next(0.02) is None
        assert not events.ended
        hold.set()
        assert events.next(5) is None
        assert events.ended


def test_leaving_a_stream_that_goes_on_does_not_wait_for_it(folder: Path) -> None:
    hold = threading.Event()
    before = threading.active_count()
    try:
        with far_end(folder, {"GET /v1/events": stream({"type": "snapshot"}, hold=hold)}):
            began = time.monotonic()
            with ControlClient(folder).events() as events:
                events.next(5)
            assert time.monotonic() - began < 1
            hold.set()
    finally:
        hold.set()
    wait_until(lambda: threading.active_count() == before)


def test_a_stream_of_nobody_is_refused_like_a_question(folder: Path) -> None:
    with pytest.raises(errors.NotRunning), ControlClient(folder).events():
        pass
