"""Records of spells that can't be read: set aside with their bytes, committed with the archive's position."""

import os
from pathlib import Path

import msgspec
import pytest

from velib_dagster.archive import step as steps
from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.errors import ArchiveError
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.source import Record
from velib_dagster.archive.unreadable import UNREADABLE_FILE, records_set_aside
from velib_dagster.archive.writer import Archived, archive_topic
from velib_dagster.events.readable import Told
from velib_dagster.events.records import encode
from velib_dagster_tests.archive.parts import TopicInMemory, many

GOOD = many(600)
NAMES = [f"20241107T08{minute:02}00Z-0" for minute in range(20)]
POLLS = [NAMES[number // 30] for number in range(600)]
BAD = {0: b"not json", 91: b"{}", 92: b"\xff\x00", 404: encode(GOOD[404])[:-1] + b',"name":7}'}
"""Place among the records → a record that something else has written there."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def topic(bad: dict[int, bytes] = BAD, *, count: int = 600, batch: int = 100) -> TopicInMemory:
    """The spells of twenty polls, and before some of them what can't be read, of no poll."""
    items: list = []
    polls: list[str | None] = []
    for number in range(count):
        if number in bad:
            items.append(bad[number])
            polls.append(None)
        items.append(GOOD[number])
        polls.append(POLLS[number])
    return TopicInMemory(items, polls=polls, batch=batch)


def archive(folder: Path, of: TopicInMemory, **options: int) -> Archived:
    return archive_topic(folder, of, "UTC", **options)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".csv", ".jsonl"}}


@pytest.mark.parametrize("batch", [7, 100, 10_000])
@pytest.mark.parametrize("step_rows", [1, 100, 10_000])
def test_all_that_can_be_read_is_archived_and_the_rest_is_kept_with_its_place_and_bytes(
    folder: Path, batch: int, step_rows: int
) -> None:
    of = topic(batch=batch)
    done = archive(folder, of, step_rows=step_rows)
    assert (done.rows, done.unreadable, done.next_offset) == (600, 4, of.end)
    assert list(read_spells(folder)) == GOOD
    told = records_set_aside(folder)
    assert [record.value for record in told] == list(BAD.values())
    assert [record.offset for record in told] == [r.offset for r in of.records if r.value in BAD.values()]
    assert {record.topic for record in told} == {"feed.spells"}
    assert archive(folder, of).unreadable == 0
    assert len(records_set_aside(folder)) == 4


class _KilledError(BaseException):
    pass


@pytest.mark.parametrize("write", range(1, 60, 4))
def test_a_kill_at_any_write_leaves_the_same_bytes(
    folder: Path, tmp_path: Path, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    archive(undisturbed, topic(), step_rows=60)
    left = [write]

    def dying(name: str) -> None:
        real = getattr(steps, name)

        def call(*args: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise _KilledError
            return real(*args)

        monkeypatch.setattr(steps, name, call)

    for name in ("append", "set_aside", "sync_file", "write_commit"):
        dying(name)
    try:
        archive(folder, topic(), step_rows=60)
    except _KilledError:
        archive(folder, topic(), step_rows=60)
    assert files(folder) == files(undisturbed)


def test_more_than_three_in_a_row_stop_and_lose_nothing_before_or_behind(folder: Path) -> None:
    items: list = [*GOOD[:90], *[b"?"] * 4, *GOOD[90:]]
    polls = [*POLLS[:90], *[None] * 4, *POLLS[90:]]
    of = TopicInMemory(items, polls=polls)
    for _ in range(2):
        with pytest.raises(ArchiveError, match="nor could the 3 before it"):
            archive(folder, of)
    archived = read_commit(folder).rows  # type: ignore[union-attr]
    last = next(record.offset for record in reversed(of.records) if record.value == b"?")
    assert archive(folder, of, accepted=last + 1).rows == 600 - archived
    assert len(records_set_aside(folder)) == 4
    assert list(read_spells(folder)) == GOOD


def test_those_just_before_are_remembered_from_one_run_to_the_next(folder: Path) -> None:
    first = TopicInMemory([*GOOD[:30], b"?", b"?"], polls=[*POLLS[:30], None, None])
    assert archive(folder, first).unreadable == 2
    assert read_commit(folder).unreadable_in_a_row == 2  # type: ignore[union-attr]
    more = TopicInMemory([*GOOD[:30], *[b"?"] * 4], polls=[*POLLS[:30], *[None] * 4])
    with pytest.raises(ArchiveError, match="can't be read"):
        archive(folder, more)


def test_a_record_of_a_newer_program_stops_the_archive_before_it(folder: Path) -> None:
    of = TopicInMemory(GOOD, polls=POLLS)
    of.records[300] = Record(of.records[300].offset, of.records[300].value, Told(POLLS[300], "2"))
    for _ in range(2):
        with pytest.raises(ArchiveError, match="is of version 2"):
            archive(folder, of, accepted=of.end)
    done = archive(folder, TopicInMemory(GOOD, polls=POLLS))
    assert done.unreadable == 0
    assert list(read_spells(folder)) == GOOD


def test_the_rest_of_a_poll_behind_a_foreign_record_is_no_repetition(folder: Path) -> None:
    """A commit between would make the rest of the poll look like one that comes again."""
    bad = {45: b"?", 46: b"?"}
    assert archive(folder, topic(bad), step_rows=1).rows == 600
    assert list(read_spells(folder)) == GOOD


def test_a_file_that_was_cut_or_damaged_is_told(folder: Path) -> None:
    archive(folder, topic())
    path = folder / UNREADABLE_FILE
    os.truncate(path, 10)
    for read in (lambda: records_set_aside(folder), lambda: archive(folder, topic())):
        with pytest.raises(ArchiveError, match=r"unreadable\.jsonl has 10 bytes"):
            read()


def test_an_archive_of_an_older_version_has_set_nothing_aside(folder: Path) -> None:
    archive(folder, topic({}))
    path = folder / "commit.json"
    old = msgspec.json.decode(path.read_bytes())
    del old["unreadable"], old["unreadable_in_a_row"]
    path.write_bytes(msgspec.json.encode(old))
    assert records_set_aside(folder) == []
    assert archive(folder, topic({})).rows == 0
