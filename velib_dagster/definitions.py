"""The one place where the code location is put together: assets, jobs, schedules, sensors, resources.

No logic of any of them belongs here. Dagster loads `defs`; tests call `build_defs` with resources of their own.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from velib_dagster.orchestration.computed_elsewhere import computed_elsewhere_sensor
from velib_dagster.orchestration.csv_archive import csv_archive
from velib_dagster.orchestration.jobs import default_jobs
from velib_dagster.orchestration.live_windows import live_specs, streaming_progress_sensor
from velib_dagster.orchestration.models import model_checks, models
from velib_dagster.orchestration.raw_snapshots import raw_snapshots
from velib_dagster.orchestration.references import reference_specs
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.retention import storage
from velib_dagster.orchestration.schedules import default_schedules
from velib_dagster.orchestration.sensors import new_snapshots_sensor
from velib_dagster.orchestration.station_events import station_events
from velib_dagster.orchestration.station_forecasts import station_forecasts
from velib_dagster.orchestration.statistics import statistics_assets
from velib_dagster.settings import Settings


def build_defs(
    resource_overrides: Mapping[str, object] | None = None, settings: Settings | None = None
) -> dg.Definitions:
    """A fresh code location; `resource_overrides` stand for the resources of the same names.

    Definitions tell which feed they serve (addresses, topics, the mark SIMULATED), by `settings` or what the
    environment says; nothing is connected to. Runs, schedules and sensors read the settings anew each time.

    Raises:
        SettingsError: the home's file or a setting can't be used; Dagster shows the message.
    """
    known = settings or Settings.load()
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        raw_snapshots,
        station_events,
        csv_archive,
        statistics_assets(known),
        models,
        station_forecasts,
        storage,
        *live_specs(known),
        *reference_specs(known),
    ]
    return dg.Definitions(
        assets=told_of_feed(assets, known),
        asset_checks=model_checks(),
        jobs=default_jobs,
        schedules=default_schedules(),
        sensors=[new_snapshots_sensor(), streaming_progress_sensor(), computed_elsewhere_sensor()],
        resources={
            "platform": Platform(),
            "spark": Spark(),
            "training_spark": Spark(driver_memory="2g"),
            **(resource_overrides or {}),
        },
        # Also for runs started by hand: a process for each step takes longer to start than the step runs.
        executor=dg.in_process_executor,
    )


def told_of_feed(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec], settings: Settings
) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets with the feed's name in their tags, and marked SIMULATED where the feed is."""
    feed = settings.feed

    def tell(spec: dg.AssetSpec) -> dg.AssetSpec:
        tags = {**spec.tags, "velib/feed": feed.name}
        if not feed.simulated:
            return spec.replace_attributes(tags=tags)
        return spec.replace_attributes(
            description=f"**SIMULATED: figures of an invented network.** {spec.description}",
            tags={**tags, "velib/simulated": "true"},
            metadata={**spec.metadata, "feed": f"SIMULATED ({feed.name})"},
        )

    return dg.map_asset_specs(tell, assets)


defs = build_defs()
