"""Assets `station_stats`, `zone_stats`, `empty_stations`, `full_stations`: statistics by day, archive → PostgreSQL.

One step computes its days once for all of them and proves them before anything is written: days whose numbers are in
doubt keep their old rows. What is computed belongs to `statistics/`, how rows are replaced to `store/days.py`.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.orchestration.due_days import first_day
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import CSV_ARCHIVE, HEAD_ROWS, OWNERS, Metadata, simulated_note, table
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
DAYS_A_RUN: Final = 14
"""So many days of a backfill are one run: it starts Java once, and ends well before its longest time."""


def statistics_assets(settings: Settings) -> dg.AssetsDefinition:
    """The four assets, in partitions of days of the feed's time zone since the archive's first.

    Raises:
        ArchiveError: the archive is damaged.
    """
    start = first_day(settings, datetime.now(UTC))

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
        partitions_def=dg.DailyPartitionsDefinition(
            start_date=start.isoformat(), timezone=settings.feed.timezone, end_offset=1
        ),
        backfill_policy=dg.BackfillPolicy.multi_run(DAYS_A_RUN),
        can_subset=True,
    )
    def statistics(
        context: dg.AssetExecutionContext, platform: Platform, spark: Spark
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
        chosen = [name for name in ASSETS if dg.AssetKey(name) in context.selected_asset_keys]
        days = [date.fromisoformat(key) for key in context.partition_keys]
        yield from _days(context, platform.settings(), spark, days, chosen)

    return statistics


@dataclass(frozen=True)
class _Computed:
    """Days in a row: their tables, and what the two other ways of computing them gave otherwise."""

    days: "Days"
    archived: dict[date, "ArchivedDay"]
    tables: dict[str, "pa.Table"]
    twin: "Differences"
    recount: "Differences"


def _days(
    context: dg.AssetExecutionContext, settings: Settings, spark: Spark, days: Sequence[date], assets: list[str]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
    # Not at the top, here and below: the runs of each minute load this module too.
    from velib_dagster.statistics.proof import stretches  # noqa: PLC0415
    from velib_dagster.store.days import TABLES as TABLES_OF  # noqa: PLC0415

    began = time.monotonic()
    names = list(dict.fromkeys(name for asset in assets for name in TABLES_OF[asset]))
    computed = [
        _compute(context, settings, spark, stretch, names)
        for stretch in stretches(settings.archive, days, settings.feed.timezone)
    ]
    doubtful = []
    for asset in assets:
        for result in _judge(asset, TABLES_OF[asset], computed):
            if not result.passed:
                doubtful.append(f"{asset}: {result.description}")
            yield result
    if doubtful:
        which = ", ".join(str(one.days) for one in computed)
        msg = f"the rows of {which} stay as they were, since numbers are in doubt: {'; '.join(doubtful)}"
        raise dg.Failure(msg, allow_retries=False)
    yield from _write(context, settings, assets, computed, began)


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
        return _Computed(days, spells.by_day, {name: empty_table(TABLES[name].columns) for name in names}, {}, {})
    frame = proof.frame_of(spark.session(), spells)
    found, by_sql = proof.computed_twice(frame, days, names)
    context.log.info("computed by DataFrames and by SQL after %.1f s", time.monotonic() - began)
    twin = proof.twin_differences(found, by_sql)
    recount = proof.recount_differences(spells, found)
    context.log.info("counted again by DuckDB after %.1f s", time.monotonic() - began)
    return _Computed(days, spells.by_day, found, twin, recount)


def _judge(asset: str, names: tuple[str, ...], computed: list[_Computed]) -> Iterator[dg.AssetCheckResult]:
    rows = sum(one.tables[name].num_rows for one in computed for name in names)
    for check, found in ((TWIN, [one.twin for one in computed]), (RECOUNT, [one.recount for one in computed])):
        wrong = [f"{name}: {words}" for differences in found for name in names for words in differences.get(name, ())]
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check,
            passed=not wrong,
            description="; ".join(wrong[:EXAMPLES]) or f"{rows} rows the same",
        )
    if WITHIN in _CHECKS_OF[asset]:
        yield _within_the_day(asset, computed)


def _within_the_day(asset: str, computed: list[_Computed]) -> dg.AssetCheckResult:
    from velib_dagster.statistics.days import day_seconds  # noqa: PLC0415

    longest, beyond = 0, []
    for one in computed:
        for row in one.tables["station_days"].group_by("day").aggregate([("seconds", "max")]).to_pylist():
            seconds, length = row["seconds_max"], day_seconds(row["day"], one.days.timezone)
            longest = max(longest, seconds)
            if seconds > length:
                beyond.append(f"{seconds} known seconds of {row['day']}, which has {length}")
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=WITHIN,
        passed=not beyond,
        description="; ".join(beyond[:EXAMPLES]) or f"at most {longest} known seconds a day",
        metadata={"longest_seconds": longest},
    )


def _write(
    context: dg.AssetExecutionContext, settings: Settings, assets: list[str], computed: list[_Computed], began: float
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    from velib_dagster.store.connect import connect  # noqa: PLC0415
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415

    migrate(settings)
    for asset in assets:
        with connect(settings) as connection:
            for one in computed:
                for day in one.days:
                    metadata = _write_day(connection, settings, asset, one, day)
                    metadata["seconds"] = round(time.monotonic() - began, 1)
                    context.add_asset_metadata(metadata, asset, day.isoformat())
        yield dg.MaterializeResult(asset_key=asset)


def _write_day(connection: "Connection", settings: Settings, asset: str, computed: _Computed, day: date) -> Metadata:
    """One asset's rows of one day replaced; returns what Dagster shows of it."""
    import pyarrow.compute as pc  # noqa: PLC0415

    from velib_dagster.orchestration.statistics_plots import plot  # noqa: PLC0415
    from velib_dagster.statistics.days import day_seconds  # noqa: PLC0415
    from velib_dagster.store.days import TABLES as TABLES_OF  # noqa: PLC0415
    from velib_dagster.store.days import own_rows, replace_day  # noqa: PLC0415

    archived, length = computed.archived[day], day_seconds(day, computed.days.timezone)
    tables = {name: own_rows(asset, computed.tables[name].filter(pc.field("day") == day)) for name in TABLES_OF[asset]}
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
