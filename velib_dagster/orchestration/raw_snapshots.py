"""Asset `raw_snapshots`: one poll of the feed, kept to the byte before anything reads it.

How the feed is asked belongs to `feed/`; this module runs one poll, and tells what the answer alone shows.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from velib_dagster.feed.answers import Snapshot
from velib_dagster.feed.decode import decode_snapshot
from velib_dagster.feed.document_age import document_age_of, in_words
from velib_dagster.feed.poll import poll_once
from velib_dagster.feed.reports import DecodedPoll, PollKind
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    HEAD_ROWS,
    OWNERS,
    RAW_SNAPSHOTS,
    Metadata,
    simulated_note,
    table,
)
from velib_dagster.settings import Settings

CHECKS: Final = (
    dg.AssetCheckSpec(
        "poll_kind",
        asset=RAW_SNAPSHOTS,
        description="The feed answered, with station rows. Short and repeated polls are judged in station_events.",
    ),
    dg.AssetCheckSpec(
        "completeness",
        asset=RAW_SNAPSHOTS,
        description="The answer has as many rows as the feed says it has (total_count), and no row was refused.",
    ),
    dg.AssetCheckSpec(
        "freshness",
        asset=RAW_SNAPSHOTS,
        description="The answer's own time (its Date header) is that of this run, and its document is not old.",
    ),
)
LATE_SECONDS: Final = 120
"""A poll's time may differ from that of the run by this much."""
LATE_DOCUMENT_SECONDS: Final = 660
"""A document may be so old, or as old as its ttl allows."""


@dg.asset(
    key=RAW_SNAPSHOTS,
    group_name="feed",
    kinds={"python", "file"},
    owners=list(OWNERS),
    check_specs=CHECKS,
)
def raw_snapshots(platform: Platform) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One snapshot per poll: the feed's answer to the byte, with status and headers, on disk in `raw/`.

    A poll that brings no answer is kept as well, as what it is: the run is green and the check `poll_kind` fails.
    """
    settings = platform.settings()
    if not settings.feed.is_polled:
        words = f"nothing polled: recordings come to the feed {settings.feed.name} by velib backfill FOLDER"
        return dg.MaterializeResult(
            metadata={"outcome": words},
            check_results=[
                dg.AssetCheckResult(check_name=spec.name, passed=True, description=words) for spec in CHECKS
            ],
        )
    began = time.monotonic()
    snapshot = poll_once(settings)
    seconds = time.monotonic() - began
    decoded = decode_snapshot(snapshot, settings.feed.url)
    return dg.MaterializeResult(
        metadata=told(settings, snapshot, decoded, seconds),
        check_results=[
            poll_kind(snapshot, decoded),
            completeness(decoded),
            freshness(snapshot, datetime.now(UTC), settings.feed.max_hold_seconds),
        ],
    )


def told(settings: Settings, snapshot: Snapshot, decoded: DecodedPoll, seconds: float) -> Metadata:
    """What the UI shows of one poll: counts, refusals by reason, the file, the first stations."""
    metadata: Metadata = {
        "dagster/row_count": decoded.rows,
        "snapshot": snapshot.name,
        "poll_time": snapshot.poll_time.isoformat(),
        "kind": (decoded.failure or PollKind.USABLE).value,
        "rows": decoded.rows,
        "reports": len(decoded.reports),
        "refused": decoded.rows - len(decoded.reports),
        "bytes": sum(len(answer.body) for answer in snapshot.answers),
        "seconds": round(seconds, 3),
        "path": dg.MetadataValue.path(str(SnapshotStore(settings.raw).path(snapshot.name))),
        **simulated_note(settings),
    }
    if decoded.total_count is not None:
        metadata["total_count"] = decoded.total_count
    if decoded.refused:
        metadata["refused_by_reason"] = dg.MetadataValue.json(
            {reason.value: count for reason, count in decoded.refused.items()}
        )
    if decoded.mended:
        metadata["mended"] = dg.MetadataValue.json(decoded.mended)
    if decoded.reason or snapshot.error:
        metadata["reason"] = decoded.reason or str(snapshot.error)
    if snapshot.followed:
        metadata["followed"] = ", ".join(snapshot.followed)
    if snapshot.clock_offset_seconds is not None:
        metadata["clock_offset_seconds"] = snapshot.clock_offset_seconds
    head = table(
        {
            "station_code": report.station_code,
            "name": report.name,
            "bikes": report.bikes,
            "mechanical": report.mechanical,
            "ebike": report.ebike,
            "docks": report.docks,
            "capacity": report.capacity,
        }
        for report in decoded.reports[:HEAD_ROWS]
    )
    if head is not None:
        metadata["head"] = head
    return metadata


def poll_kind(snapshot: Snapshot, decoded: DecodedPoll) -> dg.AssetCheckResult:
    """Whether the answer alone makes the poll unusable."""
    failure = decoded.failure
    return dg.AssetCheckResult(
        check_name="poll_kind",
        passed=failure is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            "the answer has station rows"
            if failure is None
            else f"{failure.value}: {decoded.reason or snapshot.error or 'no reason given'}"
        ),
    )


def completeness(decoded: DecodedPoll) -> dg.AssetCheckResult:
    """Rows against total_count (where the format has one), and rows that were refused."""
    refused = decoded.rows - len(decoded.reports)
    total = decoded.total_count
    missing = max(0, total - decoded.rows) if total is not None else 0
    words = f"{decoded.rows} rows" if total is None else f"{decoded.rows} rows of {total}"
    return dg.AssetCheckResult(
        check_name="completeness",
        passed=decoded.rows > 0 and not missing and not refused,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{words}, {refused} refused",
        metadata={"rows": decoded.rows, "missing": missing, "refused": refused},
    )


def freshness(snapshot: Snapshot, now: datetime, max_hold_seconds: int = LATE_DOCUMENT_SECONDS) -> dg.AssetCheckResult:
    """Whether the poll's time is that of the run, by at most two minutes either way, and its document is not old."""
    age = (now - snapshot.poll_time).total_seconds()
    document = document_age_of(snapshot.answers)
    document_age = document.age(snapshot.told.now if snapshot.told else snapshot.poll_time)
    limit = timedelta(seconds=max(document.ttl_seconds, max_hold_seconds))
    old = document_age is not None and document_age > limit
    words = [f"the answer is of {snapshot.poll_time:%H:%M:%S} UTC, {age:.0f} s before the end of this run"]
    if document_age is not None and old:
        words.append(f"its document is {in_words(document_age)} old by its own words")
    if snapshot.told is not None and snapshot.told.note:
        words.append(snapshot.told.note)
    metadata: dict[str, float] = {"age_seconds": round(age, 1)}
    if document_age is not None:
        metadata["document_age_seconds"] = round(document_age.total_seconds(), 1)
    return dg.AssetCheckResult(
        check_name="freshness",
        passed=abs(age) <= LATE_SECONDS and not old,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(words),
        metadata=metadata,
    )
