"""Deliveries of the embedded scheduler under retries, bursts, kills and a broken store."""

import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.integration.scheduler.stage import (
    Caller,
    Process,
    Receiver,
    caller,
    embedded,
    free_port,
    receiving,
    running,
    soon,
    wait_until,
)

KILL_ROUNDS = 10


def fill(data: Path, endpoint: str, count: int, due_s: float) -> None:
    """Put many conversations into a store at rest: over the wire it would take a minute."""
    due = int((time.time() + due_s) * 1e7)
    rows = [
        (f"00000000-0000-0000-0000-{n:012}", str(n), due, due, due, due, "t", endpoint)
        for n in range(count)
    ]
    with sqlite3.connect(data) as connection:
        connection.executemany(
            "INSERT INTO conversation (id, text, status, scheduled, created, updated, due,"
            " target_id, endpoint, method) VALUES (?,?,0,?,?,?,?,?,?,'POST')",
            rows,
        )
    connection.close()


def empty_store(folder: Path) -> Path:
    """Make a store by starting a scheduler once."""
    with running(embedded(folder)) as process:
        assert process.stop() == 0
    return folder / "scheduler.sqlite"


def test_a_refusal_is_tried_again_as_often_as_told(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    options = ("--attempts", "3", "--first-wait", "0.05")
    with running(embedded(tmp_path, *options)) as process, caller(process.url) as asked:
        made = asked.schedule("x", soon(), receiver.url)
        asked.becomes(made, "Completed")
        assert [d.id for d in receiver.deliveries] == [made] * 3
        receiver.status = 500
        other = asked.schedule("y", soon(), receiver.url)
        asked.becomes(other, "Failed")
        assert receiver.texts() == ["x"] * 3 + ["y"] * 3


def test_a_retry_outlives_a_kill(tmp_path: Path, receiver: Receiver) -> None:
    options = ("--attempts", "2", "--first-wait", "1")
    receiver.answers = [500]
    with running(embedded(tmp_path, *options)) as process, caller(process.url) as asked:
        made = asked.schedule("x", soon(), receiver.url)
        wait_until(lambda: "again in" in process.log())
        process.child.kill()
        process.ends()
    with running(embedded(tmp_path, *options)) as process, caller(process.url) as asked:
        assert asked.status(made) == "InProgress"
        asked.becomes(made, "Completed")
        assert receiver.texts() == ["x", "x"]


def test_a_receiver_that_does_not_answer_fails_in_time(tmp_path: Path, receiver: Receiver) -> None:
    receiver.may_answer.clear()
    with running(embedded(tmp_path, "--delivery-timeout", "0.3")) as process:
        with caller(process.url) as asked:
            asked.becomes(asked.schedule("x", soon(), receiver.url), "Failed")
        assert "no answer within 0.3 s" in process.log()


def test_deliveries_are_bounded_and_a_slow_receiver_holds_up_no_other(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    with (
        running(embedded(tmp_path, "--concurrency", "8")) as process,
        caller(process.url) as asked,
        receiving() as quick,
    ):
        at = soon(0.5)
        for number in range(7):
            asked.schedule(f"slow {number}", at, receiver.url)
        wait_until(lambda: len(receiver.deliveries) == 7)
        for _ in range(3):
            asked.becomes(asked.schedule("quick", soon(0.1), quick.url), "Completed")
        for number in range(30):
            asked.schedule(f"more {number}", soon(0.1), receiver.url)
        wait_until(lambda: len(receiver.deliveries) == 8)
        receiver.may_answer.set()
        wait_until(lambda: len(receiver.deliveries) == 37)
        assert receiver.most_at_once == 8


@pytest.mark.timeout(180)
def test_ten_thousand_due_at_once_come_once_each_with_flat_memory(tmp_path: Path) -> None:
    data = empty_store(tmp_path)
    count = 10_000
    with receiving() as receiver:
        fill(data, receiver.url, count, 2.5)
        with running(embedded(tmp_path)) as process:
            watched = psutil.Process(process.child.pid)
            with caller(process.url) as asked:
                assert asked.ask("POST", "/mcp", json={}).status_code >= 400  # the SDK is there now
                before = watched.memory_info().rss
                most = before

                def is_done() -> bool:
                    nonlocal most
                    most = max(most, watched.memory_info().rss)
                    return len(receiver.deliveries) == count

                wait_until(is_done, 120)
                answer = asked.ask("GET", "/api/conversations?status=Completed&pageSize=1")
                wait_until(
                    lambda: (
                        asked.ask("GET", "/api/conversations?status=Completed&pageSize=1").json()[
                            "totalCount"
                        ]
                        == count
                    )
                )
                assert answer.status_code == 200
        assert set(Counter(receiver.texts()).values()) == {1}
        assert receiver.most_at_once <= 64
        assert most - before < 30 * 1024 * 1024


@pytest.mark.timeout(120)
def test_killed_under_load_every_conversation_comes_at_least_once(tmp_path: Path) -> None:
    """Ten rounds of kill -9 at random moments, while conversations are made and delivered."""
    chance = random.Random(7)
    made: dict[str, str] = {}
    with receiving() as receiver:
        for number in range(KILL_ROUNDS):
            with running(embedded(tmp_path)) as process, caller(process.url) as asked:
                deadline = time.monotonic() + 0.1 + chance.random() * 0.4
                while time.monotonic() < deadline:
                    text = f"{number}:{len(made)}"
                    made[asked.schedule(text, soon(0.05 + chance.random() * 0.3), receiver.url)] = (
                        text
                    )
                process.child.kill()
                process.ends()
        with running(embedded(tmp_path)) as process, caller(process.url) as asked:
            for one in made:
                asked.becomes(one, "Completed", 20)
        arrived = {(d.id, d.body) for d in receiver.deliveries}
        assert arrived >= set(made.items())
        counted = Counter(d.id for d in receiver.deliveries)
        again = sum(1 for times in counted.values() if times > 1)
        # Only what was under way at a kill may come twice.
        assert again <= KILL_ROUNDS * 64
        assert max(counted.values()) <= 1 + KILL_ROUNDS


def test_what_is_due_goes_out_though_nothing_else_happens(
    client: Caller, receiver: Receiver
) -> None:
    """The next due time is found again after an earlier one is cancelled."""
    first = client.schedule("first", soon(0.3), receiver.url)
    client.schedule("second", soon(0.6), receiver.url)
    assert client.tool("cancelConversation", conversationId=first).json() == {"result": True}
    wait_until(receiver.texts)
    assert receiver.texts() == ["second"]


def test_an_earlier_one_overtakes_what_is_waited_for(client: Caller, receiver: Receiver) -> None:
    client.schedule("late", soon(1.5), receiver.url)
    client.schedule("early", soon(0.2), receiver.url)
    wait_until(receiver.texts)
    assert receiver.texts() == ["early"]


def test_an_idle_scheduler_does_not_look_around(scheduler: Process, client: Caller) -> None:
    client.schedule("far", "2031-01-01", "http://127.0.0.1:9/")
    watched = psutil.Process(scheduler.child.pid)
    wait_until(lambda: client.ask("POST", "/mcp", json={}).status_code >= 400, 20)
    before = watched.cpu_times()
    rested = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > rested)
    after = watched.cpu_times()
    assert after.user + after.system - before.user - before.system <= 0.05


def test_a_store_that_fails_for_a_while_loses_and_doubles_nothing(
    scheduler: Process, client: Caller, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.may_answer.clear()
    made = client.schedule("x", soon(), receiver.url)
    due = client.schedule("y", soon(1), receiver.url)
    wait_until(receiver.texts)
    other = sqlite3.connect(tmp_path / "scheduler.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    receiver.may_answer.set()
    wait_until(lambda: "cannot write down a delivery" in scheduler.log())
    other.execute("ROLLBACK")
    other.close()
    client.becomes(made, "Completed")
    client.becomes(due, "Completed")
    assert sorted(receiver.texts()) == ["x", "y"]


def test_a_second_signal_ends_it_at_once_and_the_delivery_is_made_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    with running(embedded(tmp_path)) as process, caller(process.url) as asked:
        made = asked.schedule("x", soon(), receiver.url)
        wait_until(receiver.texts)
        process.child.terminate()
        wait_until(lambda: "stopping on SIGTERM" in process.log())
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < 1
        assert "Traceback" not in process.log()
    receiver.may_answer.set()
    with running(embedded(tmp_path)) as process, caller(process.url) as asked:
        asked.becomes(made, "Completed")
        assert [d.id for d in receiver.deliveries] == [made, made]


def test_two_schedulers_do_not_share_a_store(scheduler: Process, tmp_path: Path) -> None:
    second = embedded(tmp_path)
    second.log_path = tmp_path / "second.log"
    second.start()
    try:
        assert second.ends() == 1
        assert "another scheduler works on it" in second.log()
    finally:
        second.remove()
    port = free_port()
    assert scheduler.port != port
