"""Asset `csv_archive`: finished spells from Kafka → one CSV file a day.

How they are written exactly once, and how they are checked, belongs to `archive/`; this module runs the writer once and
shows what came of it and what the checks found.
"""

import csv
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.archive.checks import Finding, Part, appended, freshness, no_duplicates, no_overlap_no_hole
from velib_dagster.archive.commit import Commit, read_commit
from velib_dagster.archive.errors import NO_SPELL_YET, ArchiveHeldError
from velib_dagster.events.records import CSV_HEADER
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
            _result("no_duplicates", no_duplicates(parts)),
            _result("no_overlap_no_hole", no_overlap_no_hole(settings, after)),
            _result("freshness", freshness(settings, archived, datetime.now(UTC))),
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


def _result(name: str, found: Finding) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN if name == "freshness" else dg.AssetCheckSeverity.ERROR,
        description=found.words,
        metadata=found.figures,
    )
