"""Assets `full_station_model`, `empty_station_model`: models trained on the archive, compared and kept in MLflow.

One step trains what is asked for and says who became champion; a check holds the champions to their rivals on the
newest days. What is trained and how belongs to `forecast/`.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

import dagster as dg
from pydantic import Field

from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import (
    CSV_ARCHIVE,
    OWNERS,
    TRAINING_POOL,
    Metadata,
    simulated_note,
    table,
    yield_to_polls,
)

if TYPE_CHECKING:
    from velib_dagster.forecast.request import Request
    from velib_dagster.forecast.run import Report

TARGETS: Final = {"full_station_model": "full", "empty_station_model": "empty"}
CHECK: Final = "champion_beats_rivals"
_DESCRIPTIONS: Final = {
    "full_station_model": "One MLflow run per model and rival and horizon: will a station be full? The best that beats "
    "its rivals becomes `FEED.station-full@champion`, the platform's own.",
    "empty_station_model": "One MLflow run per model and rival and horizon: will a station be empty? The best that "
    "beats its rivals becomes `FEED.station-empty@champion`, the platform's own.",
}


class Training(dg.Config):
    """What is trained on what."""

    days: str = Field("", description="First and last day, 2024-11-06..2024-11-10; nothing: the newest 28")
    horizons: str = Field("5,15,30,60", description="Minutes ahead, separated by commas")
    models: str = Field("", description="Models by name, separated by commas; nothing: all")
    station_code: str = Field("", description="One station's data alone; nothing: all stations")
    one_station: bool = Field(False, description="One station: the one with the most full (empty) time in training")
    validate_from: str = Field("", description="First day to validate on; nothing: as the days say")
    test_from: str = Field("", description="First day to test on; nothing: as the days say")
    seed: int = Field(1, description="The same seed and data give the same numbers")

    def request(self, targets: list[str]) -> "Request":
        """What `forecast.run` is asked for.

        Raises:
            VelibError: a knob can't be used; the message says which.
        """
        from velib_dagster.forecast.request import request_from_text  # noqa: PLC0415 - with all below: minute runs
        from velib_dagster.statistics.days import days_from_text  # noqa: PLC0415

        days = days_from_text(self.days) if self.days else None
        return request_from_text(
            target=targets[0] if len(targets) == 1 else "both",
            horizons=self.horizons,
            days=(days.first, days.last) if days else None,
            validate_from=self.validate_from or None,
            test_from=self.test_from or None,
            station=self.station_code or None,
            one_station=self.one_station,
            models=self.models or None,
            seed=self.seed,
        )


@dg.multi_asset(
    name="models",
    specs=[
        dg.AssetSpec(
            name,
            deps=[CSV_ARCHIVE],
            group_name="models",
            kinds={"spark", "mlflow"},
            owners=list(OWNERS),
            description=description,
        )
        for name, description in _DESCRIPTIONS.items()
    ],
    can_subset=True,
    pool=TRAINING_POOL,
)
def models(
    context: dg.AssetExecutionContext, config: Training, platform: Platform, training_spark: Spark
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Train, compare, promote; one materialization per event."""
    from velib_dagster.forecast.run import run  # noqa: PLC0415
    from velib_dagster.settings import VelibError  # noqa: PLC0415

    yield_to_polls()
    began = time.monotonic()
    settings = platform.settings()
    chosen = [name for name in TARGETS if dg.AssetKey(name) in context.selected_asset_keys]
    try:
        request = config.request([TARGETS[name] for name in chosen])
        report = run(settings, request, training_spark.session, context.log.info)
    except VelibError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for name in chosen:
        yield dg.MaterializeResult(
            asset_key=name,
            metadata={
                **told(report, TARGETS[name]),
                "seconds": round(time.monotonic() - began, 1),
                **simulated_note(settings),
            },
        )


def told(report: "Report", target: str) -> Metadata:
    """What the page of the asset shows of a training: champions, days, rows, the comparison, the way to MLflow."""
    from velib_dagster.forecast.page import said  # noqa: PLC0415
    from velib_dagster.forecast.run import figures  # noqa: PLC0415

    outcomes = [one for one in report.outcomes if one.task.target == target]
    rows = [
        {name: value if isinstance(value, int | float) or value is None else str(value) for name, value in row.items()}
        for one in outcomes
        for row in figures(one)
    ]
    source = report.source
    address = next(url for found, url in report.experiments.items() if found == target)
    promoted = [one for one in report.promoted if f".station-{target}" in one.registered]
    metadata: Metadata = {
        "experiment": dg.MetadataValue.url(address),
        "champions": ", ".join(f"{one.registered} version {one.version}: {one.model}" for one in promoted) or "none",
        "outcome": dg.MetadataValue.md("\n\n".join(f"{one.horizon_name}: {said(one)}" for one in outcomes)),
        "days": f"{source.days[0]} to {source.days[-1]}, {len(source.days)} with rows",
        "rows": sum(outcomes[0].rows.values()),
        "step_seconds": source.step_seconds,
        "data": str(source.fingerprint["digest"]),
    }
    if report.worth:
        metadata["worth"] = report.worth
    if (comparison := table(rows)) is not None:
        metadata["comparison"] = comparison
    return metadata


def model_checks() -> list[dg.AssetChecksDefinition]:
    """For each model: its champions against their rivals on the newest complete days."""
    return [_check(name, target) for name, target in TARGETS.items()]


def _check(asset: str, target: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name=CHECK,
        pool=TRAINING_POOL,
        description="On the newest complete days each champion beats the score −count in PR-AUC and persistence in F1.",
    )
    def champion_beats_rivals(platform: Platform, training_spark: Spark) -> dg.AssetCheckResult:
        from velib_dagster.forecast.task import Target  # noqa: PLC0415
        from velib_dagster.forecast.watch import champions, newest_days, watch  # noqa: PLC0415

        yield_to_polls()
        settings = platform.settings()
        chosen = champions(settings, Target(target))
        today = datetime.now(settings.feed.zone_info).date()
        days = newest_days(settings, today)
        if not chosen or not days:
            words = "no model has earned the alias champion" if days else "the archive has no complete day"
            return dg.AssetCheckResult(passed=True, description=f"nothing to compare: {words}")
        found = watch(training_spark.session(), settings, chosen, days)
        worse = [words for one in found for words in one.worse]
        held = ", ".join(
            f"{one.champion.horizon} min: PR-AUC {one.own.pr_auc:.3f} (−count {one.ranked.pr_auc:.3f}), "
            f"F1 {one.own.f1:.3f} (persistence {one.persistence.f1:.3f})"
            for one in found
        )
        return dg.AssetCheckResult(
            passed=not worse,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(worse) or held or "no event on these days",
            metadata={
                "days": f"{days[0]} to {days[-1]}",
                **{f"pr_auc_{one.champion.horizon}": round(one.own.pr_auc, 4) for one in found},
                **{f"f1_{one.champion.horizon}": round(one.own.f1, 4) for one in found},
            },
        )

    return champion_beats_rivals
