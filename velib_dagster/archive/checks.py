"""What the CSV archive must hold: each spell once, no overlap, no hole while polls were usable.

Functions over committed bytes and the times of usable polls; nothing is written. `no_duplicates`, `no_overlap_no_hole`
and `freshness` each give a `Finding`; asset `csv_archive` shows them after each run of the writer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from velib_dagster.archive.commit import Commit, day_path
from velib_dagster.archive.errors import NO_SPELL_YET
from velib_dagster.archive.rows import HEADER_LINE, utc_text
from velib_dagster.events.records import CSV_HEADER
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from velib_dagster.archive.writer import Archived

EXAMPLES: Final = 5
ROUNDS_SECONDS: Final = 600
"""Two rounds of archiving of five minutes each; spells end every ten minutes at the latest."""


@dataclass(frozen=True)
class Finding:
    """What one check found: whether the archive is as it must be, a sentence, and figures by name."""

    passed: bool
    words: str
    figures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Bytes of one day file: from `start` to `end`, whole rows."""

    path: Path
    start: int
    end: int


class Gap(msgspec.Struct, frozen=True):
    """Two spells of one station that don't meet: the first ends at `until`, the next begins at `since` (UTC texts)."""

    station_code: str
    until: str
    since: str


class Order(msgspec.Struct, frozen=True):
    """How spells follow each other, station by station."""

    spells: int
    twice: tuple[Gap, ...]
    overlaps: tuple[Gap, ...]
    gaps: tuple[Gap, ...]


def appended(folder: Path, before: Commit | None, after: Commit) -> Iterator[Part]:
    """The parts of the day files that were committed between two states of the archive, in order of the days."""
    known = before.files if before else {}
    for day, length in sorted(after.files.items()):
        start = known[day].bytes if day in known else 0
        if length.bytes > start:
            yield Part(day_path(folder, day), start, length.bytes)


def newest_days(folder: Path, commit: Commit) -> dict[date, Part]:
    """The newest day file and the day before it, if archived, as far as they are committed.

    Two days, so that a hole at midnight is seen as well; the day before a pause of days has nothing to meet.
    """
    newest = max(commit.files, default=None)
    if newest is None:
        return {}
    days = (newest - timedelta(days=1), newest)
    return {day: Part(day_path(folder, day), 0, commit.files[day].bytes) for day in days if day in commit.files}


def keys(*parts: Part) -> "pa.Table":
    """`station_code, since, until` of the parts' rows, as texts: times of the archive sort as texts."""
    import pyarrow as pa  # noqa: PLC0415 - only a run that archives needs it

    return pa.concat_tables([_keys_of(part) for part in parts])


def _keys_of(part: Part) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 - only a run that archives needs it
    from pyarrow import csv  # noqa: PLC0415

    start = max(part.start, len(HEADER_LINE))
    with part.path.open("rb") as file:
        file.seek(start)
        content = file.read(part.end - start)
    wanted = ["station_code", "since", "until"]
    if not content:
        return pa.table({name: pa.array([], pa.string()) for name in wanted})
    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(column_names=list(CSV_HEADER)),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())),
    )


def sequence(table: "pa.Table") -> Order:
    """The places where the spells of a station don't follow one another end to start."""
    from pyarrow import compute  # noqa: PLC0415 - only a run that archives needs it

    if table.num_rows < 2:
        return Order(table.num_rows, (), (), ())
    ordered = table.sort_by([("station_code", "ascending"), ("since", "ascending"), ("until", "ascending")])
    first, second = ordered.slice(0, ordered.num_rows - 1), ordered.slice(1)
    same = compute.equal(first["station_code"], second["station_code"])
    ends_late = compute.greater(first["until"], second["since"])
    ends_early = compute.less(first["until"], second["since"])
    begins_twice = compute.equal(first["since"], second["since"])

    def where(condition: object) -> tuple[Gap, ...]:
        mask = compute.and_(same, condition)
        return tuple(
            Gap(code, until, since)
            for code, until, since in zip(
                first["station_code"].filter(mask).to_pylist(),
                first["until"].filter(mask).to_pylist(),
                second["since"].filter(mask).to_pylist(),
                strict=True,
            )
        )

    overlaps = compute.and_(ends_late, compute.invert(begins_twice))
    return Order(table.num_rows, where(begins_twice), where(overlaps), where(ends_early))


def holes(gaps: tuple[Gap, ...], usable: list[datetime], max_hold: timedelta) -> tuple[Gap, ...]:
    """The gaps that no rule explains: a spell may end before the next only `max_hold` after a usable poll.

    A gap whose far side is later than the newest poll given is left for the next time: that poll is still on its way
    to the database.
    """
    if not usable:
        return ()
    run_out = {utc_text(moment + max_hold) for moment in usable}
    newest = utc_text(max(usable))
    oldest = utc_text(min(usable) + max_hold)
    return tuple(gap for gap in gaps if gap.until not in run_out and gap.since <= newest and gap.until >= oldest)


def examples(gaps: tuple[Gap, ...]) -> str:
    """The first few in words."""
    return "; ".join(f"station {gap.station_code}: {gap.until} → {gap.since}" for gap in gaps[:EXAMPLES])


def no_duplicates(parts: Sequence[Part]) -> Finding:
    """Whether rows of the parts, those newly archived, have the same station and start twice."""
    found = [sequence(keys(part)) for part in parts]
    twice = tuple(gap for part in found for gap in part.twice)
    spells = sum(part.spells for part in found)
    words = f"{len(twice)} of {spells} new spells begin like another: {examples(twice)}"
    return Finding(not twice, words if twice else f"{spells} new spells, none twice")


def no_overlap_no_hole(settings: Settings, commit: Commit | None) -> Finding:
    """Whether the newest two days' spells follow one another; holes are judged by the polls that PostgreSQL has.

    Where PostgreSQL is away, or has no poll of these days, holes are not judged, and the words say so.
    """
    from velib_dagster.store.connect import StoreError  # noqa: PLC0415 - minute runs load this too, psycopg is slow

    parts = newest_days(settings.archive, commit) if commit else {}
    if not parts:
        return Finding(passed=True, words=NO_SPELL_YET)
    first, day = min(parts), max(parts)
    found = sequence(keys(*parts.values()))
    midnight = datetime(first.year, first.month, first.day, tzinfo=settings.feed.zone_info)
    max_hold = timedelta(seconds=settings.feed.max_hold_seconds)
    try:
        usable = _usable_polls(settings, midnight - 2 * max_hold, midnight + timedelta(days=3))
        judged = "" if usable else "; holes not judged: PostgreSQL has no usable poll of these days yet"
    except StoreError as error:
        usable, judged = [], f"; holes not judged: {error}"
    unexplained = holes(found.gaps, usable, max_hold)
    wrong = (*found.twice, *found.overlaps)
    words = [f"{found.spells} spells up to {day}: {len(wrong)} overlaps, {len(unexplained)} holes{judged}"]
    words += [examples(gaps) for gaps in (wrong, unexplained) if gaps]
    return Finding(
        not wrong and not unexplained,
        "; ".join(words),
        {"spells": found.spells, "overlaps": len(wrong), "holes": len(unexplained), "pauses": len(found.gaps)},
    )


def _usable_polls(settings: Settings, begin: datetime, end: datetime) -> list[datetime]:
    import psycopg  # noqa: PLC0415 - as in no_overlap_no_hole

    from velib_dagster.store.connect import StoreError, connect  # noqa: PLC0415
    from velib_dagster.store.reads import usable_poll_times  # noqa: PLC0415

    try:
        with connect(settings) as connection:
            return usable_poll_times(connection, begin, end)
    except psycopg.Error as error:
        msg = f"the polls of {settings.database} can't be read: {error}"
        raise StoreError(msg) from error


def freshness(settings: Settings, archived: "Archived", now: datetime) -> Finding:
    """Whether spells still arrive: the newest archived one ends a hold and two rounds ago at most."""
    if archived.through is None:
        return Finding(passed=True, words=NO_SPELL_YET)
    age = (now - archived.through).total_seconds()
    return Finding(
        age <= settings.feed.max_hold_seconds + ROUNDS_SECONDS,
        f"the newest archived spell ends {age:.0f} s ago; {archived.lag} offsets wait in Kafka",
        {"age_seconds": round(age)},
    )
