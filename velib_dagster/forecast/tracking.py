"""A training's outcome in MLflow: one experiment per event, one run per training and one per score.

The only module that talks to MLflow's client. Everything is computed before the first call; versions and aliases come
last, once every run is written.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import requests

from velib_dagster.forecast import page, plots
from velib_dagster.forecast.carried import carry_over
from velib_dagster.forecast.comparison import experiment_of, show
from velib_dagster.forecast.errors import TrackingError
from velib_dagster.forecast.evaluation import Evaluation, Figures, by_group, persistence_mae
from velib_dagster.forecast.names import KIND, STANDS_IN, TRAINING, WORTH, experiment_name
from velib_dagster.forecast.registry import Promoted, promote
from velib_dagster.forecast.request import Options
from velib_dagster.forecast.saved_model import save_model
from velib_dagster.forecast.scorer import FILE
from velib_dagster.forecast.server import Server
from velib_dagster.forecast.sources import Fingerprint, Source
from velib_dagster.forecast.task import Target
from velib_dagster.forecast.training import Outcome, Trained
from velib_dagster.forecast.worth import worth

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_SECONDS: Final = 5
COMPARISON: Final = "comparison.html"
MODEL: Final = "model"
"""Folder of the Spark model among a run's artifacts."""
_HOURS: Final = [str(hour) for hour in range(24)]


def check_reachable(address: str) -> None:
    """Whether MLflow answers: asked before anything is computed.

    Raises:
        TrackingError: it does not.
    """
    try:
        answer = requests.get(f"{address}/health", timeout=REACH_SECONDS)
        answer.raise_for_status()
    except requests.RequestException as error:
        msg = (
            f"MLflow does not answer at {address} ({type(error).__name__}): start it (velib up), or correct "
            "VELIB_MLFLOW. Nothing was trained or registered"
        )
        raise TrackingError(msg) from error


@dataclass(frozen=True)
class Tracked:
    """What MLflow now holds: the versions made champion, and each event's experiment by id."""

    promoted: list[Promoted]
    experiments: dict[Target, str]


def track(
    address: str, source: Source, options: Options, outcomes: Sequence[Outcome], *, feed: str, simulated: bool
) -> Tracked:
    """Write every outcome, then make champions.

    Raises:
        TrackingError: MLflow is away or refuses a step; runs begun are marked failed and no alias was moved.
    """
    import mlflow  # noqa: PLC0415 - more than a second
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    mlflow.set_tracking_uri(address)
    client = mlflow.MlflowClient(address, address)
    begun: list[str] = []
    complete = False
    server = Server(address)
    try:
        carry_over(server, feed)
        winners: list[Promoted] = []
        experiments: dict[Target, str] = {}
        for target in dict.fromkeys(outcome.task.target for outcome in outcomes):
            own = [outcome for outcome in outcomes if outcome.task.target is target]
            experiments[target] = experiment_of(server, feed, target, own[0].station_code, uneven=source.uneven)
            winners += _training(
                client, experiments[target], source, options, own, begun, feed=feed, simulated=simulated
            )
        for run in begun:
            client.set_terminated(run, "FINISHED")
        promoted = promote(client, winners)
        complete = True
    except (MlflowException, TrackingError, requests.RequestException, OSError) as error:
        msg = (
            f"MLflow at {address} broke off ({error}): the runs of this training are marked failed, no alias was moved"
        )
        raise TrackingError(msg) from error
    finally:
        if not complete:
            for run in begun:
                _mark_failed(client, run)
    for target, held in experiments.items():
        code = next(outcome.station_code for outcome in outcomes if outcome.task.target is target)
        show(server, held, target, experiment_name(feed, target, code, uneven=source.uneven))
    return Tracked(promoted, experiments)


def _mark_failed(client: "MlflowClient", run: str) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.set_terminated(run, "FAILED")
    except (MlflowException, requests.RequestException):
        return  # it is away: the run stays "running" there, without a version


def _training(
    client: "MlflowClient",
    experiment: str,
    source: Source,
    options: Options,
    outcomes: Sequence[Outcome],
    begun: list[str],
    *,
    feed: str,
    simulated: bool,
) -> list[Promoted]:
    first = outcomes[0]
    name = experiment_name(feed, first.task.target, first.station_code, uneven=source.uneven)
    words = worth(source, simulated=simulated)
    tags = {"feed": feed, "simulated": str(simulated).lower(), "mlflow.source.name": "velib train"}
    title = f"training on {source.days[0]} … {source.days[-1]}"
    parent = _run(client, experiment, title, {**tags, KIND: "training", WORTH: words}, begun)
    common = _parameters(source, options, first)
    _log(client, parent, {}, common)
    _log_dataset(client, parent, source, feed)
    pictures: dict[str, bytes] = {}
    winners = []
    for outcome in outcomes:
        drawn = {"pr_curves": plots.pr_curves, "calibration": plots.calibration, "by_hour": plots.by_hour}
        pictures |= {f"{what}_{outcome.task.horizon}": draw(outcome) for what, draw in drawn.items()}
        for score_name, evaluation in outcome.evaluations.items():
            own_tags = {
                **tags,
                TRAINING: parent,
                "horizon": outcome.horizon_name,
                KIND: "rival" if evaluation.rival else "model",
            }
            if outcome.stand_in.document["model"] == score_name:
                own_tags[STANDS_IN] = str(outcome.task.horizon)
            run = _run(client, experiment, f"{score_name} · {outcome.horizon_name}", own_tags, begun)
            trained = outcome.trained.get(score_name)
            _score(client, run, source, outcome, evaluation, trained, common)
            if outcome.champion is not None and outcome.champion.name == score_name:
                winners.append(Promoted(name, outcome.task.horizon, score_name, run, feed, worth=words))
    title = f"Will the station be {first.task.target}? {feed}, {source.days[0]} … {source.days[-1]}"
    html = page.comparison(title, outcomes, pictures, source.fingerprint, simulated=simulated)
    files = {f"plots/{what}.png": png for what, png in pictures.items()}
    _artifacts(client, parent, {COMPARISON: html.encode(), **files})
    return winners


def _run(client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, str], begun: list[str]) -> str:
    run: str = client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id
    begun.append(run)
    return run


def _parameters(source: Source, options: Options, outcome: Outcome) -> dict[str, str]:
    split = source.split
    return {
        "target": outcome.task.target.value,
        "step_seconds": "uneven" if source.uneven else str(source.step_seconds),
        "station_code": outcome.station_code or "all stations pooled",
        "validate_from": split.validation_begins,
        "test_from": split.test_begins,
        "seed": str(options.seed),
        "bootstrap_draws": str(options.draws),
        "bootstrap_of": outcome.units,
        "class_weights": "events kept, others thinned and weighted up"
        if outcome.rows["train"] > options.most_rows
        else "1",
        "timezone": source.timezone,
    }


def _score(
    client: "MlflowClient",
    run: str,
    source: Source,
    outcome: Outcome,
    evaluation: Evaluation,
    trained: Trained | None,
    common: Mapping[str, str],
) -> None:
    parameters = {**common, "horizon_minutes": "next poll" if not outcome.task.horizon else str(outcome.task.horizon)}
    if trained is not None:
        parameters |= {f"model.{name}": str(value) for name, value in trained.model.parameters.items()}
        parameters |= {"kind": trained.model.kind, "features": ", ".join(trained.scorer.columns)}
    metrics = metrics_of(evaluation)
    for part, rows in outcome.rows.items():
        metrics[f"rows_{part}"] = rows
    if evaluation.name == "persistence":
        metrics[f"mae_{outcome.task.target.level}"] = persistence_mae(outcome.test)
    if trained is not None:
        metrics |= {"fit_seconds": trained.seconds, "fitted_rows": trained.fitted_rows}
        metrics["export_difference"] = trained.difference
    _log(client, run, metrics, parameters)
    _log_dataset(client, run, source, common["target"])
    score = outcome.scores[evaluation.name]
    zones = sorted({station.zone for station in source.stations.known})
    zone_of = np.array([zones.index(station.zone) for station in source.stations.known])
    groups = {
        "by_hour.json": by_group(outcome.test, _HOURS, outcome.test.hour, score, evaluation.threshold),
        "by_zone.json": by_group(outcome.test, zones, zone_of[outcome.test.station], score, evaluation.threshold),
    }
    files = {name: json.dumps([asdict(one) for one in found], indent=1).encode() for name, found in groups.items()}
    if outcome.stand_in.document["model"] == evaluation.name:
        files[FILE] = outcome.stand_in.to_json().encode()
    if trained is not None:
        files |= {
            FILE: trained.scorer.to_json().encode(),
            "plots/importance.png": plots.importances(evaluation.name, trained.importance),
        }
    with tempfile.TemporaryDirectory() as folder:
        if trained is not None:
            save_model(Path(folder) / MODEL, outcome, trained)
        _artifacts(client, run, files, Path(folder))


def metrics_of(evaluation: Evaluation) -> dict[str, float]:
    """Every figure by its MLflow name: `test_pr_auc`, `validation_f1`, `test_onset_brier`, `test_pr_auc_low`,
    `test_pr_auc_above_persistence` with its `_low` and `_high`. NaN is left out."""
    parts: Mapping[str, Figures] = {
        "validation": evaluation.validation,
        "validation_onset": evaluation.validation_onset,
        "test": evaluation.test,
        "test_onset": evaluation.test_onset,
    }
    found: dict[str, float] = {"threshold": evaluation.threshold}
    for part, figures in parts.items():
        found |= {f"{part}_{name}": value for name, value in asdict(figures).items() if value is not None}
        found[f"{part}_base_rate"] = figures.base_rate
    for measure, interval in evaluation.intervals.items():
        found |= {f"test_{measure}_low": interval.low, f"test_{measure}_high": interval.high}
    for rival, measures in evaluation.better_than.items():
        for measure, interval in measures.items():
            name = f"test_{measure}_above_{rival}"
            found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _log(client: "MlflowClient", run: str, metrics: Mapping[str, float], parameters: Mapping[str, str]) -> None:
    import time  # noqa: PLC0415

    from mlflow.entities import Metric, Param  # noqa: PLC0415

    now = int(time.time() * 1000)
    client.log_batch(
        run,
        metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
        params=[Param(name, value) for name, value in parameters.items()],
    )


def _log_dataset(client: "MlflowClient", run: str, source: Source, feed: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

    facts: Fingerprint = source.fingerprint
    dataset = Dataset(
        name=f"{feed} {source.days[0]} … {source.days[-1]}",
        digest=str(facts["digest"]),
        source_type="velib archive" if not source.uneven else "parquet",
        source=json.dumps(facts),
        profile=json.dumps(facts),
    )
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _artifacts(client: "MlflowClient", run: str, files: Mapping[str, bytes], folder: Path | None = None) -> None:
    with tempfile.TemporaryDirectory() as own:
        root = folder or Path(own)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        client.log_artifacts(run, str(root))
