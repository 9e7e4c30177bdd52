"""Assets `station_stats`, `zone_stats`, `empty_stations`, `full_stations`: statistics by day, archive → PostgreSQL.

One step computes its days once for all of them. What a refresh of days does belongs to `statistics/refresh.py`; here
its outcomes become materializations, checks, and a run that fails where days are in doubt.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

import dagster as dg

from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import (
    CSV_ARCHIVE,
    IN_DOUBT,
    OWNERS,
    STATISTICS_POOL,
    Metadata,
    yield_to_polls,
)
from velib_dagster.orchestration.statistics_metadata import told
from velib_dagster.settings import Settings
from velib_dagster.statistics.due_days import first_day
from velib_dagster.statistics.errors import StatisticsBusyError
from velib_dagster.statistics.outcome import (
    CHECKS_OF,
    RECOUNT,
    TWIN,
    WITHIN,
    DayOutcome,
    doubts_in_words,
    judge,
    tried_again,
)
from velib_dagster.statistics.turns import turn

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
_CHECKS: Final = {
    TWIN: "Spark SQL gives the same rows and keys as the DataFrame API, numbers within 1e-9.",
    RECOUNT: "A recount by DuckDB from the archive's rows agrees within 1e-9.",
    WITHIN: "No station has more known seconds than the day is long (23 h or 25 h when clocks change).",
}
DAYS_A_RUN: Final = 7
"""So many days of a backfill are one run: it starts Java once, and ends well before its longest time."""
PATIENCE_SECONDS: Final = 600
"""A run waits so long for a command that computes statistics; the job's longest time is half an hour."""
_TAG_CHARACTERS: Final = 500


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
            for asset, checks in CHECKS_OF.items()
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


def _days(
    context: dg.AssetExecutionContext, settings: Settings, spark: Spark, days: Sequence[date], assets: list[str]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:  # type: ignore[type-arg]
    from velib_dagster.statistics.refresh import refresh  # noqa: PLC0415 - the runs of each minute load this module too

    began = time.monotonic()
    outcomes: list[DayOutcome] = []
    written: dict[tuple[str, date], Metadata] = {}
    with _told_of_a_failed_run(context, written):
        try:
            with turn(settings, PATIENCE_SECONDS, context.log.info) as ours:
                for outcome in refresh(ours, days, spark.session, context.log.info, assets):
                    outcomes.append(outcome)
                    if outcome.is_written:
                        for asset, metadata in _shown(settings, assets, outcome.day).items():
                            written[asset, outcome.day] = metadata | {"seconds": round(time.monotonic() - began, 1)}
        except StatisticsBusyError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for one in judge(assets, outcomes):
            yield dg.AssetCheckResult(
                asset_key=one.asset, check_name=one.check, passed=one.passed, description=one.words
            )
        if doubts := doubts_in_words(settings, assets, outcomes):
            tag = tried_again(settings, outcomes)[:_TAG_CHARACTERS]
            context.instance.add_run_tags(context.run.run_id, {IN_DOUBT: tag})
            raise dg.Failure(doubts, allow_retries=False)
    for (asset, day), metadata in written.items():
        context.add_asset_metadata(metadata, asset, str(day))
    for asset in assets:
        yield dg.MaterializeResult(asset_key=asset)


def _shown(settings: Settings, assets: list[str], day: date) -> dict[str, Metadata]:
    """What Dagster shows of each asset's rows of a day that was just written."""
    from velib_dagster.store.connect import connect  # noqa: PLC0415 - as in _days
    from velib_dagster.store.statistics_reads import Days, computed_days  # noqa: PLC0415

    with connect(settings) as connection:
        rows = {row.asset: row for row in computed_days(connection, days=Days(day, day))}
        return {asset: told(connection, settings, rows[asset]) for asset in assets}


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
