"""Sensor `computed_elsewhere`: days whose statistics a command computed are shown as materialized, with their checks.

What was written, and what is in doubt, is PostgreSQL's to tell; what Dagster knows of already, because a run of its own
computed it, is left out. A row is written only where every check of its day passed.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg
import msgspec

from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import GOING, Metadata, reports_status
from velib_dagster.orchestration.statistics_metadata import told
from velib_dagster.settings import Settings
from velib_dagster.statistics.outcome import ASSETS, CHECKS_OF, check_and_table, rows_hold

if TYPE_CHECKING:
    from velib_dagster.store.doubts import DayInDoubt
    from velib_dagster.store.statistics_reads import ComputedDay

ROWS_A_LOOK: Final = 20
"""Assets' days of one look, five days of four assets: it ends long before Dagster's patience of a minute."""
COMPUTED_AT: Final = "computed_at"
"""Metadata by which a materialization is told to be of this very write, whatever the clocks said."""

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was looked at: the newest write of a day, and the newest try of a day in doubt."""

    computed_at: datetime | None = None
    tried_at: datetime | None = None


def computed_elsewhere_sensor() -> dg.SensorDefinition:
    """A fresh sensor; it runs wherever a platform does, also where no feed is polled."""

    @dg.sensor(
        name="computed_elsewhere",
        minimum_interval_seconds=10,
        asset_selection=list(ASSETS),
        default_status=reports_status(),
        description="Reports days whose statistics velib backfill computed, five at a time, with their checks.",
    )
    def computed_elsewhere(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        cursor = msgspec.json.decode(context.cursor, type=Cursor) if context.cursor else Cursor()
        return _evaluate(platform.settings(), context.instance, cursor, datetime.now(UTC))

    return computed_elsewhere


def _evaluate(settings: Settings, instance: dg.DagsterInstance, cursor: Cursor, now: datetime) -> dg.SensorResult:
    # Not at the top: the run of each minute loads this module too, and psycopg takes a third of a second.
    import psycopg  # noqa: PLC0415

    from velib_dagster.store.computed_days import computed_after  # noqa: PLC0415
    from velib_dagster.store.connect import StoreError, connect  # noqa: PLC0415
    from velib_dagster.store.doubts import days_in_doubt  # noqa: PLC0415

    if run := _run_going(instance):
        return _skip(f"run {run[:8]} computes statistics, and tells of its days itself", cursor)
    since = _not_ahead(cursor, now)
    try:
        with connect(settings) as connection:
            rows = computed_after(connection, since.computed_at, ROWS_A_LOOK)
            doubts = [row for row in days_in_doubt(connection) if _is_new(row.tried_at, since.tried_at, now)]
            events = [
                *(event for row in _untold(instance, rows) for event in _events(row, told(connection, settings, row))),
                *_doubts(instance, doubts),
            ]
    except (StoreError, psycopg.Error) as error:
        return _skip(str(error).strip(), cursor)
    reached = Cursor(
        _newest(since.computed_at, (row.computed_at for row in rows), now),
        _newest(since.tried_at, (row.tried_at for row in doubts), now),
    )
    if not events:
        return _skip("Dagster knows of every day that is computed", reached)
    days = sorted({event.partition or str(event.metadata["day"].value) for event in events})
    return dg.SensorResult(
        asset_events=events, skip_reason=f"reported: {', '.join(days)}", cursor=msgspec.json.encode(reached).decode()
    )


def _run_going(instance: dg.DagsterInstance) -> str | None:
    """Id of a run of Dagster that computes statistics, by the job or from the assets' pages."""
    keys = {dg.AssetKey(asset) for asset in ASSETS}
    for run in instance.get_runs(dg.RunsFilter(statuses=list(GOING))):
        if run.job_name == jobs.STATISTICS or keys & (run.asset_selection or set()):
            return run.run_id
    return None


def _not_ahead(cursor: Cursor, now: datetime) -> Cursor:
    """The cursor, begun anew where it comes from a clock that was ahead: what Dagster knows is left out anyway."""
    ahead = any(moment is not None and moment > now for moment in (cursor.computed_at, cursor.tried_at))
    return Cursor() if ahead else cursor


def _is_new(tried_at: datetime, since: datetime | None, now: datetime) -> bool:
    """Whether a day was tried after what was looked at. A try of a clock that was ahead is done anew at once."""
    return tried_at <= now and (since is None or tried_at > since)


def _newest(before: datetime | None, moments: Iterable[datetime], now: datetime) -> datetime | None:
    return max((*((before,) if before else ()), *(min(moment, now) for moment in moments)), default=None)


def _untold(instance: dg.DagsterInstance, rows: Sequence["ComputedDay"]) -> Iterator["ComputedDay"]:
    """The rows that no materialization tells of: none since they were written, and none of this very write."""
    for row in rows:
        found = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(row.asset), asset_partitions=[str(row.day)]), limit=1
        ).records
        if not any(
            datetime.fromtimestamp(record.timestamp, UTC) >= row.computed_at
            or _text(record.asset_materialization, COMPUTED_AT) == row.computed_at.isoformat()
            for record in found
        ):
            yield row


def _events(row: "ComputedDay", metadata: Metadata) -> Iterator[Event]:
    """A day's materialization, and the checks that it passed before it was written."""
    yield dg.AssetMaterialization(row.asset, partition=str(row.day), metadata=metadata)
    words = rows_hold(int(str(metadata["dagster/partition_row_count"])))
    for check in CHECKS_OF[row.asset]:
        yield _evaluation(row.asset, check, row.day, words, passed=True)


def _doubts(instance: dg.DagsterInstance, doubts: Sequence["DayInDoubt"]) -> Iterator[Event]:
    """The check that found something wrong with a day, for the assets that it concerns."""
    from velib_dagster.store.days import TABLES  # noqa: PLC0415 - as in _evaluate

    for doubt in doubts:
        check, table = check_and_table(doubt.reason)
        for asset in ASSETS:
            if (
                check in CHECKS_OF[asset]
                and table in TABLES[asset]
                and not _is_evaluated(instance, asset, check, doubt)
            ):
                yield _evaluation(asset, check, doubt.day, f"{doubt.day}: {doubt.reason}", passed=False)


def _is_evaluated(instance: dg.DagsterInstance, asset: str, check: str, doubt: "DayInDoubt") -> bool:
    """Whether the check was told since the day was tried, as by the run that tried it."""
    record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(dg.AssetKey(asset), check))
    return record is not None and record.event is not None and record.event.timestamp >= doubt.tried_at.timestamp()


def _evaluation(asset: str, check: str, day: date, words: str, *, passed: bool) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check,
        passed=passed,
        description=words,
        metadata={"day": str(day)},
        blocking=True,
    )


def _text(materialization: dg.AssetMaterialization | None, name: str) -> str | None:
    value = materialization.metadata.get(name) if materialization else None
    return value.value if isinstance(value, dg.TextMetadataValue) else None


def _skip(words: str, cursor: Cursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=words, cursor=msgspec.json.encode(cursor).decode())
