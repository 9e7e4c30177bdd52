"""Assets `live_station_windows`, `live_zone_windows`, `live_cell_windows`: what the streaming job keeps in PostgreSQL.

Dagster neither starts nor stops that job: sensor `streaming_progress` reads how far it is and reports it. A policy of
freshness turns the assets yellow, then red, when reports stop.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg
import msgspec

from velib_dagster.clock import local_clock
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    OWNERS,
    STATION_EVENTS,
    Metadata,
    sensor_status,
    simulated_note,
)
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from velib_dagster.store.reads import NewestWindow, QueryProgress

REPORT_EVERY: Final = timedelta(minutes=5)
"""Reports can't be deleted from Dagster's event log, 4 kB each: one a batch would fill the disk in months."""
WARN_AFTER: Final = timedelta(minutes=10)
FAIL_AFTER: Final = timedelta(minutes=20)
QUERY: Final = "windows"

GRAINS: Final = {
    "station": "One row per station and 10-minute window: means of bikes, docks and occupancy over time in service.",
    "zone": "One row per zone (arrondissement or commune) and 10-minute window: means over its stations.",
    "cell": "One row per H3 cell of resolution 8 and 10-minute window: means over the stations near each other.",
}


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest batch that was reported, and when."""

    batch_id: int = -1
    reported_at: datetime | None = None


def live_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The three external assets; a feed that isn't polled (recordings) has no freshness to watch."""
    policy = (
        dg.FreshnessPolicy.time_window(fail_window=FAIL_AFTER, warn_window=WARN_AFTER)
        if settings.feed.is_polled
        else None
    )
    return [
        dg.AssetSpec(
            f"live_{grain}_windows",
            deps=[STATION_EVENTS],
            group_name="live",
            kinds={"spark", "postgres"},
            owners=list(OWNERS),
            description=f"{rows} View `{grain}_windows` of PostgreSQL, kept by the streaming job.",
            metadata={"relation": f"{grain}_windows", "database": settings.database},
            freshness_policy=policy,
        )
        for grain, rows in GRAINS.items()
    ]


def streaming_progress_sensor() -> dg.SensorDefinition:
    """A fresh sensor, running or stopped by what the environment says now."""

    @dg.sensor(
        name="streaming_progress",
        minimum_interval_seconds=30,
        asset_selection=[f"live_{grain}_windows" for grain in GRAINS],
        default_status=sensor_status(),
        description="Reports new batches of the streaming job, every five minutes at most.",
    )
    def streaming_progress(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        cursor = msgspec.json.decode(context.cursor, type=Cursor) if context.cursor else Cursor()
        return _evaluate(platform.settings(), cursor, datetime.now(UTC))

    return streaming_progress


def _evaluate(settings: Settings, cursor: Cursor, now: datetime) -> dg.SensorResult:
    from velib_dagster.store.connect import StoreError  # noqa: PLC0415 - as in _read

    try:
        query, newest = _read(settings)
    except StoreError as error:
        return _skip(str(error), cursor)
    if query is None:
        return _skip("the streaming job has not finished a batch yet", cursor)
    if query.batch_id == cursor.batch_id:
        seen = local_clock(settings, query.updated_at)
        return _skip(f"no batch after {query.batch_id}; the streaming job was last heard at {seen}", cursor)
    if cursor.reported_at is not None and timedelta(0) <= now - cursor.reported_at < REPORT_EVERY:
        return _skip(f"batch {query.batch_id} is new; reports go out every five minutes", cursor)
    return dg.SensorResult(
        asset_events=[
            dg.AssetMaterialization(f"live_{grain}_windows", metadata=_told(settings, query, newest[grain]))
            for grain in GRAINS
        ],
        skip_reason=f"batch {query.batch_id} reported: {query.input_rows} records",
        cursor=msgspec.json.encode(Cursor(query.batch_id, now)).decode(),
    )


def _read(settings: Settings) -> tuple["QueryProgress | None", "dict[str, NewestWindow | None]"]:
    # Not at the top: the run of each minute loads this module too, and psycopg takes a third of a second.
    import psycopg  # noqa: PLC0415

    from velib_dagster.store.connect import StoreError, connect  # noqa: PLC0415
    from velib_dagster.store.reads import newest_complete_window, progress  # noqa: PLC0415

    try:
        with connect(settings) as connection:
            query = next((row for row in progress(connection) if row.query == QUERY), None)
            return query, {grain: newest_complete_window(connection, grain) for grain in GRAINS}
    except psycopg.Error as error:
        msg = f"the progress of the streaming job can't be read from {settings.database}: {error}"
        raise StoreError(msg) from error


def _told(settings: Settings, query: "QueryProgress", newest: "NewestWindow | None") -> Metadata:
    metadata: Metadata = {
        "batch": query.batch_id,
        "input_rows": query.input_rows,
        "rows_per_second": round(query.rows_per_second, 1),
        "batch_seconds": round(query.batch_seconds, 3),
        "dagster/row_count": newest.rows if newest else 0,
        **simulated_note(settings),
    }
    if query.watermark is not None:
        metadata["watermark"] = query.watermark.isoformat()
    if newest is not None:
        metadata["newest_complete_window_end"] = newest.end.isoformat()
        if newest.in_service_share is not None:
            metadata["in_service_share"] = round(newest.in_service_share, 4)
    return metadata


def _skip(words: str, cursor: Cursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=words, cursor=msgspec.json.encode(cursor).decode())
