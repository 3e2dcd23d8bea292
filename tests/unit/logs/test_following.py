"""Following: what is told goes on where the history ends, whatever is done to the files."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.logs.follow import Follower
from orchestrator.logs.query import Item, Line, Query, ServiceEvent
from orchestrator.logs.segments import Log
from orchestrator.logs.stream import Stream
from tests.logwriter import DATA, GAP, LogWriter


@pytest.fixture
def writer(tmp_path: Path) -> LogWriter:
    return LogWriter(tmp_path / "a.log")


@pytest.fixture
def follower(writer: LogWriter) -> Iterator[Follower]:
    writer.start()
    opened = Follower({"a": writer.path})
    yield opened
    opened.close()


def told(items: list[Item]) -> list[bytes | str]:
    """The texts of lines, and the words of events."""
    return [one.text if isinstance(one, Line) else one.event for one in items]


def polled(follower: Follower, wanted: int, within_s: float = 5.0) -> list[Item]:
    """Poll until so many items came."""
    items: list[Item] = []
    deadline = time.monotonic() + within_s
    while len(items) < wanted and time.monotonic() < deadline:
        items += follower.poll()
    return items


def test_what_is_added_between_history_and_following_comes_once(writer: LogWriter) -> None:
    writer.start()
    writer.write(b"before\n")
    follower = Follower({"a": writer.path})
    writer.write(b"between\n")
    writer.exit(3)
    assert told([*follower.before(Query(10))]) == ["start", b"before"]
    writer.start()
    writer.write(b"after\n")
    assert told(follower.poll()) == [b"between", "exit", "start", b"after"]


def test_a_line_that_is_being_written_is_not_cut(writer: LogWriter) -> None:
    writer.write(b"whole\nha")
    follower = Follower({"a": writer.path})
    assert told([*follower.before(Query(1))]) == []
    assert told([*follower.before(Query(2))]) == [b"whole"]
    writer.write(b"lf\n")
    (line,) = follower.poll()
    assert told([line]) == [b"half"]
    assert line.seq == 6


def test_an_exit_that_was_known_is_not_told_again(writer: LogWriter) -> None:
    writer.start()
    writer.write(b"last words")
    writer.exit(1)
    follower = Follower({"a": writer.path})
    assert told([*follower.before(Query(10))]) == ["start", b"last words", "exit"]
    assert told(follower.poll()) == []
    writer.start()
    assert told(follower.poll()) == ["start"]


def test_what_is_followed_is_filtered_as_the_history(writer: LogWriter) -> None:
    writer.start()
    writer.write(b"one\n")
    writer.exit()
    writer.start()
    follower = Follower({"a": writer.path})
    assert told([*follower.before(Query(None, run=0))]) == ["start"]
    writer.write(b"two\n")
    writer.exit()
    writer.start()
    writer.write(b"three\n")
    assert told(follower.poll()) == [b"two", "exit"]


def test_a_line_without_an_end_is_shown_after_a_while_and_its_rest_when_it_comes(
    writer: LogWriter, follower: Follower
) -> None:
    writer.write(b"Password: ")
    (begun,) = polled(follower, 1)
    assert isinstance(begun, Line)
    assert (begun.text, begun.partial) == (b"Password: ", True)
    writer.write(b"accepted\nnext\n")
    rest, after = polled(follower, 2)
    assert isinstance(rest, Line)
    assert isinstance(after, Line)
    assert (rest.text, rest.seq, rest.partial, rest.before) == (b"accepted", 10, False, begun.text)
    assert (after.text, after.seq, after.before) == (b"next", 19, b"")


def test_a_log_that_somebody_cuts_goes_on(writer: LogWriter, follower: Follower) -> None:
    writer.write(b"before\n")
    assert told(follower.poll()) == [b"before"]
    writer.cut_by_others()
    assert told(follower.poll()) == []
    writer.see_cut()
    writer.write(b"after the cut, longer than before\n")
    items = polled(follower, 2)
    assert told(items) == ["gap", b"after the cut, longer than before"]
    assert items[1].seq == 7
    assert told([*Follower({"a": writer.path}).before(Query(None))])[-1] == told(items)[-1]


def test_bytes_that_a_cut_left_count_as_new(writer: LogWriter, follower: Follower) -> None:
    writer.write(b"one\ntwo\nthree\n")
    assert told(follower.poll()) == [b"one", b"two", b"three"]
    writer.cut_by_others(4)
    writer.see_cut()
    writer.write(b"four\n")
    assert told(polled(follower, 3)) == ["gap", b"one", b"four"]


def test_a_log_that_somebody_moves_is_read_to_its_end(
    writer: LogWriter, follower: Follower
) -> None:
    writer.write(b"one\n")
    assert told(follower.poll()) == [b"one"]
    moved = writer.path.rename(writer.path.with_name("a.log.1"))
    with moved.open("ab") as file:
        file.write(b"two\n")
    writer.record(DATA)
    writer.offset += 4
    writer.begin_anew()
    writer.write(b"three\n")
    assert told(polled(follower, 2)) == [b"two", b"three"]


def test_a_log_whose_folder_is_removed_goes_on_in_the_new_one(
    writer: LogWriter, follower: Follower
) -> None:
    writer.write(b"one\n")
    assert told(follower.poll()) == [b"one"]
    index = writer.path.parent / ".index" / "a"
    writer.path.unlink()
    index.unlink()
    assert told(follower.poll()) == []
    index.touch()
    writer.record(GAP, 0, 1)
    writer.begin_anew()
    writer.write(b"two\n")
    assert told(polled(follower, 2)) == ["gap", b"two"]


def test_a_file_is_read_to_its_end_after_it_was_rotated_and_pruned(
    writer: LogWriter, follower: Follower
) -> None:
    writer.write(b"one\n")
    assert told(follower.poll()) == [b"one"]
    writer.write(b"two\n")
    writer.rotate()
    writer.prune(0)
    writer.write(b"three\n")
    assert told(polled(follower, 2)) == [b"two", b"three"]


@pytest.mark.parametrize("looks", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_look_in_the_middle_of_a_rotation_changes_nothing(
    writer: LogWriter, follower: Follower, looks: tuple[int, ...]
) -> None:
    seen: list[Item] = []
    for number in range(3):
        writer.write(b"%d before\n" % number)
        for step, _ in enumerate(writer.rotate_slowly()):
            seen += follower.poll() if step in looks else []
        seen += follower.poll() if 2 in looks else []
        writer.write(b"%d after\n" % number)
        seen += polled(follower, 2 * number + 2 - len(seen))
    assert told(seen) == [
        b"%d %s" % (number, word) for number in range(3) for word in (b"before", b"after")
    ]


def test_what_is_pruned_before_it_is_read_is_told_as_missing(
    writer: LogWriter, follower: Follower
) -> None:
    writer.write(b"one\n")
    assert told(follower.poll()) == [b"one"]
    writer.rotate()
    writer.write(b"two\n")
    writer.rotate()
    writer.write(b"three\n")
    writer.prune(4)
    items = polled(follower, 2)
    assert told(items) == ["gap", b"three"]
    assert [item.seq for item in items] == [8, 8]


def test_no_event_is_told_twice_when_the_index_is_made_shorter(
    writer: LogWriter, follower: Follower
) -> None:
    seen = []
    for number in range(1, 31):
        writer.write(b"%d\n" % number)
        writer.exit()
        writer.start()
        if number % 3 == 0:
            seen += told(follower.poll())
        if number % 6 == 0:
            writer.rotate()
            writer.forget(writer.offset)
    expected = [(b"%d" % number, "exit", "start") for number in range(1, 31)]
    assert seen == [word for words in expected for word in words]


def test_holes_are_no_output(writer: LogWriter) -> None:
    writer.write(b"one\n")
    with writer.path.open("r+b") as file:
        file.truncate(1 << 20)
    writer.offset = 1 << 20
    writer.write(b"two\n")
    items = Follower({"a": writer.path}).before(Query(None))
    texts = [one.text for one in items if isinstance(one, Line)]
    assert (texts[0], texts[-1].strip(b"\0")) == (b"one", b"two")
    assert sum(map(len, texts)) < 10_000


def test_services_are_merged_by_time_and_each_stays_in_its_order(tmp_path: Path) -> None:
    first, second = LogWriter(tmp_path / "a.log", 10.0), LogWriter(tmp_path / "b.log", 12.0)
    follower = Follower({"a": first.path, "b": second.path})
    for now in (10.0, 20.0, 5.0):
        first.now = now
        first.write(b"a at %d\n" % now)
    second.write(b"b at 12\n")
    assert told(follower.poll()) == [b"a at 10", b"b at 12", b"a at 20", b"a at 5"]
    follower.close()


def test_the_first_bytes_after_a_pause_wait_for_the_record_that_dates_them(
    writer: LogWriter, follower: Follower
) -> None:
    writer.write(b"one\n")
    assert told(follower.poll()) == [b"one"]
    assert told(follower.poll()) == []
    with writer.path.open("ab") as file:
        file.write(b"two\n")
    assert told(follower.poll()) == []
    writer.now += 3600
    writer.record(DATA)
    (line,) = follower.poll()
    assert line.ts == writer.now


def test_a_stream_with_nothing_new_opens_no_file(writer: LogWriter) -> None:
    writer.write(b"one\n")
    stream = Stream(Log(writer.path), 0)
    assert stream.read(100) == (0, b"one\n")
    before = sorted(os.listdir("/proc/self/fd"))
    assert [stream.read(100) for _ in range(3)] == [(4, b"")] * 3
    assert sorted(os.listdir("/proc/self/fd")) == before
    stream.close()


def test_events_have_what_is_known_of_them(writer: LogWriter, follower: Follower) -> None:
    writer.exit(signal=9)
    (event,) = follower.poll()
    assert event == ServiceEvent("a", writer.now, 1, 0, "exit", None, 9)
