"""Asset `station_events`: raw snapshots that Kafka has not seen yet → the feed's three topics.

What a poll changes, and what is sent, belongs to `events/`; this module runs the producer once and tells what it did.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.events.records import PollRecord, StationState
from velib_dagster.feed.document_age import in_words
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    HEAD_ROWS,
    OWNERS,
    PUBLISHED_THROUGH,
    RAW_SNAPSHOTS,
    STATION_EVENTS,
    TAKEN_OVER,
    Metadata,
    simulated_note,
    table,
    text_of,
)
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from velib_dagster.events.producer import Published

CHECKS: Final = (
    dg.AssetCheckSpec(
        "poll_kind",
        asset=STATION_EVENTS,
        description="All polls of this run were usable (or repaired): an unusable one gives no station events.",
    ),
    dg.AssetCheckSpec(
        "completeness",
        asset=STATION_EVENTS,
        description="Each usable poll gave as many valid reports as the feed says it has rows (total_count).",
    ),
    dg.AssetCheckSpec(
        "no_duplicates",
        asset=STATION_EVENTS,
        description="One record for each station that changed, none for those that did not.",
    ),
    dg.AssetCheckSpec(
        "freshness",
        asset=STATION_EVENTS,
        description="The last usable poll is no older than a hold: the states of stations are still known.",
    ),
)


@dg.asset(
    key=STATION_EVENTS,
    deps=[RAW_SNAPSHOTS],
    group_name="events",
    kinds={"python", "kafka"},
    owners=list(OWNERS),
    check_specs=CHECKS,
)
def station_events(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One record per change of a station, one per finished spell, one per poll: sent to Kafka, each poll exactly once.

    The producer reads from Kafka what is already there; with nothing new it sends nothing and the run is green.
    Where a newer producer takes over in the middle (another run, `velib produce`), this one ends quietly.
    """
    # Not at the top: the polls' runs load this module too, and the Kafka client and H3 take half a second.
    from velib_dagster.events.producer import publish  # noqa: PLC0415

    settings = platform.settings()
    # Read before sending: a snapshot that arrives meanwhile may or may not be among those sent.
    waiting_at_start = SnapshotStore(settings.raw).newest()
    records: list[PollRecord] = []
    published = publish(settings, on_poll=records.append)
    words = told_in_words(published)
    context.log.info(words)
    through = published_through(context.instance, published, records, waiting_at_start)
    return dg.MaterializeResult(
        metadata=told(settings, published, records, through, words),
        check_results=[
            poll_kind(records),
            completeness(records),
            no_duplicates(published, records),
            freshness(settings, published, datetime.now(UTC)),
        ],
    )


def published_through(
    instance: dg.DagsterInstance,
    published: "Published",
    records: list[PollRecord],
    waiting_at_start: str | None,
) -> str | None:
    """The newest snapshot that Kafka surely has after this run, None if nothing is known."""
    if records:
        return records[-1].snapshot
    if published.fenced:
        return text_of(instance.get_latest_materialization_event(STATION_EVENTS), PUBLISHED_THROUGH)
    return waiting_at_start


def told_in_words(published: "Published") -> str:
    """What the run did, in one sentence."""
    if published.fenced:
        return "another producer of this feed took over; what this run had not sent, that one sends"
    held = f"{published.held} polls wait until later ones confirm what their clocks say" if published.held else ""
    if not published.polls:
        return held or "nothing new: Kafka has all snapshots"
    sent = f"{published.polls} polls: {published.states} changed states, {published.spells} spells sent"
    return f"{sent}; {held}" if held else sent


def told(
    settings: Settings,
    published: "Published",
    records: list[PollRecord],
    through: str | None,
    words: str,
) -> Metadata:
    """What the UI shows of one run: sums over its polls, the newest poll, the first changed stations."""
    refused: Counter[str] = Counter()
    for record in records:
        refused.update(record.refused)
    metadata: Metadata = {
        "dagster/row_count": sum(record.changed + record.spells + 1 for record in records),
        "outcome": words,
        "polls": len(records),
        "changed": sum(record.changed for record in records),
        "unchanged": sum(record.unchanged for record in records),
        "left": published.left,
        "spells": sum(record.spells for record in records),
        "stale": sum(record.stale for record in records),
        "refused": sum(refused.values()),
        "seconds": round(published.seconds, 3),
        TAKEN_OVER: published.fenced,
        **simulated_note(settings),
    }
    if published.kinds:
        metadata["kinds"] = dg.MetadataValue.json({str(kind): n for kind, n in published.kinds.items()})
    if refused:
        metadata["refused_by_reason"] = dg.MetadataValue.json(dict(refused))
    if records:
        last = records[-1]
        metadata |= {"rows": last.rows, "poll_time": last.time.isoformat(), "last_kind": last.kind.value}
        if last.total_count is not None:
            metadata["total_count"] = last.total_count
        if last.totals is not None:
            metadata |= {"network_bikes": last.totals.bikes, "network_docks": last.totals.docks}
    if through is not None:
        metadata[PUBLISHED_THROUGH] = through
    if (head := table(state_row(state) for state in published.head[:HEAD_ROWS])) is not None:
        metadata["head"] = head
    return metadata


def state_row(state: StationState) -> dict[str, str | int | None]:
    """One changed station as the table of the head shows it."""
    return {
        "station_code": state.station_code,
        "name": state.name,
        "zone": state.zone,
        "since": state.since.isoformat(),
        "bikes": state.bikes,
        "mechanical": state.mechanical,
        "ebike": state.ebike,
        "docks": state.docks,
    }


def poll_kind(records: list[PollRecord]) -> dg.AssetCheckResult:
    """Names each unusable poll of the run with its reason (the newest three)."""
    bad = [record for record in records if not record.kind.usable]
    words = "; ".join(f"{r.time:%H:%M:%S} UTC {r.kind.value}: {r.reason}" for r in bad[-3:])
    return dg.AssetCheckResult(
        check_name="poll_kind",
        passed=not bad,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(bad)} of {len(records)} polls unusable: {words}"
        if bad
        else f"{len(records)} polls, all usable",
    )


def completeness(records: list[PollRecord]) -> dg.AssetCheckResult:
    """Valid reports against total_count, over the run's usable polls."""
    counted = [r for r in records if r.kind.usable and r.total_count is not None]
    short = [r for r in counted if r.reports < (r.total_count or 0)]
    worst = min(short, key=lambda r: r.reports, default=None)
    return dg.AssetCheckResult(
        check_name="completeness",
        passed=not short,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(short)} of {len(counted)} polls lack reports, "
        f"the worst has {worst.reports} of {worst.total_count}"
        if worst
        else f"{len(counted)} usable polls with a total_count, all complete",
    )


def no_duplicates(published: "Published", records: list[PollRecord]) -> dg.AssetCheckResult:
    """What was sent against what changed: an unchanged station must send nothing."""
    changed = sum(record.changed for record in records)
    odd = [r.snapshot for r in records if r.kind.usable and r.changed + r.unchanged != r.reports]
    names_twice = len(records) - len({record.snapshot for record in records})
    return dg.AssetCheckResult(
        check_name="no_duplicates",
        passed=published.fenced or (published.states == changed and not odd and not names_twice),
        description=f"{published.states} states sent for {changed} changed stations, "
        f"{sum(r.unchanged for r in records)} unchanged and not sent, {names_twice} polls sent twice",
        metadata={"odd_polls": dg.MetadataValue.json(odd[:5])},
    )


def freshness(settings: Settings, published: "Published", now: datetime) -> dg.AssetCheckResult:
    """Whether station states still hold: at present, or at the newest poll where the feed is a folder of recordings."""
    last = published.last
    if last is None:
        return dg.AssetCheckResult(
            check_name="freshness", passed=True, description="nothing sent by this run, nothing to judge"
        )
    usable = last.last_usable
    age = ((now if settings.feed.is_polled else last.time) - usable.time).total_seconds() if usable else None
    old, words = last.old_document(settings.feed.max_hold_seconds), []
    if age is None:
        words.append("no usable poll so far")
    else:
        words.append(f"the newest poll is of {last.time:%H:%M:%S} UTC; the last usable one is {age:.0f} s old")
    if last.document_age_seconds is not None and old:
        document_age = in_words(timedelta(seconds=last.document_age_seconds))
        words.append(f"the feed's document is {document_age} old by its own words")
    if last.frozen_since is not None:
        words.append(f"no station has changed since {last.frozen_since:%Y-%m-%d %H:%M:%S} UTC: the feed is frozen")
    return dg.AssetCheckResult(
        check_name="freshness",
        passed=age is not None and age <= settings.feed.max_hold_seconds and not old and last.frozen_since is None,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(words),
    )
