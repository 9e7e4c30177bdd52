"""Assets `station_stats`, `zone_stats`, `empty_stations`, `full_stations`: statistics by day, archive → PostgreSQL.

One step computes its days once for all of them and proves each before it is written: a day whose numbers are in doubt
keeps its old rows. What is computed belongs to `statistics/`, how rows are replaced to `store/days.py`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.orchestration.doubts import note_doubts
from velib_dagster.orchestration.due_days import first_day
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import (
    CSV_ARCHIVE,
    HEAD_ROWS,
    OWNERS,
    STATISTICS_POOL,
    Metadata,
    simulated_note,
    table,
    yield_to_polls,
)
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from velib_dagster.statistics.days import Days
    from velib_dagster.statistics.proof import ArchivedDay, Differences
    from velib_dagster.store.upsert import Connection

ASSETS: Final = {
    "station_stats": "One row per station and day, and per station and hour: sums of seconds and of seconds × value, "
    "least and most, in service. Read as view or function `station_stats` of PostgreSQL, or `velib stats stations`.",
    "zone_stats": "One row per zone and day, zone and hour, H3 cell and day: the same sums over its stations, and the "
    "time with no bike or dock anywhere. Read as `zone_stats`, `cell_stats`, or `velib stats zones`.",
    "empty_stations": "One row per time that a station was empty, in service, and per outage of all stations within "
    "300 m. Read as `empty_stations`, or `velib stats empty`.",
    "full_stations": "One row per time that a station was full, in service, and per outage of all stations within "
    "300 m. Read as `full_stations`, or `velib stats full`.",
}
TWIN: Final = "sql_gives_the_same"
RECOUNT: Final = "recount"
WITHIN: Final = "seconds_within_the_day"
_CHECKS: Final = {
    TWIN: "Spark SQL gives the same rows and keys as the DataFrame API, numbers within 1e-9.",
    RECOUNT: "A recount by DuckDB from the archive's rows agrees within 1e-9.",
    WITHIN: "No station has more known seconds than the day is long (23 h or 25 h when clocks change).",
}
_CHECKS_OF: Final = dict.fromkeys(ASSETS, (TWIN, RECOUNT)) | {"station_stats": (TWIN, RECOUNT, WITHIN)}
EXAMPLES: Final = 3
DAYS_A_RUN: Final = 7
"""So many days of a backfill are one run: it starts Java once, and ends well before its longest time."""


def day_partitions(settings: Settings, now: datetime) -> dg.DailyPartitionsDefinition:
    """Days of the feed's time zone, from the archive's first to today.

    Raises:
        ArchiveError: the archive is damaged.
    """
    start = first_day(settings, now)
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone=settings.feed.timezone, end_offset=1)


def statistics_assets(settings: Settings) -> dg.AssetsDefinition:
    """The four assets, in partitions of days of the feed's time zone since the archive's first.

    Raises:
        ArchiveError: the archive is damaged.
    """

    @dg.multi_asset(
        name="statistics",
        specs=[
            dg.AssetSpec(
                name,
                deps=[CSV_ARCHIVE],
                group_name="statistics",
                kinds={"spark", "postgres"},
                owners=list(OWNERS),
                description=description,
            )
            for name, description in ASSETS.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(check, asset=asset, description=_CHECKS[check], blocking=True)
            for asset, checks in _CHECKS_OF.items()
            for check in checks
        ],
        partitions_def=day_partitions(settings, datetime.now(UTC)),
        backfill_policy=dg.BackfillPolicy.multi_run(DAYS_A_RUN),
        can_subset=True,
        pool=STATISTICS_POOL,  # one run at a time, also of those that the assets' pages launch without the job's lane
    )
    def statistics(
        context: dg.AssetExecutionContext, platform: Platform, spark: Spark
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
        yield_to_polls()
        chosen = [name for name in ASSETS if dg.AssetKey(name) in context.selected_asset_keys]
        days = [date.fromisoformat(key) for key in context.partition_keys]
        yield from _days(context, platform.settings(), spark, days, chosen)

    return statistics


@dataclass(frozen=True)
class _Computed:
    """Days in a row: their tables, and what each check found wrong, by its name."""

    days: "Days"
    archived: dict[date, "ArchivedDay"]
    tables: dict[str, "pa.Table"]
    found: dict[str, "Differences"]

    @property
    def doubtful(self) -> set[date]:
        """Days whose rows stay as they were."""
        return {day for differences in self.found.values() for day in differences}


def _days(
    context: dg.AssetExecutionContext, settings: Settings, spark: Spark, days: Sequence[date], assets: list[str]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
    # Not at the top, here and below: the runs of each minute load this module too.
    from velib_dagster.archive.errors import ArchiveError  # noqa: PLC0415
    from velib_dagster.statistics.days import Days  # noqa: PLC0415
    from velib_dagster.statistics.proof import stretches  # noqa: PLC0415
    from velib_dagster.store.days import TABLES as TABLES_OF  # noqa: PLC0415

    began = time.monotonic()
    names = list(dict.fromkeys(name for asset in assets for name in TABLES_OF[asset]))
    computed: list[_Computed] = []
    written: dict[tuple[str, date], Metadata] = {}
    with _told_of_a_failed_run(context, written):
        waiting = list(stretches(settings.archive, days, settings.feed.timezone))
        while waiting:
            stretch = waiting.pop(0)
            try:
                computed.append(_compute(context, settings, spark, stretch, names))
            except ArchiveError as error:
                if stretch.first != stretch.last:  # a file that can't be read holds no other day up
                    waiting = [Days.one(day, stretch.timezone) for day in stretch] + waiting
                    continue
                computed.append(_unreadable(settings, stretch, names, error))
            for asset, day, metadata in _write(settings, assets, computed[-1]):
                written[asset, day] = metadata | {"seconds": round(time.monotonic() - began, 1)}
        reasons = []
        for asset in assets:
            for result in _judge(asset, TABLES_OF[asset], computed):
                if not result.passed:
                    reasons.append(f"{asset}: {result.description}")
                yield result
        if reasons:
            again = note_doubts(context, settings, [(one.archived, one.found) for one in computed])
            doubtful = ", ".join(str(day) for one in computed for day in sorted(one.doubtful))
            words = f"the rows of {doubtful} stay as they were, since numbers are in doubt"
            msg = f"{words}: {'; '.join(reasons)}. Tried again: {again}"
            raise dg.Failure(msg, allow_retries=False)
    for (asset, day), metadata in written.items():
        context.add_asset_metadata(metadata, asset, str(day))
    for asset in assets:
        yield dg.MaterializeResult(asset_key=asset)


@contextmanager
def _told_of_a_failed_run(
    context: dg.AssetExecutionContext, written: dict[tuple[str, date], Metadata]
) -> Iterator[None]:
    """A run that fails, as for one of its days, has no result: what it wrote all the same is told day by day."""
    try:
        yield
    except BaseException:
        for (asset, day), metadata in written.items():
            context.log_event(dg.AssetMaterialization(asset, partition=str(day), metadata=metadata))
        raise


def _compute(
    context: dg.AssetExecutionContext, settings: Settings, spark: Spark, days: "Days", names: list[str]
) -> _Computed:
    from velib_dagster.statistics import proof  # noqa: PLC0415
    from velib_dagster.statistics.schemas import empty_table  # noqa: PLC0415
    from velib_dagster.statistics.tables import TABLES  # noqa: PLC0415

    began = time.monotonic()
    spells = proof.read(settings.archive, days)
    context.log.info("%s spells of %s", spells.number, days)
    if not spells.number:
        return _Computed(days, spells.by_day, {name: empty_table(TABLES[name].columns) for name in names}, {})
    frame = proof.frame_of(spark.session(), spells)
    tables, by_sql = proof.computed_twice(frame, days, names)
    context.log.info("computed by DataFrames and by SQL after %.1f s", time.monotonic() - began)
    found = {
        TWIN: proof.twin_differences(days, tables, by_sql),
        RECOUNT: proof.recount_differences(spells, tables),
        WITHIN: proof.seconds_beyond(days, tables),
    }
    context.log.info("proved after %.1f s", time.monotonic() - began)
    return _Computed(days, spells.by_day, tables, found)


def _unreadable(settings: Settings, day: "Days", names: list[str], error: Exception) -> _Computed:
    """One day whose rows can't be read: nothing is computed, and every check says why."""
    from velib_dagster.archive.reader import committed_files  # noqa: PLC0415
    from velib_dagster.statistics.proof import ArchivedDay  # noqa: PLC0415
    from velib_dagster.statistics.schemas import empty_table  # noqa: PLC0415
    from velib_dagster.statistics.tables import TABLES  # noqa: PLC0415

    lengths = {file.day: file.length for file in committed_files(settings.archive)}
    archived = {day.first: ArchivedDay(0, lengths.get(day.first, 0), 0)}
    found: Differences = {day.first: {name: [str(error)] for name in names}}
    tables = {name: empty_table(TABLES[name].columns) for name in names}
    return _Computed(day, archived, tables, dict.fromkeys(_CHECKS, found))


def _judge(asset: str, names: tuple[str, ...], computed: list[_Computed]) -> Iterator[dg.AssetCheckResult]:
    rows = sum(one.tables[name].num_rows for one in computed for name in names)
    for check in _CHECKS_OF[asset]:
        wrong = [
            f"{day}, {name}: {words}"
            for one in computed
            for day, of_tables in one.found.get(check, {}).items()
            for name in names
            for words in of_tables.get(name, ())
        ]
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check,
            passed=not wrong,
            description="; ".join(wrong[:EXAMPLES]) or f"{rows} rows hold",
        )


def _write(settings: Settings, assets: list[str], computed: _Computed) -> Iterator[tuple[str, date, Metadata]]:
    """Replace the days that are in no doubt; yields each asset and day, with what Dagster shows of it."""
    from velib_dagster.store.connect import connect  # noqa: PLC0415
    from velib_dagster.store.doubts import clear_doubts  # noqa: PLC0415
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415

    migrate(settings)
    with connect(settings) as connection:
        for day in computed.days:
            if day not in computed.doubtful:
                for asset in assets:
                    yield asset, day, _write_day(connection, settings, asset, computed, day)
        if len(assets) == len(ASSETS):  # fewer prove fewer tables
            clear_doubts(connection, [day for day in computed.days if day not in computed.doubtful])


def _write_day(connection: "Connection", settings: Settings, asset: str, computed: _Computed, day: date) -> Metadata:
    """One asset's rows of one day replaced; returns what Dagster shows of it."""
    from velib_dagster.orchestration.statistics_plots import plot  # noqa: PLC0415
    from velib_dagster.statistics.days import day_seconds  # noqa: PLC0415
    from velib_dagster.statistics.proof import of_day  # noqa: PLC0415
    from velib_dagster.store.days import TABLES as TABLES_OF  # noqa: PLC0415
    from velib_dagster.store.days import own_rows, replace_day  # noqa: PLC0415

    archived, length = computed.archived[day], day_seconds(day, computed.days.timezone)
    tables = {name: own_rows(asset, of_day(computed.tables[name], day)) for name in TABLES_OF[asset]}
    written = replace_day(
        connection,
        asset,
        day,
        tables,
        day_seconds=length,
        network_seconds=archived.network_seconds,
        spells=archived.spells,
        archived_bytes=archived.archived_bytes,
    )
    metadata: Metadata = {
        "dagster/partition_row_count": sum(written.values()),
        **{f"rows_{name}": count for name, count in written.items()},
        "spells": archived.spells,
        "coverage": round(archived.network_seconds / length, 4),
        "outcome": f"{archived.spells} spells counted" if archived.spells else f"no spell of {day} is archived",
        **simulated_note(settings),
    }
    if (head := table(_head(asset, tables[TABLES_OF[asset][0]]))) is not None:
        metadata["head"] = head
    if archived.spells:
        metadata["plot"] = dg.MetadataValue.md(plot(asset, tables, computed.days.timezone))
    return metadata


_HEAD: Final = {
    "station_stats": ("station_code", "name", "zone", "seconds_in_service", "seconds_empty", "seconds_full"),
    "zone_stats": ("zone", "stations", "seconds_in_service", "seconds_empty", "seconds_full", "seconds_no_bike"),
    "empty_stations": ("station_code", "kind", "since", "until", "seconds"),
    "full_stations": ("station_code", "kind", "since", "until", "seconds"),
}
_WORST: Final = {"station_stats": "seconds_empty", "zone_stats": "seconds_empty"}


def _head(asset: str, rows: "pa.Table") -> list[dict[str, str | int]]:
    """The worst rows, a few columns of each."""
    worst = rows.sort_by([(_WORST.get(asset, "seconds"), "descending")]).slice(0, HEAD_ROWS)
    return [
        {name: value if isinstance(value, int) else str(value) for name, value in row.items()}
        for row in worst.select(list(_HEAD[asset])).to_pylist()
    ]
