"""Asset `csv_archive`: finished spells from Kafka → one CSV file a day.

How they are written exactly once belongs to `archive/`; this module runs the writer once, lets `archive_checks.py`
judge what is there, and tells.
"""

import csv
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.archive.commit import Commit, read_commit
from velib_dagster.archive.errors import NO_SPELL_YET, ArchiveHeldError
from velib_dagster.events.records import CSV_HEADER
from velib_dagster.orchestration.archive_checks import (
    Part,
    appended,
    examples,
    holes,
    keys,
    newest_days,
    sequence,
)
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    CSV_ARCHIVE,
    HEAD_ROWS,
    OWNERS,
    STATION_EVENTS,
    Metadata,
    simulated_note,
    table,
)
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from velib_dagster.archive.writer import Archived

CHECKS: Final = (
    dg.AssetCheckSpec(
        "no_duplicates",
        asset=CSV_ARCHIVE,
        description="No two spells of the newly archived part have the same station and start.",
    ),
    dg.AssetCheckSpec(
        "no_overlap_no_hole",
        asset=CSV_ARCHIVE,
        description="A station's spells of the newest two days neither overlap nor leave a hole amid usable polls.",
    ),
    dg.AssetCheckSpec(
        "freshness",
        asset=CSV_ARCHIVE,
        description="The newest archived spell ends no longer ago than a hold and two rounds of archiving.",
    ),
)
ROUNDS_SECONDS: Final = 600
"""Two rounds of archiving of five minutes each; spells end every ten minutes at the latest."""
HEAD_COLUMNS: Final = ("station_code", "name", "zone", "since", "until", "seconds", "bikes", "docks")
HEAD_BYTES: Final = 8192


@dg.asset(
    key=CSV_ARCHIVE,
    deps=[STATION_EVENTS],
    group_name="archive",
    kinds={"kafka", "csv"},
    owners=list(OWNERS),
    check_specs=CHECKS,
)
def csv_archive(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per finished spell (a station held one state from `since` to `until`), one file per day of the feed.

    Each spell is archived exactly once. Where another process is writing the archive just now, this run ends quietly.
    """
    # Not at the top: the polls' runs load this module too, and need no Kafka client.
    from velib_dagster.archive.writer import archive_once  # noqa: PLC0415

    settings = platform.settings()
    began = time.monotonic()
    before = read_commit(settings.archive)
    try:
        archived = archive_once(settings)
    except ArchiveHeldError as error:
        context.log.info(str(error))
        words = f"nothing done: {error}"
        return dg.MaterializeResult(
            metadata={"outcome": words, **simulated_note(settings)},
            check_results=[
                dg.AssetCheckResult(check_name=spec.name, passed=True, description=words) for spec in CHECKS
            ],
        )
    seconds = time.monotonic() - began
    after = read_commit(settings.archive)
    parts = [] if after is None else list(appended(settings.archive, before, after))
    return dg.MaterializeResult(
        metadata=told(settings, archived, after, parts, seconds),
        check_results=[
            no_duplicates(parts),
            no_overlap_no_hole(settings, after),
            freshness(settings, archived, datetime.now(UTC)),
        ],
    )


def told(
    settings: Settings, archived: "Archived", commit: Commit | None, parts: list[Part], seconds: float
) -> Metadata:
    """What the UI shows of one run: rows, files, what waits, the first rows of the newly archived part."""
    if commit is None or not commit.rows:
        outcome = NO_SPELL_YET
    elif archived.rows:
        outcome = f"{archived.rows} spells archived"
    else:
        outcome = "nothing new: the archive has all finished spells"
    if archived.unreadable:
        outcome += f"; {archived.unreadable} records that can't be read set aside (velib set-aside lists them)"
    if archived.repeated:
        outcome += f"; {archived.repeated} records of polls that came again passed over"
    metadata: Metadata = {
        "dagster/row_count": commit.rows if commit else 0,
        "outcome": outcome,
        "rows": archived.rows,
        "unreadable": archived.unreadable,
        "bytes": sum(part.end - part.start for part in parts),
        "archive_bytes": sum(length.bytes for length in commit.files.values()) if commit else 0,
        "next_offset": archived.next_offset,
        "lag": archived.lag,
        "seconds": round(seconds, 3),
        "path": dg.MetadataValue.path(str(parts[-1].path if parts else settings.archive)),
        **simulated_note(settings),
    }
    if archived.through is not None:
        metadata["through"] = archived.through.isoformat()
    if parts and (head := table(head_rows(parts[-1]))) is not None:
        metadata["head"] = head
    return metadata


def head_rows(part: Part) -> list[dict[str, str]]:
    """The first rows of a part, a few columns of each, as the file has them."""
    with part.path.open("rb") as file:
        file.seek(part.start)
        text = file.read(min(HEAD_BYTES, part.end - part.start)).decode(errors="ignore")
    rows = [row for row in csv.reader(text.splitlines()) if len(row) == len(CSV_HEADER)]
    named = [dict(zip(CSV_HEADER, row, strict=True)) for row in rows if tuple(row) != CSV_HEADER]
    return [{name: row[name] for name in HEAD_COLUMNS} for row in named[:HEAD_ROWS]]


def no_duplicates(parts: list[Part]) -> dg.AssetCheckResult:
    """Whether the newly archived rows have the same station and start twice."""
    found = [sequence(keys(part)) for part in parts]
    twice = tuple(gap for part in found for gap in part.twice)
    spells = sum(part.spells for part in found)
    return dg.AssetCheckResult(
        check_name="no_duplicates",
        passed=not twice,
        description=f"{len(twice)} of {spells} new spells begin like another: {examples(twice)}"
        if twice
        else f"{spells} new spells, none twice",
    )


def no_overlap_no_hole(settings: Settings, commit: Commit | None) -> dg.AssetCheckResult:
    """Whether the newest two days' spells follow one another; holes are judged by the polls that PostgreSQL has."""
    name = "no_overlap_no_hole"
    # Not at the top: the run of each minute loads this module too, and psycopg takes a third of a second.
    from velib_dagster.orchestration.polls import usable_poll_times  # noqa: PLC0415
    from velib_dagster.store.connect import StoreError  # noqa: PLC0415

    parts = newest_days(settings.archive, commit) if commit else {}
    if not parts:
        return dg.AssetCheckResult(check_name=name, passed=True, description=NO_SPELL_YET)
    first, day = min(parts), max(parts)
    found = sequence(keys(*parts.values()))
    midnight = datetime(first.year, first.month, first.day, tzinfo=settings.feed.zone_info)
    max_hold = timedelta(seconds=settings.feed.max_hold_seconds)
    try:
        usable = usable_poll_times(settings, midnight - 2 * max_hold, midnight + timedelta(days=3))
        judged = "" if usable else "; holes not judged: PostgreSQL has no usable poll of these days yet"
    except StoreError as error:
        usable, judged = [], f"; holes not judged: {error}"
    unexplained = holes(found.gaps, usable, max_hold)
    wrong = (*found.twice, *found.overlaps)
    words = [f"{found.spells} spells up to {day}: {len(wrong)} overlaps, {len(unexplained)} holes{judged}"]
    words += [examples(gaps) for gaps in (wrong, unexplained) if gaps]
    return dg.AssetCheckResult(
        check_name=name,
        passed=not wrong and not unexplained,
        description="; ".join(words),
        metadata={
            "spells": found.spells,
            "overlaps": len(wrong),
            "holes": len(unexplained),
            "pauses": len(found.gaps),
        },
    )


def freshness(settings: Settings, archived: "Archived", now: datetime) -> dg.AssetCheckResult:
    """Whether spells still arrive: the newest archived one ends a hold and two rounds ago at most."""
    if archived.through is None:
        return dg.AssetCheckResult(check_name="freshness", passed=True, description=NO_SPELL_YET)
    age = (now - archived.through).total_seconds()
    return dg.AssetCheckResult(
        check_name="freshness",
        passed=age <= settings.feed.max_hold_seconds + ROUNDS_SECONDS,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"the newest archived spell ends {age:.0f} s ago; {archived.lag} offsets wait in Kafka",
        metadata={"age_seconds": round(age)},
    )
