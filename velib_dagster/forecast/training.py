"""One training: for each event and horizon, fit the models, score them and their rivals, and say who earned what.

Spark and numpy only; `tracking.py` keeps the outcome in MLflow once all of it is there, so that a training that fails
leaves nothing half done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.forecast import bootstrap, models
from velib_dagster.forecast.errors import ForecastError, OneClassError, TooLittleDataError
from velib_dagster.forecast.evaluation import Evaluation, Rows, Score, Verdict, champion_of, evaluate, rivals, verdict
from velib_dagster.forecast.export import by_code, scorer_of
from velib_dagster.forecast.features import KEY, LABEL, Task, rate_table, task_frame
from velib_dagster.forecast.models import MODELS, Model, importance
from velib_dagster.forecast.names import horizon_name
from velib_dagster.forecast.request import Options
from velib_dagster.forecast.rivals import best_rival, rival_scorer
from velib_dagster.forecast.scorer import Scorer
from velib_dagster.forecast.sources import Source
from velib_dagster.forecast.task import (
    LEAST_CLOCK_DAYS,
    NEXT_POLL,
    FeatureSet,
    Target,
    feature_names,
    lag_names,
)

CHECKED_ROWS: Final = 1000
"""Test rows on which the exported model is held to Spark's."""
MOST_DIFFERENCE: Final = 1e-6
SUGGESTED: Final = 5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A fitted model with what shows it: its columns, importances, exported form, how long it took, seconds."""

    model: Model
    pipeline: PipelineModel
    importance: Mapping[str, float]
    scorer: Scorer
    difference: float
    """Largest distance of the exported form's score from Spark's, over `CHECKED_ROWS` rows."""
    fitted_rows: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """All scores of one event and horizon on the same rows."""

    task: Task
    station_code: str | None
    rows: Mapping[str, int]
    """Rows of train, validation and test."""
    days: Mapping[str, tuple[str, str, int]]
    """First and last day, and their number, of each part."""
    units: str
    validation: Rows
    test: Rows
    scores: Mapping[str, Score]
    evaluations: Mapping[str, Evaluation]
    trained: Mapping[str, Trained]
    champion: Verdict | None
    verdicts: Mapping[str, Verdict]
    stand_in: Scorer
    """The best rival on the validation days, ready to score: used where no model is champion."""
    example: pa.Table
    """Five test rows, all columns of the rich set."""

    @property
    def horizon_name(self) -> str:
        """`15 min`, or `next poll`."""
        return horizon_name(self.task.horizon)


def train(source: Source, options: Options, say: Say) -> list[Outcome]:
    """Every event and horizon, one after the other. `say` is told how far it is, a line each.

    Raises:
        UnknownStationError: the station asked for has no row.
        TooLittleDataError: a part has no row.
        OneClassError: a part has rows of one class only.
    """
    chosen = [model for model in MODELS if model.name in options.models]
    outcomes = []
    for target in options.targets:
        station = _station(source, target, options, say)
        for horizon in source.horizons:
            task = Task(target, horizon, source.split, source.timezone, source.step_seconds)
            outcomes.append(_train_one(source, task, station, chosen, options, say))
    return outcomes


def _train_one(
    source: Source, task: Task, station: int | None, chosen: Sequence[Model], options: Options, say: Say
) -> Outcome:
    began = time.monotonic()
    frame = task_frame(source.rows, source.rates, task)
    if station is not None:
        frame = frame.where(F.col("station") == station)
    frame = frame.cache()
    try:
        held = frame.where("part <> 'train'").toArrow().combine_chunks().sort_by(_ORDER)
        counted = _counts(frame)
        _refuse_useless(source, task, station, counted)
        parts = {name: _rows(held, name, task) for name in ("validation", "test")}
        say(
            f"{task.target} in {_horizon(task)}: "
            + ", ".join(f"{counted[name]['rows']} rows to {verb}" for name, verb in _VERBS.items())
            + f", {counted['test']['events'] / counted['test']['rows']:.2%} of the test are events"
        )
        rates = rate_table(source.rates, task)
        trained, scores = {}, []
        for model in chosen:
            done, score = _fit(source, task, model, frame, held, counted["train"]["rows"], rates, options)
            trained[model.name] = done
            scores.append(score)
            say(f"  {model.name}: fitted on {done.fitted_rows} rows in {done.seconds:.1f} s")
    finally:
        frame.unpersist()
    validation, test = parts["validation"], parts["test"]
    evaluations = evaluate(task.target, validation, test, scores, draws=options.draws, seed=options.seed)
    for name, one in trained.items():
        one.scorer.document["threshold"] = evaluations[name].threshold
    champion = champion_of(task.target, evaluations)
    best = champion.name if champion else "none of them"
    say(f"  champion by the validation days: {best} ({time.monotonic() - began:.0f} s)")
    return Outcome(
        task=task,
        station_code=None if station is None else source.stations.known[station].code,
        rows={name: counted[name]["rows"] for name in counted},
        days={name: (str(row["first"]), str(row["last"]), row["days"]) for name, row in counted.items()},
        units=bootstrap.units(test.station, test.at // 3600, test.day)[2],
        validation=validation,
        test=test,
        scores={one.name: one for one in (*rivals(task.target, validation, test), *scores)},
        evaluations=evaluations,
        trained=trained,
        champion=champion,
        verdicts={name: verdict(task.target, evaluations[name], evaluations) for name in trained},
        stand_in=_stand_in(source, task, best_rival(evaluations), validation, test, rates),
        example=held.slice(0, 5),
    )


_ORDER: Final = [("part", "ascending"), ("station", "ascending"), ("at", "ascending")]
_VERBS: Final = {"train": "train", "validation": "validate", "test": "test"}


def _fit(
    source: Source,
    task: Task,
    model: Model,
    frame: DataFrame,
    held: pa.Table,
    rows: int,
    rates: Mapping[tuple[int, int], float],
    options: Options,
) -> tuple[Trained, Score]:
    began = time.monotonic()
    training_days = sum(day < source.split.validate_from for day in source.days)
    columns = feature_names(task.target, model.features, ages=source.uneven, clock=training_days >= LEAST_CLOCK_DAYS)
    thinned = rows if model.features is FeatureSet.RICH or source.uneven else None
    fitting = models.training_rows(
        frame.where("part = 'train'"), columns, options.most_rows, options.seed, thinned
    ).localCheckpoint()
    pipeline = models.fit(model, fitting, columns, options.seed)
    # From the cached rows: a table handed back to Spark would be scored by its optimizer, row by row.
    rest = models.scored(pipeline, frame.where("part <> 'train'")).select("part", *KEY, "score")
    found = rest.toArrow().sort_by(_ORDER)
    part, value = np.array(found["part"].to_pylist()), found["score"].to_numpy()
    scorer = scorer_of(pipeline, model, task, 0.5, source.stations, rates)
    sample = held.slice(0, CHECKED_ROWS)
    again = scorer.score({name: sample[name].to_numpy() for name in columns})
    difference = float(np.max(np.abs(again - value[: len(again)]), initial=0.0))
    if difference > MOST_DIFFERENCE:
        msg = f"{model.name}: the exported model differs from Spark's by {difference:g} on {len(again)} rows"
        raise ForecastError(msg)
    done = Trained(model, pipeline, importance(pipeline), scorer, difference, fitting.count(), time.monotonic() - began)
    return done, Score(model.name, value[part == "validation"], value[part == "test"])


def _stand_in(
    source: Source, task: Task, name: str, validation: Rows, test: Rows, rates: Mapping[tuple[int, int], float]
) -> Scorer:
    network, own = by_code(source.stations, rates)
    return rival_scorer(name, task.target, task.horizon, task.timezone, validation, test, own, network)


def _rows(held: pa.Table, part: str, task: Task) -> Rows:
    own = held.filter(pa.compute.equal(held["part"], part))
    return Rows(
        station=own["station"].to_numpy(),
        at=own["at"].to_numpy(),
        day=own["day"].cast(pa.int32()).to_numpy().astype(np.int64),
        hour=own["hour"].cast(pa.int64()).to_numpy(),
        truth=own[LABEL].to_numpy() > 0,
        last=own[lag_names(task.target)[0]].to_numpy(),
        after=own["target_count"].to_numpy(),
        rate=own["rate"].to_numpy(),
    )


def _counts(frame: DataFrame) -> dict[str, dict[str, int]]:
    found = frame.groupBy("part").agg(
        F.count("*").alias("rows"),
        F.sum(LABEL).cast("long").alias("events"),
        F.min("day").alias("first"),
        F.max("day").alias("last"),
        F.countDistinct("day").alias("days"),
    )
    return {row["part"]: row.asDict() for row in found.collect()}


def _refuse_useless(source: Source, task: Task, station: int | None, counted: Mapping[str, Mapping[str, int]]) -> None:
    split = source.split
    missing = [name for name in _VERBS if name not in counted]
    whose = "" if station is None else f" of station {source.stations.known[station].code}"
    if missing:
        msg = (
            f"no row{whose} to {' and '.join(_VERBS[name] for name in missing)} {task.target} in {_horizon(task)}: "
            f"days {source.days[0]} to {source.days[-1]}, validation from {split.validation_begins}, test from "
            f"{split.test_begins}; more days, or other dates, are needed"
        )
        raise TooLittleDataError(msg)
    single = [name for name, row in counted.items() if row["events"] in {0, row["rows"]}]
    if not single:
        return
    always = "always" if counted[single[0]]["events"] else "never"
    msg = f"{task.target} in {_horizon(task)}{whose}: {always} so in the days to {_VERBS[single[0]]}"
    if station is not None:
        msg += f"; stations that are at times {task.target} in each part: " + ", ".join(_suggested(source, task))
    raise OneClassError(msg)


def _suggested(source: Source, task: Task) -> list[str]:
    """Stations with rows of both classes in each part, those with most events first."""
    by_part = (
        task_frame(source.rows, source.rates, task)
        .groupBy("station", "part")
        .agg(F.sum(LABEL).alias("events"), F.count("*").alias("rows"))
        .where("events > 0 AND events < rows")
        .groupBy("station")
        .agg(F.count("*").alias("parts"), F.min("events").alias("events"))
        .where("parts = 3")
        .orderBy(F.desc("events"), "station")
        .limit(SUGGESTED)
        .collect()
    )
    return [source.stations.known[row["station"]].code for row in by_part] or ["none"]


def _station(source: Source, target: Target, options: Options, say: Say) -> int | None:
    if options.station_code is not None:
        return source.number_of(options.station_code)
    if not options.one_station:
        return None
    events = f"{target}_events"
    found = source.rates.groupBy("station").agg(F.sum(events).alias("events"), F.sum(f"{target}_rows").alias("rows"))
    most = found.orderBy(F.desc("events"), "station").first()
    if most is None or not most["events"]:
        msg = f"no station was {target} in the training days"
        raise OneClassError(msg)
    station = source.stations.known[most["station"]]
    say(f"station {station.code}: {target} for {most['events'] / most['rows']:.1%} of the training time, the most")
    return int(most["station"])


def _horizon(task: Task) -> str:
    return "the next poll" if task.horizon == NEXT_POLL else f"{task.horizon} min"
