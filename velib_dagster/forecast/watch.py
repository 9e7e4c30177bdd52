"""The champions against their rivals on the newest complete days: has one become worse?

The champion scores by its exported form; its rivals need no training. Called by Dagster's checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
from pyspark.sql import SparkSession

from velib_dagster.archive.reader import committed_files
from velib_dagster.forecast.champion import Champion, champion
from velib_dagster.forecast.evaluation import PERSISTENCE, Figures, figures, minus_count
from velib_dagster.forecast.features import Task, task_frame
from velib_dagster.forecast.sources import ArchiveOptions, from_archive
from velib_dagster.forecast.task import USED_HORIZONS, Split, Target, lag_names
from velib_dagster.settings import Settings

DAYS: Final = 2
"""Newest complete days that are looked at."""


@dataclass(frozen=True)
class Watched:
    """One champion on the newest complete days, beside the score −count and persistence."""

    champion: Champion
    own: Figures
    ranked: Figures
    persistence: Figures

    @property
    def worse(self) -> list[str]:
        """What it is no longer better in, in words."""
        target = self.champion.target
        compared = (
            ("PR-AUC", self.own.pr_auc, self.ranked.pr_auc, minus_count(target)),
            ("F1", self.own.f1, self.persistence.f1, PERSISTENCE),
        )
        return [
            f"{target} in {self.champion.horizon} min: {measure} {own:.3f}, {rival} {theirs:.3f}"
            for measure, own, theirs, rival in compared
            if not own > theirs
        ]


def champions(settings: Settings, target: Target) -> list[Champion]:
    """The champions of the horizons that the platform uses.

    Raises:
        TrackingError: MLflow is away.
    """
    found = (champion(settings.mlflow, target, horizon, settings.feed.name) for horizon in USED_HORIZONS)
    return [one for one in found if one is not None]


def newest_days(settings: Settings, today: date) -> list[date]:
    """The newest days of the archive that are over, at most `DAYS`."""
    return [file.day for file in committed_files(settings.archive) if file.day < today][-DAYS:]


def watch(spark: SparkSession, settings: Settings, chosen: Sequence[Champion], days: Sequence[date]) -> list[Watched]:
    """Each champion on these days; those without a row or an event there are left out.

    Raises:
        ArchiveError: a malformed row, or a day file that was changed.
    """
    found = []
    for step in sorted({one.scorer.document["step_seconds"] for one in chosen}):
        own = [one for one in chosen if one.scorer.document["step_seconds"] == step]
        source = from_archive(
            spark,
            settings.archive,
            settings.feed.timezone,
            ArchiveOptions(
                first=days[0],
                last=days[-1],
                horizons=tuple(one.horizon for one in own),
                split=Split(days[0], days[0] + timedelta(days=1)),  # nothing is trained: every row counts
                step_seconds=step,
            ),
        )
        codes = np.array([station.code for station in source.stations.known])
        for one in own:
            task = Task(one.target, one.horizon, source.split, source.timezone, step)
            rows = task_frame(source.rows, source.rates, task).toArrow()
            values = {name: rows[name].to_numpy() for name in rows.column_names if name not in {"part", "day"}}
            values["rate"] = np.array(
                [one.scorer.rate(codes[n], int(h)) for n, h in zip(values["station"], values["hour"], strict=True)]
            )
            truth = values["label"] > 0
            if not truth.any():
                continue
            last = values[lag_names(one.target)[0]]
            threshold = one.scorer.document["threshold"]
            found.append(
                Watched(
                    one,
                    figures(truth, one.scorer.score(values), threshold, probability=True),
                    figures(truth, -last, 0.0, probability=False),
                    figures(truth, (last == 0).astype(float), 0.5, probability=True),
                )
            )
    return found
