"""Segments, lines, index and queries."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from orchestrator.logs.follow import Follower
from orchestrator.logs.index import Index, Kind
from orchestrator.logs.lines import PIECE_BYTES, Splitter, lines, newest
from orchestrator.logs.query import Item, Line, Query, ServiceEvent, read
from orchestrator.logs.redact import Redactor
from orchestrator.logs.segments import Log
from orchestrator.logs.tail import RunOutput, tail
from tests.logwriter import LogWriter

ALL = Query(count=None)


@pytest.fixture
def writer(tmp_path: Path) -> LogWriter:
    return LogWriter(tmp_path / "a.log")


def texts(items: list[Item]) -> list[bytes]:
    return [item.text for item in items if isinstance(item, Line)]


def found(writer: LogWriter, query: Query = ALL) -> list[Item]:
    return list(read({"a": writer.path}, query))


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    log = Log(tmp_path / "none/a.log")
    assert log.segments() == []
    assert log.read(0, 10) == (0, b"")
    assert tail(tmp_path / "none/a.log", 5) == []
    assert list(read({"a": tmp_path / "none/a.log"}, ALL)) == []


def test_offsets_go_on_over_segments(writer: LogWriter) -> None:
    writer.write(b"one\n")
    writer.rotate()
    writer.write(b"two\n")
    writer.rotate()
    writer.write(b"three\n")
    assert [(one.start, one.size) for one in Log(writer.path).segments()] == [
        (0, 4),
        (4, 4),
        (8, 6),
    ]
    assert Log(writer.path).read(4, 100) == (4, b"two\n")
    assert texts(found(writer)) == [b"one", b"two", b"three"]


def test_pruned_bytes_are_passed_over(writer: LogWriter) -> None:
    writer.write(b"one\n")
    writer.rotate()
    writer.write(b"two\n")
    writer.prune(0)
    assert Log(writer.path).read(0, 100) == (4, b"two\n")
    assert texts(found(writer)) == [b"two"]


def test_the_base_is_known_from_the_index_when_all_before_it_was_pruned(writer: LogWriter) -> None:
    writer.write(b"one\n")
    writer.rotate()
    writer.write(b"two\n")
    writer.prune(0)
    (only,) = Log(writer.path).segments()
    assert only.start == 4
    assert [item.seq for item in found(writer) if isinstance(item, Line)] == [4]


def test_another_services_files_are_not_taken_for_segments(writer: LogWriter) -> None:
    writer.write(b"mine\n")
    others = (
        "ab.log",
        "a.x.log",
        "a.1.2.log",
        "a-b.log",
        "ab.0.log",
        "a-1.log",
        "a.5",
        "a.\u0665.log",
    )
    for name in others:
        writer.path.with_name(name).write_bytes(b"other\n")
    assert texts(found(writer)) == [b"mine"]


def test_a_log_without_a_suffix_has_segments_without_one(tmp_path: Path) -> None:
    for name in ("out", "out.0", "out.4.log"):
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    log = Log(tmp_path / "out")
    assert [(one.path.name, one.start) for one in log.segments()] == [("out.0", 0), ("out", 6)]


def test_a_cut_log_has_the_offsets_that_the_shim_gave_it(writer: LogWriter) -> None:
    writer.write(b"before the cut\n")
    writer.cut_by_others()
    writer.see_cut()
    writer.write(b"after\n")
    assert [(one.start, one.size) for one in Log(writer.path).segments()] == [(15, 6)]
    assert Log(writer.path).read(0, 100) == (15, b"after\n")


def test_the_newest_lines_are_found_from_the_end(writer: LogWriter) -> None:
    for number in range(5000):
        writer.write(b"line %d\n" % number)
        if number % 1000 == 999:
            writer.rotate()
    for count in (0, 1, 7, 999, 1500, 5000, 6000):
        expected = [b"line %d" % number for number in range(max(0, 5000 - count), 5000)]
        assert texts(found(writer, Query(count=count))) == expected


@settings(max_examples=60, deadline=None)
@given(
    some.lists(some.binary(max_size=40), max_size=30), some.integers(0, 12), some.integers(0, 200)
)
def test_newest_agrees_with_splitting_the_whole(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], count: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    writer = LogWriter(folder / "a.log")
    for piece in pieces:
        writer.write(piece)
        if writer.offset > cut:
            writer.rotate()
    whole = b"".join(pieces)
    log = Log(writer.path)
    begin = newest(log, count, 0, len(whole))
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    wanted = expected[max(0, len(expected) - count) :]
    assert [one.text for one in lines(log, begin, len(whole))] == wanted


def test_a_last_line_without_an_end_is_shown(writer: LogWriter) -> None:
    writer.write(b"one\ntw")
    assert texts(found(writer)) == [b"one", b"tw"]
    assert texts(found(writer, Query(count=1))) == [b"tw"]


def test_a_long_line_comes_in_pieces_told_as_such(writer: LogWriter) -> None:
    size = 3 * PIECE_BYTES + 5
    writer.write(b"x" * size + b"\nshort\n")
    items = [item for item in found(writer) if isinstance(item, Line)]
    assert [item.partial for item in items] == [True, True, True, False, False]
    assert b"".join(item.text for item in items[:4]) == b"x" * size
    assert [item.seq for item in items] == [
        0,
        PIECE_BYTES,
        2 * PIECE_BYTES,
        3 * PIECE_BYTES,
        size + 1,
    ]


def test_the_last_words_of_a_run_are_a_line_of_their_own(writer: LogWriter) -> None:
    writer.start()
    writer.write(b"no end")
    writer.exit(1)
    writer.start()
    writer.write(b"no end")
    items = found(writer)
    assert texts(items) == [b"no end", b"no end"]
    kinds = [item.event if isinstance(item, ServiceEvent) else item.run for item in items]
    assert kinds == ["start", 1, "exit", "start", 2]


def test_lines_are_chosen_by_time(writer: LogWriter) -> None:
    for second in range(5):
        writer.now = 1000.0 + second
        writer.write(b"at %d\n" % second)
    assert texts(found(writer, Query(None, since=1002.0))) == [b"at 2", b"at 3", b"at 4"]
    assert texts(found(writer, Query(None, until=1002.0))) == [b"at 0", b"at 1"]
    assert texts(found(writer, Query(None, since=2000.0))) == []


def test_a_line_belongs_to_the_time_of_its_first_byte(writer: LogWriter) -> None:
    writer.now = 1000.0
    writer.write(b"first\nbeg")
    writer.now = 2000.0
    writer.write(b"un\nlast\n")
    assert texts(found(writer, Query(None, since=1500.0))) == [b"last"]
    assert texts(found(writer, Query(None, until=1500.0))) == [b"first", b"begun"]
    assert texts(found(writer, Query(1, until=1500.0))) == [b"begun"]


def test_a_clock_that_jumps_back_hides_no_line(writer: LogWriter) -> None:
    for now in (1000.0, 1100.0, 1010.0, 1020.0):
        writer.now = now
        writer.write(b"at %d\n" % now)
    assert texts(found(writer, Query(None, since=1015.0))) == [b"at 1100", b"at 1020"]
    assert texts(found(writer, Query(None, until=1015.0))) == [b"at 1000", b"at 1010"]


def test_a_pattern_matches_what_is_shown_and_tells_no_secret(writer: LogWriter) -> None:
    writer.write(b"\x1b[1mERROR\x1b[0m: key=topsecret\n")

    def matches(pattern: str) -> bool:
        query = Query(None, pattern=re.compile(pattern), redactor=Redactor(["topsecret"]))
        return bool(texts(found(writer, query)))

    assert matches("^ERROR: key=")
    assert not matches("key=t")


def test_the_newest_matches_are_found_from_the_end_over_windows(writer: LogWriter) -> None:
    for number in range(40_000):
        if number % 8000 == 0:
            writer.write(b"match %d\n" % number)
        writer.write(b"%0100d\n" % number) if number % 100 == 0 else None
    writer.write(b"x" * 3_000_000 + b"match\n")
    query = Query(3, pattern=re.compile("match"))
    assert [text[-8:] for text in texts(found(writer, query))] == [
        b"ch 24000",
        b"ch 32000",
        b"xxxmatch",
    ]


def test_lines_are_chosen_by_run_and_by_the_line_before(writer: LogWriter) -> None:
    for number in range(3):
        writer.start()
        writer.write(b"run %d\n" % number)
        writer.exit()
    assert texts(found(writer, Query(None, run=2))) == [b"run 1"]
    assert texts(found(writer, Query(None, run=-1))) == [b"run 1"]
    assert texts(found(writer, Query(None, run=9))) == []
    assert texts(found(writer, Query(None, after=0))) == [b"run 1", b"run 2"]
    assert texts(found(writer, Query(None, after=14))) == []


def test_lines_are_chosen_by_a_pattern_the_newest_of_them(writer: LogWriter) -> None:
    for number in range(100):
        writer.write(b"line %d\n" % number)
    query = Query(2, pattern=re.compile("7"))
    assert texts(found(writer, query)) == [b"line 87", b"line 97"]


def test_several_logs_are_merged_by_time_and_counted_together(tmp_path: Path) -> None:
    first, second = LogWriter(tmp_path / "a.log", 10.0), LogWriter(tmp_path / "b.log", 11.0)
    for number in range(3):
        for writer in (first, second):
            writer.write(b"%d\n" % number)
            writer.now += 2
    logs = {"a": first.path, "b": second.path}
    names = [item.service for item in read(logs, ALL)]
    assert names == ["a", "b"] * 3
    assert texts(list(read(logs, Query(count=3)))) == [b"1", b"2", b"2"]


def test_of_several_logs_long_lines_count_once_and_events_stand_among_lines(tmp_path: Path) -> None:
    first, second = LogWriter(tmp_path / "a.log", 10.0), LogWriter(tmp_path / "b.log", 11.0)
    for writer in (first, second):
        writer.start()
        writer.write(b"x" * (2 * PIECE_BYTES + 1) + b"\n")
        writer.now += 2
        writer.exit()
        writer.start()
        writer.write(b"short\n")
    logs = {"a": first.path, "b": second.path}

    def told(count: int) -> list[str]:
        items = read(logs, Query(count))
        return [one.event if isinstance(one, ServiceEvent) else str(len(one.text)) for one in items]

    long = [str(PIECE_BYTES), str(PIECE_BYTES), "1"]
    assert told(1) == ["5"]
    assert told(2) == ["5", "exit", "start", "5"]
    assert told(3) == [*long, "exit", "start", "5", "exit", "start", "5"]
    assert told(4) == ["start", *long, "start", *long, "exit", "start", "5", "exit", "start", "5"]


def test_a_torn_record_of_the_index_is_not_there_yet(writer: LogWriter) -> None:
    writer.start()
    writer.write(b"one\n")
    path = Log(writer.path).index_path
    path.write_bytes(path.read_bytes() + b"\x01" * 17)
    assert len(Index(path)) == 2
    assert texts(found(writer)) == [b"one"]


def test_without_an_index_the_lines_are_there_without_times(writer: LogWriter) -> None:
    writer.write(b"one\n")
    Log(writer.path).index_path.unlink()
    (item,) = found(writer)
    assert isinstance(item, Line)
    assert (item.text, item.ts, item.run) == (b"one", None, 0)


def test_how_a_run_ended_is_read_from_the_index(writer: LogWriter) -> None:
    writer.start()
    writer.exit(code=3)
    writer.start()
    writer.exit(signal=9)
    writer.start()
    writer.record(2, 0, 0xFFFF)
    exits = [one for one in Index(Log(writer.path).index_path).marks() if one.kind is Kind.EXIT]
    assert [(one.code, one.signal) for one in exits] == [(3, None), (None, 9), (None, None)]
    assert Index(Log(writer.path).index_path).last_run() == 3


def test_a_follower_gets_each_line_once_across_rotation_and_pruning(writer: LogWriter) -> None:
    follower = Follower({"a": writer.path})
    seen: list[bytes] = []
    for number in range(300):
        writer.write(b"line %d\n" % number)
        if number % 50 == 49:
            writer.rotate()
        if number % 7 == 0:
            seen += texts(follower.poll())
    seen += texts(follower.poll())
    assert seen == [b"line %d" % number for number in range(300)]


def test_a_follower_waits_for_files_that_are_not_there_yet(tmp_path: Path) -> None:
    follower = Follower({"a": tmp_path / "later/a.log"})
    assert follower.poll() == []
    writer = LogWriter(tmp_path / "later/a.log")
    writer.start()
    writer.write(b"here\n")
    assert [type(item) for item in follower.poll()] == [ServiceEvent, Line]


def test_a_follower_shows_the_last_words_of_a_run_before_its_end(writer: LogWriter) -> None:
    writer.start()
    follower = Follower({"a": writer.path})
    writer.write(b"last words")
    assert texts(follower.poll()) == []
    writer.exit(1)
    items = follower.poll()
    assert texts(items) == [b"last words"]
    assert isinstance(items[-1], ServiceEvent)


def test_the_output_of_a_run_is_read_from_where_it_began(writer: LogWriter) -> None:
    writer.write(b"the run before\n")
    output = RunOutput(writer.path, writer.offset)
    assert output.new_lines() == []
    writer.write(b"list")
    assert output.new_lines() == ["list"]
    writer.rotate()
    writer.write(b"ening on \x1b[1m8000\x1b[0m\nmore\n")
    assert output.new_lines() == ["listening on 8000", "more"]
    assert output.new_lines() == []


def test_the_tail_is_clean_and_short(writer: LogWriter) -> None:
    writer.write(b"one\n\x1b[31mtwo\x1b[0m\nthree")
    assert tail(writer.path, 2) == ["two", "three"]


@settings(max_examples=100, deadline=None)
@given(some.binary(max_size=300), some.lists(some.integers(1, 20), max_size=40))
def test_a_splitter_cuts_the_same_lines_whatever_portions_come(
    data: bytes, cuts: list[int]
) -> None:
    splitter, at, seen = Splitter(), 0, []
    for cut in [*cuts, len(data)]:
        seen += list(splitter.feed(at, data[at : at + cut]))
        at = min(len(data), at + cut)
    seen += list(splitter.flush())
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [one.text for one in seen] == expected
    assert all(data[one.seq : one.seq + len(one.text)] == one.text for one in seen)
