"""A training in a real MLflow: runs, pages, the registered champion, and what happens when MLflow is away."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pyspark.sql import SparkSession

from velib_dagster.forecast import registry, tracking
from velib_dagster.forecast.champion import champion, stand_in
from velib_dagster.forecast.comparison import NO_TRAINING, experiment_of
from velib_dagster.forecast.errors import TrackingError
from velib_dagster.forecast.models import scored
from velib_dagster.forecast.names import (
    CHAMPION_TAG,
    COMPARED,
    DECIDING,
    KIND,
    NOTE_TAG,
    TRAINING,
    WORTH,
)
from velib_dagster.forecast.server import Server
from velib_dagster.forecast.task import Target
from velib_dagster.forecast.tracking import Tracked, check_reachable, track
from velib_dagster_tests.forecast.conftest import MODELS, Training

pytestmark = pytest.mark.spark
OURS = "tags.feed = 'tests' AND attributes.status = 'FINISHED'"


@pytest.fixture(scope="module")
def tracked(trained: Training, mlflow_server: str) -> Tracked:
    return track(mlflow_server, trained.source, trained.options, trained.outcomes, feed="tests", simulated=False)


@pytest.fixture
def client(mlflow_server: str) -> Iterator[MlflowClient]:
    mlflow.set_tracking_uri(mlflow_server)
    yield MlflowClient(mlflow_server, mlflow_server)
    mlflow.set_tracking_uri(None)


def test_every_score_is_a_run_that_knows_its_training(
    client: MlflowClient, tracked: Tracked, trained: Training
) -> None:
    runs = client.search_runs([tracked.experiments[Target.FULL]], OURS)
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run.data.tags[KIND] == "training"]
    below = {run.info.run_name.partition(" · ")[0]: run for run in runs if run is not parent}
    assert set(below) == {"persistence", "minus_docks", "history_rate", *MODELS}
    assert {run.data.tags[TRAINING] for run in below.values()} == {parent.info.run_id}
    found = below["gbt_lags"]
    evaluation = trained.outcome.evaluations["gbt_lags"]
    assert found.data.metrics["test_pr_auc"] == pytest.approx(evaluation.test.pr_auc)
    assert found.data.metrics["test_onset_pr_auc_low"] == pytest.approx(evaluation.intervals["onset_pr_auc"].low)
    assert found.data.metrics["test_pr_auc_above_minus_docks"] == pytest.approx(
        evaluation.test.pr_auc - trained.outcome.evaluations["minus_docks"].test.pr_auc
    )
    assert found.data.params["horizon_minutes"] == "15"
    assert found.data.params["step_seconds"] == "300"
    assert found.data.params["features"] == "docks_lag1, docks_lag2, docks_lag3"
    assert below["persistence"].data.metrics["mae_docks"] > 0
    assert "test_brier" not in below["minus_docks"].data.metrics


def test_the_data_are_named_by_days_rows_and_archive_position(client: MlflowClient, tracked: Tracked) -> None:
    for run in client.search_runs([tracked.experiments[Target.FULL]], OURS):
        (given,) = run.inputs.dataset_inputs
        facts = json.loads(given.dataset.profile)
        assert (facts["days"], facts["spells"], facts["archive_next_offset"]) == (5, 5 * 16 * 120, 7)
        assert given.dataset.digest == facts["digest"]


def test_the_comparison_is_one_page_that_fetches_nothing(client: MlflowClient, tracked: Tracked) -> None:
    parent = client.search_runs([tracked.experiments[Target.FULL]], f"{OURS} AND tags.`{KIND}` = 'training'")[0]
    html = open(client.download_artifacts(parent.info.run_id, "comparison.html"), encoding="utf-8").read()  # noqa: PTH123, SIM115
    assert "<script" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    for name in ("persistence", "minus_docks", *MODELS):
        assert f"<td>{name}" in html
    assert html.count("data:image/png;base64,") == 3
    plots = {file.path for file in client.list_artifacts(parent.info.run_id, "plots")}
    assert plots == {"plots/pr_curves_15.png", "plots/calibration_15.png", "plots/by_hour_15.png"}


def test_the_champion_loads_by_alias_and_scores_as_its_export(
    tracked: Tracked, trained: Training, mlflow_server: str, client: MlflowClient, spark: SparkSession
) -> None:
    wanted = trained.outcome.champion
    assert wanted is not None
    assert [(one.registered, one.model) for one in tracked.promoted] == [("tests.station-full", wanted.name)]
    found = champion(mlflow_server, Target.FULL, 15, "tests")
    assert found is not None
    assert found.model == wanted.name
    version = client.get_model_version_by_alias("tests.station-full", registry.CHAMPION)
    assert (version.version, version.run_id) == (str(found.version), found.run_id)

    loaded = mlflow.spark.load_model("models:/tests.station-full@champion")
    drawn = np.random.default_rng(1)
    values = {name: drawn.integers(0, 13, 1000).astype(float) for name in found.scorer.columns}
    rows = spark.createDataFrame([tuple(map(float, row)) for row in zip(*values.values(), strict=True)], list(values))
    by_spark = np.array([row["score"] for row in scored(loaded, rows.coalesce(1)).select("score").collect()])
    assert np.max(np.abs(by_spark - found.scorer.score(values))) <= 1e-6


def test_the_model_says_what_it_takes_and_gives_and_needs(tracked: Tracked, mlflow_server: str) -> None:
    mlflow.set_tracking_uri(mlflow_server)
    info = mlflow.models.get_model_info("models:/tests.station-full@champion")
    found = champion(mlflow_server, Target.FULL, 15, "tests")
    assert found is not None
    assert info.signature.inputs.input_names() == found.scorer.columns
    assert info.saved_input_example_info is not None
    requirements = mlflow.pyfunc.get_model_dependencies("models:/tests.station-full@champion", format="pip")
    pinned = open(requirements, encoding="utf-8").read().split()  # noqa: PTH123, SIM115
    assert pinned == [f"mlflow=={mlflow.__version__}", "pyspark==4.2.0"]


@pytest.mark.usefixtures("tracked")
def test_a_champion_of_another_feed_or_horizon_is_none(mlflow_server: str) -> None:
    assert champion(mlflow_server, Target.FULL, 15, "another") is None
    assert champion(mlflow_server, Target.FULL, 30, "tests") is None
    assert champion(mlflow_server, Target.EMPTY, 15, "tests") is None


def test_what_is_compared_now_is_marked_with_its_champion_and_told_in_the_note(
    client: MlflowClient, tracked: Tracked, trained: Training
) -> None:
    experiment = client.get_experiment(tracked.experiments[Target.FULL])
    assert experiment.name == "tests.station-full"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.15-min"])["state"])
    assert {f"metrics.`{name}`" for name in DECIDING} < set(view["selectedColumns"])
    shown = client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=["metrics.test_pr_auc DESC"])
    named = [run.info.run_name.partition(" · ")[0] for run in shown]
    assert set(named) == {"persistence", "minus_docks", "history_rate", *MODELS}
    wanted = trained.outcome.champion
    assert wanted is not None
    (marked,) = [run for run in shown if CHAMPION_TAG in run.data.tags]
    assert marked.info.run_name == f"{wanted.name} · 15 min"
    (version,) = [one.version for one in tracked.promoted]
    assert marked.data.tags[CHAMPION_TAG] == f"★ version {version}"
    note = experiment.tags[NOTE_TAG]
    assert f"Champion: {wanted.name} in 15 min (★ version {version})" in note
    assert "21 are wanted before a figure can be relied on" in note
    rows = [line.split(" | ")[0] for line in note.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert rows == [f"| **{name}** ★" if name == wanted.name else f"| {name}" for name in named], "the best first"


def test_a_training_that_follows_takes_the_place_of_the_one_before(
    client: MlflowClient, trained: Training, mlflow_server: str
) -> None:
    for _ in range(2):
        held = track(
            mlflow_server, trained.source, trained.options, trained.outcomes, feed="twice", simulated=True
        ).experiments[Target.FULL]
    trainings = client.search_runs([held], f"tags.`{KIND}` = 'training'", order_by=["attributes.start_time DESC"])
    shown = client.search_runs([held], f"tags.`{COMPARED}` = '15 min'")
    assert {run.data.tags[TRAINING] for run in shown} == {trainings[0].info.run_id}
    assert [run.data.tags[CHAMPION_TAG] for run in shown if CHAMPION_TAG in run.data.tags] == ["★ version 2"]
    assert len(client.search_runs([held], f"tags.`{CHAMPION_TAG}` LIKE '%'")) == 1
    assert "SIMULATED" in trainings[0].data.tags[WORTH]
    assert "SIMULATED" in client.get_experiment(held).tags[NOTE_TAG]


def test_before_a_training_the_experiment_is_there_and_says_so(client: MlflowClient, mlflow_server: str) -> None:
    held = experiment_of(Server(mlflow_server), "new", Target.EMPTY)
    assert experiment_of(Server(mlflow_server), "new", Target.EMPTY) == held
    tags = client.get_experiment(held).tags
    assert NO_TRAINING in tags[NOTE_TAG]
    assert "mlflow.sharedViewState.15-min" in tags


def test_without_a_champion_the_best_rival_of_the_newest_training_stands_in(
    trained: Training, mlflow_server: str
) -> None:
    none_earned = replace(trained.outcome, champion=None)
    tracked = track(mlflow_server, trained.source, trained.options, [none_earned], feed="unearned", simulated=False)
    assert not tracked.promoted
    assert champion(mlflow_server, Target.FULL, 15, "unearned") is None
    found = stand_in(mlflow_server, Target.FULL, 15, "unearned", "Europe/Paris")
    best = max(
        (one for one in trained.outcome.evaluations.values() if one.rival), key=lambda one: one.validation.pr_auc
    )
    assert (found.version, found.model) == (None, best.name)
    assert "newest training" in found.why
    docks = np.arange(13.0)
    assert np.all(np.diff(found.scorer.score({"docks_lag1": docks, "rate": docks})) <= 0)
    untrained = stand_in(mlflow_server, Target.FULL, 60, "unearned", "Europe/Paris")
    assert (untrained.version, untrained.model) == (None, "minus_docks")
    assert "nothing is trained for this horizon yet" in untrained.why


@pytest.mark.usefixtures("tracked")
def test_a_step_that_mlflow_refuses_leaves_the_old_champion_and_marks_the_runs(
    trained: Training, mlflow_server: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = client.get_model_version_by_alias("tests.station-full", registry.CHAMPION).version
    versions = len(client.search_model_versions("name = 'tests.station-full'"))

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("the disk is full")

    monkeypatch.setattr(tracking, "save_model", refuse)
    with pytest.raises(TrackingError, match=r"broke off \(the disk is full\).*marked failed, no alias was moved"):
        track(mlflow_server, trained.source, trained.options, trained.outcomes, feed="tests", simulated=False)
    assert client.get_model_version_by_alias("tests.station-full", registry.CHAMPION).version == before
    experiment = client.get_experiment_by_name("tests.station-full")
    failed = client.search_runs([experiment.experiment_id], "attributes.status = 'FAILED'")
    assert failed
    assert len(client.search_model_versions("name = 'tests.station-full'")) == versions


def test_mlflow_away_is_told_before_anything_is_computed() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(TrackingError, match=rf"MLflow does not answer at {address}.*Nothing was trained or registered"):
        check_reachable(address)
    with pytest.raises(TrackingError, match=address):
        champion(address, Target.FULL, 15, "tests")
