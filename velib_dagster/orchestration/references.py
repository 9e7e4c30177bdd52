"""What stands around the assets and is not computed by Dagster: the feed's Kafka topics and the MLflow server.

Specs with an address only; nothing here connects. Called by `definitions.build_defs`.
"""

from typing import Final

import dagster as dg

from velib_dagster.forecast.names import experiments_address
from velib_dagster.forecast.pages import known_pages
from velib_dagster.orchestration.shared import OWNERS, STATION_EVENTS
from velib_dagster.settings import Settings, SettingsError

NOT_STARTED: Final = "not started yet (velib up)"

TOPICS: Final = {
    "states": "One record per change of a station's state, name or place: the station as it is. Compacted; "
    "a tombstone says that a station left the network.",
    "spells": "One record per finished spell: a station held one state from `since` to `until`.",
    "polls": "One record per poll, answered or not: its kind and reason, counts, refusals, network totals.",
}
"""Name behind the feed's → grain."""


def reference_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The three topics, downstream of `station_events`, and the MLflow server, each with its address."""
    kafka = _kafka(settings)
    specs = [
        dg.AssetSpec(
            f"kafka_{name}",
            deps=[STATION_EVENTS],
            group_name="events",
            kinds={"kafka", "json"},
            owners=list(OWNERS),
            description=f"Topic `{settings.topic(name)}`. {grain}",
            metadata={
                "url": dg.MetadataValue.url(f"kafka://{kafka}/{settings.topic(name)}") if kafka else NOT_STARTED,
                "topic": settings.topic(name),
            },
        )
        for name, grain in TOPICS.items()
    ]
    mlflow = _mlflow(settings)
    specs.append(
        dg.AssetSpec(
            "mlflow",
            group_name="models",
            kinds={"mlflow"},
            owners=list(OWNERS),
            description="The MLflow server that keeps experiments and models: one run per model, rival and horizon.",
            metadata={
                "url": dg.MetadataValue.url(experiments_address(mlflow)) if mlflow else NOT_STARTED,
                **{f"compare_{target}": dg.MetadataValue.url(to) for target, to in known_pages(settings).items()},
            },
        )
    )
    return specs


def _kafka(settings: Settings) -> str | None:
    try:
        return settings.kafka
    except SettingsError:
        return None


def _mlflow(settings: Settings) -> str | None:
    try:
        return settings.mlflow_page
    except SettingsError:
        return None
