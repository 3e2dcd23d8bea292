"""The statuses that are kept for the next supervisor."""

import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.status import Cause, CauseKind, Health, State, Status
from orchestrator.supervise.journal import Journal, Kept

RUNNING = Status(
    state=State.RUNNING,
    wanted=True,
    run=3,
    pid=4121,
    alive=True,
    health=Health.HEALTHY,
    since=12.5,
    started_at=12.0,
    failures=(1.0, 2.5),
    restarts=2,
    cause=Cause(CauseKind.SIGNAL, "killed by SIGKILL (not by us) after 12 s", 2),
    exit_signal=9,
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state.json", "this boot")


def test_what_was_kept_comes_back_equal(journal: Journal) -> None:
    kept = Kept(RUNNING, port=8000, ignores_dependencies=True, boot_id="this boot")
    journal.rewrite({"web": kept})
    journal.close()
    assert journal.read() == {"web": kept}


def test_the_newest_line_of_a_service_counts(journal: Journal) -> None:
    journal.rewrite({"web": Kept(RUNNING), "db": Kept(RUNNING)})
    journal.append("web", Kept(replace(RUNNING, run=4)))
    journal.close()
    assert journal.read()["web"].status.run == 4
    assert journal.read()["db"].status.run == 3


def test_a_journal_cut_at_any_byte_loses_its_last_line_at_most(
    journal: Journal, tmp_path: Path
) -> None:
    journal.rewrite({"web": Kept(RUNNING)})
    first = (tmp_path / "state.json").stat().st_size
    journal.append("db", Kept(RUNNING))
    journal.close()
    whole = (tmp_path / "state.json").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "state.json").write_bytes(whole[:length])
        read = journal.read()
        assert ("web" in read) == (length >= first - 1)
        assert read.get("db") is None or length >= len(whole) - 1


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"{}", b'{"version":2}', b"\xff\x00", b'{"version":1,"service":"web"}', b"null"],
)
def test_a_line_that_is_not_ours_is_left_out(journal: Journal, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "state.json").write_bytes(line + b"\n")
    assert journal.read() == {}


def test_an_unknown_state_of_a_newer_version_is_left_out(journal: Journal, tmp_path: Path) -> None:
    journal.rewrite({"web": Kept(RUNNING)})
    journal.close()
    path = tmp_path / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"running"', b'"hovering"'))
    assert journal.read() == {}


def test_what_another_boot_kept_means_nothing(journal: Journal, tmp_path: Path) -> None:
    journal.rewrite({"web": Kept(RUNNING)})
    journal.close()
    assert Journal(tmp_path / "state.json", "the next boot").read() == {}


def test_no_journal_is_an_empty_one(journal: Journal) -> None:
    assert journal.read() == {}


def test_the_journal_is_for_its_owner_only(journal: Journal, tmp_path: Path) -> None:
    journal.rewrite({})
    journal.close()
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_journal_that_cannot_be_written_does_not_raise(journal: Journal) -> None:
    assert journal.append("web", Kept(RUNNING)) is False


def test_a_long_journal_asks_for_a_rewrite(journal: Journal) -> None:
    journal.rewrite({})
    long = Kept(replace(RUNNING, cause=Cause(CauseKind.EXIT, "x" * 1024 * 1024, 1)))
    asked = [journal.append("web", long) for _ in range(5)]
    journal.close()
    assert asked == [False, False, False, True, True]


def limited_to(size: int) -> None:
    """Have files of this process end at so many bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    before = signal.getsignal(signal.SIGXFSZ), resource.getrlimit(resource.RLIMIT_FSIZE)
    yield limited_to
    signal.signal(signal.SIGXFSZ, before[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, before[1])


def test_a_line_that_a_full_disk_cut_costs_no_other(
    journal: Journal, tmp_path: Path, full_disk: Callable[[int], None]
) -> None:
    journal.rewrite({"web": Kept(RUNNING)})
    full_disk((tmp_path / "state.json").stat().st_size + 100)
    assert journal.append("web", Kept(replace(RUNNING, run=4))) is False
    full_disk(1024 * 1024)
    journal.append("web", Kept(replace(RUNNING, run=5)))
    journal.close()
    assert journal.read()["web"].status.run == 5


def test_a_journal_that_cannot_be_replaced_goes_on(
    journal: Journal, tmp_path: Path, full_disk: Callable[[int], None]
) -> None:
    journal.rewrite({"web": Kept(RUNNING)})
    full_disk(100)
    journal.rewrite({"web": Kept(replace(RUNNING, run=4))})
    journal.close()
    journal.rewrite({"web": Kept(replace(RUNNING, run=5))})
    full_disk(1024 * 1024)
    journal.append("web", Kept(replace(RUNNING, run=6)))
    journal.close()
    assert journal.read()["web"].status.run == 6
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
