"""Polls that stand twice in the topic, whole or in part: the archive takes each once, whatever ends it in between."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.writer import Archived, archive_topic
from velib_dagster.events.poll_name import cut_name
from velib_dagster.events.records import Spell
from velib_dagster.feed.snapshots import name_of
from velib_dagster_tests.archive.parts import START, TopicInMemory, many, spell

UTC = "UTC"
EACH = 30
NAMES = [f"20241107T08{minute:02}00Z-0" for minute in range(20)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def of(polls: Sequence[int]) -> tuple[list[Spell], list[str]]:
    """The spells of polls by number, `EACH` of each, and their headers."""
    spells = many(EACH * len(NAMES))
    chosen = [spells[poll * EACH + number] for poll in polls for number in range(EACH)]
    return chosen, [NAMES[poll] for poll in polls for _ in range(EACH)]


def archive(folder: Path, polls: Sequence[int], **options: int) -> Archived:
    spells, names = of(polls)
    batch = options.pop("batch", 100)
    return archive_topic(folder, TopicInMemory(spells, polls=names, batch=batch), UTC, **options)


WHOLE = list(range(10))


@pytest.mark.parametrize(
    "polls",
    [
        pytest.param([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], id="a transaction twice"),
        pytest.param([0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], id="one poll after the other"),
        pytest.param([0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8, 9], id="its later part"),
        pytest.param([0, 1, 2, 3, 4, 2, 5, 6, 7, 8, 9], id="one from its middle"),
        pytest.param([*range(10), *range(10)], id="all of it, at the end"),
    ],
)
@pytest.mark.parametrize("batch", [7, 30, 1000])
@pytest.mark.parametrize("step_rows", [1, 70, 10_000])
def test_a_poll_that_comes_again_is_archived_once(
    folder: Path, polls: list[int], batch: int, step_rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    repeated = EACH * (len(polls) - len(WHOLE))
    with caplog.at_level(logging.WARNING):
        archived = archive(folder, polls, batch=batch, step_rows=step_rows)
    assert list(read_spells(folder)) == of(WHOLE)[0]
    assert (archived.rows, archived.repeated) == (EACH * len(WHOLE), repeated)
    assert f"{repeated} records of polls that are archived already came again" in caplog.text


@pytest.mark.parametrize("first", range(1, 16))
def test_whatever_run_ends_in_between_the_archive_is_that_of_one(folder: Path, first: int) -> None:
    polls = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    archive(folder, polls[:first])
    archived = archive(folder, polls)
    assert list(read_spells(folder)) == of(WHOLE)[0]
    assert read_commit(folder).poll == NAMES[9]
    assert archived.rows == EACH * (10 - len(set(polls[:first])))


def test_a_part_of_a_poll_that_comes_again_is_passed_over_and_the_rest_of_it_is_not(folder: Path) -> None:
    spells, names = of([0, 1])
    in_part = (spells[:40] + spells[30:], names[:40] + names[30:])
    archive_topic(folder, TopicInMemory(in_part[0], polls=in_part[1]), UTC, step_rows=1)
    assert list(read_spells(folder)) == spells


def test_what_a_cut_sends_is_told_from_the_poll_before_it(folder: Path) -> None:
    spells = many(90)
    names = [NAMES[0]] * 30 + [cut_name(NAMES[0])] * 30
    archive_topic(folder, TopicInMemory(spells[:60], polls=names), UTC)
    again = [*names, *names, *[NAMES[1]] * 30]
    topic = TopicInMemory(spells[:60] + spells[:60] + spells[60:], polls=again)
    assert archive_topic(folder, topic, UTC).repeated == 60
    assert list(read_spells(folder)) == spells


@pytest.mark.parametrize(("number", "following"), [(0, 1), (9, 10), (10, 11), (99, 100)])
def test_the_name_of_a_cut_sorts_behind_its_poll_and_before_the_next(number: int, following: int) -> None:
    poll, next_poll = name_of(START, number), name_of(START, following)
    assert poll < cut_name(poll) < next_poll < cut_name(next_poll) < NAMES[1]


def test_records_of_earlier_versions_have_no_poll_and_are_archived_as_they_come(folder: Path) -> None:
    spells = many(300)
    archive_topic(folder, TopicInMemory(spells[:100]), UTC, step_rows=10)
    commit = json.loads((folder / "commit.json").read_bytes())
    del commit["poll"]
    (folder / "commit.json").write_text(json.dumps(commit))
    names = [None] * 200 + [NAMES[3]] * 100
    archived = archive_topic(folder, TopicInMemory(spells, polls=names), UTC, step_rows=10)
    assert (archived.rows, archived.repeated) == (200, 0)
    assert list(read_spells(folder)) == spells


def test_a_record_that_only_closes_a_transaction_is_no_spell(folder: Path) -> None:
    spells = [spell(START), None, spell(START, station_code="2"), None]
    archived = archive_topic(folder, TopicInMemory(spells, marked=100), UTC)
    assert (archived.rows, archived.next_offset, archived.repeated) == (2, 4, 0)
    assert archive_topic(folder, TopicInMemory(spells, marked=100), UTC).rows == 0
