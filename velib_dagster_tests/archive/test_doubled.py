"""An archive of an earlier version that holds rows twice: they are named, and taken out whatever ends that."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.archive import doubled, replace
from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.doubled import doubled_rows, remove_doubled_rows
from velib_dagster.archive.errors import ArchiveError, ArchiveHeldError
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.writer import archive_topic
from velib_dagster_tests.archive.parts import START, TopicInMemory, many, spell

PARIS = "Europe/Paris"
BEFORE_MIDNIGHT = datetime(2024, 11, 6, 22, 50, tzinfo=UTC)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """Two days, with 150 rows of each twice; a name holds what CSV must quote."""
    spells = [*many(900, BEFORE_MIDNIGHT), spell(START, name='A, "B"\nC')]
    (tmp_path / "once").mkdir()
    archive_topic(tmp_path / "once", TopicInMemory(spells), PARIS)
    folder = tmp_path / "twice"
    folder.mkdir()
    sent = [*spells[:300], *spells[150:600], *spells[450:]]
    archive_topic(folder, TopicInMemory(sent), PARIS)
    return folder


def test_rows_twice_are_named_with_their_day(twice: Path) -> None:
    found = list(doubled_rows(twice))
    assert len(found) == 300
    assert all(row.twice for row in found)
    assert {str(row.day) for row in found} == {"2024-11-06", "2024-11-07"}
    assert list(doubled_rows(twice.parent / "once")) == []


def test_an_overlapping_row_is_told_from_one_twice(tmp_path: Path) -> None:
    rows = [spell(START, 300), spell(START + timedelta(seconds=300), 60), spell(START + timedelta(seconds=120), 100)]
    archive_topic(tmp_path, TopicInMemory([*rows, spell(START, 200, station_code="2")]), PARIS)
    assert [(row.spell, row.twice) for row in doubled_rows(tmp_path)] == [(rows[2], False)]


def test_a_repaired_archive_is_byte_for_byte_that_of_spells_sent_once_and_goes_on(twice: Path) -> None:
    before = read_commit(twice)
    assert len(remove_doubled_rows(twice)) == 300
    assert contents(twice) == contents(twice.parent / "once")
    after = read_commit(twice)
    assert (after.next_offset, after.through, after.replacing) == (before.next_offset, before.through, ())
    assert after.files == read_commit(twice.parent / "once").files
    assert sum(len(text.splitlines()) - 1 for text in contents(twice / "removed").values()) == 300
    assert remove_doubled_rows(twice) == []
    assert list(doubled_rows(twice)) == []


class EndedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", ["write_commit", "finish_replacing", "sync_file", "_keep"])
@pytest.mark.parametrize("after", [False, True])
def test_a_repair_cut_off_at_any_step_is_finished_by_the_next(
    twice: Path, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = getattr(replace, step)

    def ends(*arguments: object) -> object:
        if after:
            real(*arguments)
        raise EndedError

    with monkeypatch.context() as patch:
        patch.setattr(replace, step, ends)
        with pytest.raises(EndedError):
            remove_doubled_rows(twice)
    spells = list(read_spells(twice))
    assert len(spells) in {901, 1201}, "read as it was or as it will be"
    remove_doubled_rows(twice)
    assert contents(twice) == contents(twice.parent / "once")
    assert list(read_spells(twice)) == list(read_spells(twice.parent / "once"))


def test_the_writer_finishes_a_repair_that_was_cut_off(twice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(replace, "finish_replacing", lambda _folder, commit: commit)
        remove_doubled_rows(twice)
    assert read_commit(twice).replacing
    assert len(list(read_spells(twice))) == 901
    later = spell(START + timedelta(days=1))
    end = read_commit(twice).next_offset
    topic = TopicInMemory([*many(end), later], marked=10**9)
    assert archive_topic(twice, topic, PARIS).rows == 1
    assert contents(twice).items() > contents(twice.parent / "once").items()
    assert read_commit(twice).replacing == ()


def test_an_archive_that_is_being_written_is_not_repaired(twice: Path) -> None:
    with doubled.only_writer(twice), pytest.raises(ArchiveHeldError):
        remove_doubled_rows(twice)


def test_a_file_that_was_changed_by_hand_is_not_written_anew(twice: Path) -> None:
    path = twice / "2024-11-06.csv"
    text = path.read_bytes()
    path.write_bytes(text.replace(b",48.86,", b",48.860,", 1)[: len(text)])
    with pytest.raises(ArchiveError, match=r"2024-11-06\.csv"):
        remove_doubled_rows(twice)
    assert contents(twice)["2024-11-06.csv"] == text.replace(b",48.86,", b",48.860,", 1)[: len(text)]
