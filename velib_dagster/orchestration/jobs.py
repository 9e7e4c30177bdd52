"""The platform's jobs: one for each thing that runs by itself, in process and in a lane of its own.

What a job does stands in its asset's module. Schedules and sensors launch them; `retention.py` deletes their old runs.
"""

from typing import Final

import dagster as dg

from velib_dagster.orchestration.shared import CSV_ARCHIVE, RAW_SNAPSHOTS, STATION_EVENTS, STORAGE

POLL_FEED: Final = "poll_feed"
PRODUCER: Final = "producer"
ARCHIVE_EVENTS: Final = "archive_events"
RETENTION: Final = "retention"
STATISTICS: Final = "statistics_of_day"
MODELS: Final = "train_models"
FORECASTS: Final = "forecast_stations"
FREQUENT_JOBS: Final = (POLL_FEED, PRODUCER, ARCHIVE_EVENTS, RETENTION, FORECASTS)
"""Jobs whose runs pile up: hundreds a day, of assets without partitions. Only their runs may be deleted."""


def _tags(lane: str, max_runtime_seconds: int = 90, priority: int = 0) -> dict[str, str]:
    """The lane, of which one run goes at a time; the time after which run monitoring ends a run; who goes first.

    Runs launched from the assets' pages have priority 0: before training and statistics, after polls and producer.
    """
    return {
        "velib/lane": lane,
        "dagster/max_runtime": str(max_runtime_seconds),
        "dagster/priority": str(priority),
    }


# In process: a process for each step would take longer to start than the step runs. And no retry: the next tick is
# the retry, and a second try would only stand in its way.
poll_feed: Final = dg.define_asset_job(
    POLL_FEED,
    selection=dg.AssetSelection.assets(RAW_SNAPSHOTS),
    description="One poll of the feed, kept verbatim; every minute.",
    executor_def=dg.in_process_executor,
    tags=_tags("feed", priority=20),
)
producer: Final = dg.define_asset_job(
    PRODUCER,
    selection=dg.AssetSelection.assets(STATION_EVENTS),
    description="What is new in the raw snapshots → Kafka; as soon as there is any.",
    executor_def=dg.in_process_executor,
    tags=_tags("events", priority=20),
)
archive_events: Final = dg.define_asset_job(
    ARCHIVE_EVENTS,
    selection=dg.AssetSelection.assets(CSV_ARCHIVE),
    description="Finished spells from Kafka → CSV; every five minutes, each minute until there are any.",
    executor_def=dg.in_process_executor,
    tags=_tags("archive", priority=10),
)
retention: Final = dg.define_asset_job(
    RETENTION,
    selection=dg.AssetSelection.assets(STORAGE),
    description="Deletes what is past its days to keep; every hour. Never the archive.",
    executor_def=dg.in_process_executor,
    tags=_tags("upkeep", 600, priority=-5),
)

statistics_of_day: Final = dg.define_asset_job(
    STATISTICS,
    selection=dg.AssetSelection.groups("statistics"),
    description="The statistics of a day (partition), proved before they are written; due days by themselves.",
    executor_def=dg.in_process_executor,
    tags=_tags("statistics", 1800, priority=-10),
)

train_models: Final = dg.define_asset_job(
    MODELS,
    selection=dg.AssetSelection.assets("full_station_model", "empty_station_model"),
    description="Trains the models on the archive and compares them in MLflow; weekly, from three weeks of data on.",
    executor_def=dg.in_process_executor,
    tags=_tags("training", 7200, priority=-20),
)
forecast_stations: Final = dg.define_asset_job(
    FORECASTS,
    selection=dg.AssetSelection.assets("station_forecasts"),
    description="Each station's risk to be full or empty, and what came of the risks before; every ten minutes.",
    executor_def=dg.in_process_executor,
    tags=_tags("forecast", 300, priority=5),
)

default_jobs: Final = (
    poll_feed,
    producer,
    archive_events,
    retention,
    statistics_of_day,
    train_models,
    forecast_stations,
)
