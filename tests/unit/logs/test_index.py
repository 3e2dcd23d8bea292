"""The index: found by offset, time and run, and the same whatever the shim drops."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from orchestrator.logs.index import Index, Kind
from tests.logwriter import LogWriter

RECORD = struct.Struct("<QqqIBBH")


def written(path: Path, records: list[tuple[int, float, int, int]]) -> Index:
    """Write (offset, wall, run, kind) and open the index."""
    path.write_bytes(
        b"".join(
            RECORD.pack(offset, int(wall * 1e9), number, run, kind, 0, 0)
            for number, (offset, wall, run, kind) in enumerate(records)
        )
    )
    return Index(path)


@pytest.fixture
def writer(tmp_path: Path) -> LogWriter:
    return LogWriter(tmp_path / "a.log")


def index_of(writer: LogWriter) -> Index:
    return Index(writer.path.parent / ".index" / "a")


@settings(max_examples=60, deadline=None)
@given(some.lists(some.integers(0, 3), max_size=60), some.lists(some.integers(-1, 120), max_size=9))
def test_an_offset_is_found_as_by_looking_at_each_record(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], asked: list[int]
) -> None:
    offsets = [sum(steps[: number + 1]) for number in range(len(steps))]
    records = [(offset, 5.0 + number, 1, 0) for number, offset in enumerate(offsets)]
    index = written(tmp_path_factory.mktemp("index") / "a", records)
    for offset in asked:
        assert index.number_at(offset) == sum(one <= offset for one in offsets)
    for offset in filter(lambda one: one >= 0, asked):
        before = [record for record in records if record[0] <= offset]
        expected = before[-1][1] if before else (records[0][1] if records else None)
        assert index.wall_at(offset) == expected


def test_a_large_index_is_searched_forward_backward_and_anywhere(tmp_path: Path) -> None:
    index = written(tmp_path / "a", [(number * 10, number, 1, 0) for number in range(9000)])
    places = [*range(0, 90_000, 7), *range(89_999, 0, -997), 0, 89_999, 45_000, 3, 10**9]
    for offset in places:
        assert index.wall_at(offset) == min(offset // 10, 8999)


@settings(max_examples=60, deadline=None)
@given(some.lists(some.integers(0, 20), max_size=40), some.integers(-1, 21))
def test_times_are_found_whatever_the_clock_did(
    tmp_path_factory: pytest.TempPathFactory, walls: list[int], asked: int
) -> None:
    index = written(
        tmp_path_factory.mktemp("index") / "a",
        [(number * 10, wall, 1, 0) for number, wall in enumerate(walls)],
    )
    late = [number for number, wall in enumerate(walls) if wall >= asked]
    assert index.offset_at(asked) == (late[0] * 10 if late else None)
    early = [number for number, wall in enumerate(walls) if wall < asked]
    after = early[-1] + 1 if early else 0
    assert index.offset_before(asked) == (after * 10 if after < len(walls) else None)


def test_times_are_found_over_pages(tmp_path: Path) -> None:
    index = written(tmp_path / "a", [(number * 10, number, 1, 0) for number in range(9000)])
    for wall in (0, 1, 2047, 2048, 2049, 8999):
        assert index.offset_at(wall) == wall * 10
        assert index.offset_before(wall) == wall * 10
    assert index.offset_at(9000) is None
    assert index.offset_before(9000) is None


def test_a_run_is_found_by_its_number_also_when_its_exit_was_lost(writer: LogWriter) -> None:
    writer.start()
    writer.write(b"one\n")
    writer.start()
    writer.write(b"two\n")
    writer.exit()
    writer.start()
    index = index_of(writer)
    assert [index.run_range(run) for run in (1, 2, 3, 4)] == [(0, 4), (4, 8), (8, None), None]
    assert index.last_run() == 3


def test_records_keep_their_numbers_when_older_ones_are_dropped(writer: LogWriter) -> None:
    for _ in range(3):
        writer.start()
        writer.write(b"line\n")
        writer.exit()
    index = index_of(writer)
    before = {number: index.record(number) for number in range(index.first, index.end)}
    end = index.end
    writer.forget(10)
    writer.write(b"more\n")
    index.refresh()
    assert index.end == end + 1
    for number in range(end - 3, end):
        assert index.record(number) == before[number]
    assert index.record(end).kind is Kind.DATA


def test_an_index_of_which_nothing_is_left_goes_on_with_new_numbers(writer: LogWriter) -> None:
    writer.start()
    index = index_of(writer)
    path = writer.path.parent / ".index" / "a"
    path.unlink()
    path.touch()
    writer.write(b"line\n")
    index.refresh()
    assert (index.first, index.end) == (1, 2)
    assert index.record(1).kind is Kind.DATA


def test_an_index_cut_by_others_is_read_as_what_is_left(writer: LogWriter) -> None:
    for _ in range(5):
        writer.write(b"line\n")
    index = index_of(writer)
    path = writer.path.parent / ".index" / "a"
    with path.open("r+b") as file:
        file.truncate(70)
    assert index.wall_at(22) is not None
    index.refresh()
    assert len(index) == 2


def test_marks_are_found_over_pages_and_unknown_kinds_are_passed_over(tmp_path: Path) -> None:
    kinds = {0: 1, 2047: 2, 2048: 1, 5000: 9, 6143: 4, 6144: 2}
    records = [(number, 1.0, 1, kinds.get(number, 0)) for number in range(7000)]
    index = written(tmp_path / "a", records)
    found = [(number, record.kind) for number, record in index.marks_from(0)]
    assert found == [
        (0, Kind.START),
        (2047, Kind.EXIT),
        (2048, Kind.START),
        (6143, Kind.ROTATED),
        (6144, Kind.EXIT),
    ]
    assert [number for number, _ in index.marks_from(2047, 6143)] == [2047, 2048]
    assert index.breaks(0, 7000) == [2047, 2048, 6144]
    assert index.base() == 6143


def test_a_closed_index_opens_again_with_the_same_numbers(writer: LogWriter) -> None:
    writer.start()
    index = index_of(writer)
    index.close()
    writer.write(b"line\n")
    index.refresh()
    assert [index.record(number).kind for number in (0, 1)] == [Kind.START, Kind.DATA]
    index.close()
    (writer.path.parent / ".index" / "a").unlink()
    index.refresh()
    assert len(index) == 0
    assert index.wall_at(0) is None
