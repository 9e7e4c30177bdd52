"""What the archive's checks find, on day files written by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.archive.checks import (
    Part,
    appended,
    freshness,
    holes,
    keys,
    newest_days,
    no_duplicates,
    no_overlap_no_hole,
    sequence,
)
from velib_dagster.archive.commit import Commit, FileLength, Source
from velib_dagster.archive.rows import HEADER_LINE, csv_line, utc_text
from velib_dagster.archive.writer import Archived
from velib_dagster.events.records import Spell
from velib_dagster.settings import Feed, Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
HOLD = timedelta(seconds=660)
SOURCE = Source(topic="here.spells", cluster_id="c", topic_id="t")


def at(minutes: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=minutes)


def spell(code: str, since: float, until: float, name: str = 'A, "B"\nC') -> Spell:
    return Spell(
        station_code=code,
        name=name,
        zone="Paris 16e",
        cell="881fb46645fffff",
        lat=48.86,
        lon=2.27,
        capacity=35,
        since=at(since),
        until=at(until),
        seconds=int((until - since) * 60),
        bikes=3,
        mechanical=1,
        ebike=2,
        docks=31,
        is_installed=True,
        is_renting=True,
        is_returning=True,
        last_reported=None,
    )


def part(folder: Path, *spells: Spell) -> Part:
    path = folder / "2026-03-02.csv"
    path.write_bytes(HEADER_LINE + "".join(csv_line(one) for one in spells).encode())
    return Part(path, 0, path.stat().st_size)


def test_spells_that_meet_are_in_order_however_they_lie_in_the_file(tmp_path: Path) -> None:
    found = sequence(keys(part(tmp_path, spell("2", 0, 5), spell("1", 5, 10), spell("1", 0, 5))))
    assert found.spells == 3
    assert not found.twice
    assert not found.overlaps
    assert not found.gaps


def test_a_spell_twice_an_overlap_and_a_gap_are_told_apart(tmp_path: Path) -> None:
    found = sequence(
        keys(
            part(
                tmp_path,
                *(spell("twice", 0, 5), spell("twice", 0, 6)),
                *(spell("overlap", 0, 5), spell("overlap", 4, 6)),
                *(spell("gap", 0, 5), spell("gap", 6, 7)),
            )
        )
    )
    assert [gap.station_code for gap in found.twice] == ["twice"]
    assert [gap.station_code for gap in found.overlaps] == ["overlap"]
    assert [(gap.station_code, gap.until, gap.since) for gap in found.gaps] == [
        ("gap", utc_text(at(5)), utc_text(at(6)))
    ]


def test_one_row_and_none_are_in_order(tmp_path: Path) -> None:
    assert sequence(keys(part(tmp_path, spell("1", 0, 5)))).spells == 1
    assert sequence(keys(part(tmp_path))).spells == 0


def test_a_hold_that_ran_out_is_no_hole_and_anything_else_is(tmp_path: Path) -> None:
    usable = [at(-20), at(0), at(1), at(30), at(31)]
    explained = (spell("1", 0, 12), spell("1", 30, 31))  # last report at minute 1, hold of 11 minutes
    unexplained = (spell("2", 0, 1), spell("2", 30, 31))
    found = sequence(keys(part(tmp_path, *explained, *unexplained)))
    assert len(found.gaps) == 2
    assert [gap.station_code for gap in holes(found.gaps, usable, HOLD)] == ["2"]


def test_a_gap_is_not_judged_before_its_polls_are_known(tmp_path: Path) -> None:
    gaps = sequence(keys(part(tmp_path, spell("1", 0, 20), spell("1", 30, 31)))).gaps
    assert holes(gaps, [], HOLD) == ()
    assert holes(gaps, [at(0), at(5)], HOLD) == (), "the far side is newer than the newest poll known"
    assert holes(gaps, [at(15), at(40)], HOLD) == (), "the near side may rest on a poll before the first one known"
    assert len(holes(gaps, [at(0), at(40)], HOLD)) == 1


def test_the_new_part_is_what_lies_between_two_commits(tmp_path: Path) -> None:
    whole = part(tmp_path, spell("1", 0, 5), spell("1", 5, 10))
    first = len(HEADER_LINE) + len(csv_line(spell("1", 0, 5)).encode())
    day = MIDNIGHT.date()
    before = Commit(source=SOURCE, timezone="UTC", next_offset=1, files={day: FileLength(first, 1)})
    after = Commit(source=SOURCE, timezone="UTC", next_offset=2, files={day: FileLength(whole.end, 2)})
    (new,) = appended(tmp_path, before, after)
    assert keys(new).column("since").to_pylist() == [utc_text(at(5))]
    (all_of_it,) = appended(tmp_path, None, after)
    assert all_of_it == whole
    assert list(appended(tmp_path, after, after)) == []
    assert newest_days(tmp_path, after) == {day: whole}


def test_a_hole_at_midnight_is_seen_across_two_files(tmp_path: Path) -> None:
    today = part(tmp_path, spell("1", 1, 10))
    yesterday = Part(tmp_path / "2026-03-01.csv", 0, today.end)
    yesterday.path.write_bytes(HEADER_LINE + csv_line(spell("1", -9, 0)).encode())
    yesterday = Part(yesterday.path, 0, yesterday.path.stat().st_size)
    day = MIDNIGHT.date()
    files = {day: FileLength(today.end, 1), day - timedelta(days=1): FileLength(yesterday.end, 1)}
    commit = Commit(source=SOURCE, timezone="UTC", next_offset=2, files=files)
    assert list(newest_days(tmp_path, commit).values()) == [yesterday, today]
    found = sequence(keys(yesterday, today))
    assert [(gap.until, gap.since) for gap in found.gaps] == [(utc_text(at(0)), utc_text(at(1)))]


@pytest.mark.postgres
def test_holes_are_judged_by_the_polls_in_the_database(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    settings = fresh_feed(postgres_settings, timezone="UTC")
    settings.archive.mkdir()
    whole = part(settings.archive, spell("1", 20, 31), spell("1", 40, 50), spell("2", 20, 30), spell("2", 40, 50))
    commit = Commit(source=SOURCE, timezone="UTC", next_offset=4, files={MIDNIGHT.date(): FileLength(whole.end, 4)})
    before = no_overlap_no_hole(settings, commit)
    assert before.passed
    assert "holes not judged" in before.words
    migrate(settings)
    assert "no usable poll of these days yet" in no_overlap_no_hole(settings, commit).words
    with connect(settings) as connection:
        for minute in (0, 20, 40, 50):
            connection.execute(
                "INSERT INTO polls VALUES"
                " (%s, %s, 'usable', '', 1, 1, 1, '{}', 0, 0, 1, 0, 0, NULL, NULL, NULL, NULL, '{}')",
                (f"20260302T00{minute:02}00Z-0", at(minute)),
            )
    after = no_overlap_no_hole(settings, commit)
    assert not after.passed
    assert after.figures["holes"] == 1
    assert "1 holes; station 2: 2026-03-02T00:30:00Z → 2026-03-02T00:40:00Z" in after.words


def test_new_spells_that_begin_alike_are_named(tmp_path: Path) -> None:
    right = no_duplicates([part(tmp_path, spell("1", 0, 5), spell("1", 5, 10))])
    assert (right.passed, right.words) == (True, "2 new spells, none twice")
    wrong = no_duplicates([part(tmp_path, spell("1", 0, 5), spell("1", 0, 6))])
    assert not wrong.passed
    assert wrong.words.startswith("1 of 2 new spells begin like another: station 1: ")


def test_the_archive_is_stale_a_hold_and_two_rounds_after_its_newest_spell(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, feed=Feed("here", ""))
    archived = Archived(rows=0, files=(), next_offset=1, lag=3, through=at(0))
    last = at(0) + timedelta(seconds=settings.feed.max_hold_seconds + 600)
    assert freshness(settings, archived, last).passed
    late = freshness(settings, archived, last + timedelta(seconds=1))
    assert not late.passed
    assert late.figures == {"age_seconds": settings.feed.max_hold_seconds + 601}
    assert "3 offsets wait" in late.words
