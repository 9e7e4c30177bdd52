"""Assets `station_stats`, `zone_stats`, `empty_stations`, `full_stations`: one day's statistics, archive → PostgreSQL.

One step computes the day once for all of them and proves it before anything is written: a day whose numbers are in
doubt keeps its old rows. What is computed belongs to `statistics/`, how rows are replaced to `store/days.py`.
"""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.orchestration.due_days import first_day
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import CSV_ARCHIVE, HEAD_ROWS, OWNERS, Metadata, simulated_note, table
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from velib_dagster.statistics.one_day import DaySpells, Differences

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
        can_subset=True,
    )
    def statistics(
        context: dg.AssetExecutionContext, platform: Platform, spark: Spark
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
        chosen = [name for name in ASSETS if dg.AssetKey(name) in context.selected_asset_keys]
        yield from _day(context, platform.settings(), spark, date.fromisoformat(context.partition_key), chosen)

    return statistics


def _day(
    context: dg.AssetExecutionContext, settings: Settings, spark: Spark, day: date, assets: list[str]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
    # Not at the top, here and below: the runs of each minute load this module too.
    from velib_dagster.statistics import one_day  # noqa: PLC0415
    from velib_dagster.statistics.days import day_seconds  # noqa: PLC0415
    from velib_dagster.statistics.schemas import empty_table  # noqa: PLC0415
    from velib_dagster.statistics.tables import TABLES  # noqa: PLC0415
    from velib_dagster.store.days import TABLES as TABLES_OF  # noqa: PLC0415

    began = time.monotonic()
    spells = one_day.read_day(settings.archive, day, settings.feed.timezone)
    names = list(dict.fromkeys(name for asset in assets for name in TABLES_OF[asset]))
    context.log.info("%s spells of %s", spells.rows, day)
    if spells.rows:
        frame = one_day.frame_of(spark.session(), spells)
        found, by_sql = one_day.computed_twice(frame, spells.days, names)
        context.log.info("computed by DataFrames and by SQL after %.1f s", time.monotonic() - began)
        twin = one_day.twin_differences(found, by_sql)
        recount = one_day.recount_differences(spells, found)
        context.log.info("counted again by DuckDB after %.1f s", time.monotonic() - began)
    else:
        found = {name: empty_table(TABLES[name].columns) for name in names}
        twin = recount = {}
    length = day_seconds(day, settings.feed.timezone)
    doubtful = []
    for asset in assets:
        for result in _judge(asset, TABLES_OF[asset], found, twin, recount, length):
            if not result.passed:
                doubtful.append(f"{asset}: {result.description}")
            yield result
    if doubtful:
        msg = f"the rows of {day} stay as they were, since its numbers are in doubt: {'; '.join(doubtful)}"
        raise dg.Failure(msg, allow_retries=False)
    yield from _write(settings, spells, assets, found, length, began)


def _judge(
    asset: str,
    names: tuple[str, ...],
    found: dict[str, "pa.Table"],
    twin: "Differences",
    recount: "Differences",
    length: int,
) -> Iterator[dg.AssetCheckResult]:
    rows = sum(found[name].num_rows for name in names)
    for check, differences in ((TWIN, twin), (RECOUNT, recount)):
        wrong = [f"{name}: {words}" for name in names for words in differences.get(name, ())]
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check,
            passed=not wrong,
            description="; ".join(wrong[:EXAMPLES]) or f"{rows} rows the same",
        )
    if WITHIN in _CHECKS_OF[asset]:
        days = found["station_days"]
        longest = max(days["seconds"].to_pylist(), default=0)
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=WITHIN,
            passed=longest <= length,
            description=f"at most {longest} known seconds of {length}",
            metadata={"longest_seconds": longest, "day_seconds": length},
        )


def _write(
    settings: Settings, spells: "DaySpells", assets: list[str], found: dict[str, "pa.Table"], length: int, began: float
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    from velib_dagster.orchestration.statistics_plots import plot  # noqa: PLC0415
    from velib_dagster.statistics.one_day import network_seconds  # noqa: PLC0415
    from velib_dagster.store.connect import connect  # noqa: PLC0415
    from velib_dagster.store.days import TABLES as TABLES_OF  # noqa: PLC0415
    from velib_dagster.store.days import own_rows, replace_day  # noqa: PLC0415
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415

    migrate(settings)
    covered = network_seconds(spells)
    for asset in assets:
        tables = {name: own_rows(asset, found[name]) for name in TABLES_OF[asset]}
        with connect(settings) as connection:
            written = replace_day(
                connection,
                asset,
                spells.day,
                tables,
                day_seconds=length,
                network_seconds=covered,
                spells=spells.rows,
                archived_bytes=spells.archived_bytes,
            )
        first = tables[TABLES_OF[asset][0]]
        metadata: Metadata = {
            "dagster/partition_row_count": sum(written.values()),
            **{f"rows_{name}": count for name, count in written.items()},
            "spells": spells.rows,
            "coverage": round(covered / length, 4),
            "seconds": round(time.monotonic() - began, 1),
            "outcome": f"{spells.rows} spells counted" if spells.rows else f"no spell of {spells.day} is archived",
            **simulated_note(settings),
        }
        if (head := table(_head(asset, first))) is not None:
            metadata["head"] = head
        if spells.rows:
            metadata["plot"] = dg.MetadataValue.md(plot(asset, tables, settings.feed.timezone))
        yield dg.MaterializeResult(asset_key=asset, metadata=metadata)


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
