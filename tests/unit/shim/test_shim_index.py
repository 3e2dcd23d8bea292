"""The index file by itself."""

from pathlib import Path

import pytest

from orchestrator.shim.index import DATA, EXIT, GAP, RECORD, ROTATED, SIZE, START, Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    opened = Index(str(tmp_path / "deep" / ".index" / "web"))
    opened.open()
    return opened


def records(index: Index) -> list[tuple[int, int, int]]:
    """Offset, run and kind of every record."""
    data = Path(index._path).read_bytes()
    return [(at, run, kind) for at, _, _, run, kind, _, _ in RECORD.iter_unpack(data)]


def fill(index: Index, *entries: tuple[int, int]) -> None:
    for offset, kind in entries:
        index.note(offset, kind)


def test_a_record_is_32_bytes_little_endian() -> None:
    assert SIZE == 32
    assert RECORD.format == "<QqqIBBH"


def test_a_torn_record_is_cut_off_when_opening(index: Index) -> None:
    index.run = 4
    fill(index, (0, START), (9, EXIT))
    index.close()
    path = Path(index._path)
    path.write_bytes(path.read_bytes()[:-5])
    again = Index(str(path))
    again.open()
    assert records(again) == [(0, 4, START)]
    assert (again.run, again.last_offset()) == (4, 0)


def test_data_is_noted_at_most_once_in_ten_milliseconds(index: Index) -> None:
    for offset in range(100):
        index.data(offset)
    assert len(records(index)) < 100
    assert records(index)[0] == (0, 0, DATA)


def test_offsets_never_go_back(index: Index) -> None:
    fill(index, (100, ROTATED), (40, GAP), (120, EXIT))
    assert [offset for offset, *_ in records(index)] == [100, 100, 120]


def test_what_is_before_the_oldest_byte_is_forgotten_but_for_the_run_it_belongs_to(
    index: Index,
) -> None:
    index.run = 1
    fill(index, (0, START), (10, EXIT))
    index.run = 2
    fill(index, (10, START), (50, ROTATED), (90, ROTATED), (120, EXIT))
    index.forget(50)
    assert records(index) == [(10, 2, START), (50, 2, ROTATED), (90, 2, ROTATED), (120, 2, EXIT)]
    index.forget(50)
    assert len(records(index)) == 4
    fill(index, (130, START))
    assert records(index)[-1] == (130, 2, START)
    index.forget(1000)
    assert records(index) == [(130, 2, START)]


def test_the_newest_of_a_kind_is_found_no_further_than_asked(index: Index) -> None:
    fill(index, (0, START), (50, ROTATED), *((100 + n, EXIT) for n in range(5000)))
    assert index.newest(((ROTATED, 0),), 0) == 50
    assert index.newest(((ROTATED, 0),), 51) is None
    assert index.newest(((GAP, 2),), 0) is None


def test_a_removed_index_begins_anew(index: Index) -> None:
    fill(index, (0, START))
    Path(index._path).unlink()
    fill(index, (7, EXIT))
    assert records(index) == [(7, 0, EXIT)]


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    index = Index(str(tmp_path / "logs" / "web"))
    fill(index, (0, START))
    (tmp_path / "logs").unlink()
    fill(index, (5, EXIT))
    assert records(index) == [(0, 0, START), (5, 0, EXIT)]
