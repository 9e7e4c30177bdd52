"""A training from beginning to end: is MLflow there, the rows, the models, the runs, the champions.

Called by `velib train` and by Dagster's assets; who asks gives the Spark session and hears how far it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import SparkSession

from velib_dagster.archive.reader import committed_files
from velib_dagster.forecast import sources, tracking, training
from velib_dagster.forecast.bootstrap import Interval
from velib_dagster.forecast.evaluation import minus_count
from velib_dagster.forecast.names import comparison_address
from velib_dagster.forecast.page import said
from velib_dagster.forecast.registry import Promoted, usual
from velib_dagster.forecast.request import Request
from velib_dagster.forecast.sources import ArchiveOptions, Source
from velib_dagster.forecast.task import NEWEST_DAYS, Target
from velib_dagster.forecast.training import Outcome, Say
from velib_dagster.forecast.worth import worth
from velib_dagster.settings import Settings
from velib_dagster.statistics.days import Days
from velib_dagster.store.connect import StoreUnreachableError, connect
from velib_dagster.store.forecasts import usable_polls


@dataclass(frozen=True)
class Report:
    """What a training came to."""

    source: Source
    outcomes: Sequence[Outcome]
    promoted: Sequence[Promoted]
    experiments: dict[Target, str]
    """Event → address at which MLflow compares its runs."""
    worth: str = ""
    """What the figures are worth, in words; empty where there is nothing to warn of."""


def run(settings: Settings, request: Request, session: Callable[[], SparkSession], say: Say) -> Report:
    """Train, compare, keep in MLflow. `session` is called once MLflow is known to answer.

    Raises:
        TrackingError: MLflow is away.
        ForecastError: too little data, one class only, an unknown station, model or horizon.
        ArchiveError: the archive is empty or damaged.
    """
    tracking.check_reachable(settings.mlflow)
    source = _source(settings, request, session, say)
    say(
        f"{len(source.days)} days, {source.days[0]} to {source.days[-1]}, {len(source.stations.known)} stations; "
        f"validation from {source.split.validation_begins}, test from {source.split.test_begins}"
    )
    outcomes = training.train(source, request.options, say)
    say("writing runs, models and plots to MLflow")
    simulated = settings.feed.simulated and not request.history
    feed = "months" if request.history else settings.feed.name
    tracked = tracking.track(settings.mlflow, source, request.options, outcomes, feed=feed, simulated=simulated)
    return Report(
        source,
        outcomes,
        tracked.promoted,
        {
            t: comparison_address(settings.mlflow_page, e, usual(source.horizons))
            for t, e in tracked.experiments.items()
        },
        worth(source, simulated=simulated),
    )


def _source(settings: Settings, request: Request, session: Callable[[], SparkSession], say: Say) -> Source:
    timezone = settings.feed.timezone
    if request.history:
        say(f"reading {len(request.history)} Parquet files")
        return sources.from_months(session(), request.history, timezone, request.split)
    files = committed_files(settings.archive, (request.first, request.last))
    first = files[-NEWEST_DAYS:][0].day if request.first is None and files else request.first
    say(f"reading the archive {settings.archive}")
    options = ArchiveOptions(
        first=first,
        last=request.last,
        horizons=request.horizons,
        split=request.split,
        step_seconds=request.step_seconds,
        origin_seconds=request.origin_seconds,
        polls=_polls(settings, request, say),
    )
    return sources.from_archive(session(), settings.archive, timezone, options)


def _polls(settings: Settings, request: Request, say: Say) -> list[int] | None:
    """Times of the usable polls as PostgreSQL has them; None where it is away."""
    days = Days(request.first or date(2000, 1, 1), request.last or date(2100, 1, 1), settings.feed.timezone)
    try:
        with connect(settings) as connection:
            return sources.seconds_of(usable_polls(connection, days.start, days.end))
    except StoreUnreachableError:
        say("PostgreSQL is away: marks are known where a spell covers them, not by the times of the polls")
        return None


def figures(outcome: Outcome) -> list[dict[str, str | float | None]]:
    """The comparison as rows for a table, one per score, the test days' figures."""
    rival = minus_count(outcome.task.target)

    def bounds(interval: Interval | None) -> str:
        return "" if interval is None else f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"

    return [
        {
            "target": outcome.task.target.value,
            "horizon": outcome.horizon_name,
            "score": one.name,
            "champion": "★" if outcome.champion is not None and outcome.champion.name == one.name else "",
            "pr_auc": round(one.test.pr_auc, 4),
            "onset_pr_auc": round(one.test_onset.pr_auc, 4),
            "f1": round(one.test.f1, 4),
            "brier": None if one.test.brier is None else round(one.test.brier, 5),
            f"pr_auc above {rival.replace('_', ' ')}": bounds(one.better_than.get(rival, {}).get("pr_auc")),
        }
        for one in outcome.evaluations.values()
    ]


def verdicts(report: Report) -> list[str]:
    """For each event and horizon who became champion, or why nobody did, a sentence each."""
    return [f"{one.task.target} in {one.horizon_name}: {said(one)}" for one in report.outcomes]
