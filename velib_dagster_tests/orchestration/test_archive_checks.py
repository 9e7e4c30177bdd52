"""What the archive's checks find, on day files written by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from velib_dagster.archive.commit import Commit, FileLength, Source
from velib_dagster.archive.rows import HEADER_LINE, csv_line, utc_text
from velib_dagster.events.records import Spell
from velib_dagster.orchestration.archive_checks import Part, appended, holes, keys, newest_day, sequence

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
    assert newest_day(tmp_path, after) == (day, whole)
