"""Training on a small network: what is fitted, that it is the same again, what is refused and how."""

from dataclasses import replace

import numpy as np
import pytest
from pyspark.sql import SparkSession

from velib_dagster.forecast import models, training
from velib_dagster.forecast.errors import OneClassError, TooLittleDataError, UnknownStationError
from velib_dagster.forecast.evaluation import PERSISTENCE, minus_count
from velib_dagster.forecast.features import Task, task_frame
from velib_dagster.forecast.measures import average_precision, brier
from velib_dagster.forecast.request import Options
from velib_dagster.forecast.sources import ArchiveOptions, Source, from_spells
from velib_dagster.forecast.task import Split, Target
from velib_dagster_tests.forecast.conftest import MODELS, Training
from velib_dagster_tests.forecast.make import FIRST, QUIET, network

pytestmark = pytest.mark.spark


def test_the_rows_are_those_of_the_three_parts_in_time(trained: Training) -> None:
    outcome = trained.outcome
    # 16 stations, 120 marks of a day: two go to the lags, three to the target.
    assert outcome.rows == {"train": 3 * 16 * 115, "validation": 16 * 115, "test": 16 * 115}
    assert outcome.days["test"] == ("2024-11-08", "2024-11-08", 1)
    assert len(outcome.test) == 16 * 115
    assert outcome.units == "stations within one-hour blocks"


def test_rivals_are_measured_beside_the_models_on_the_same_rows(trained: Training) -> None:
    outcome = trained.outcome
    assert list(outcome.evaluations) == ["persistence", "minus_docks", "history_rate", *MODELS]
    test = outcome.test
    persistence = outcome.evaluations[PERSISTENCE]
    assert persistence.test.brier == pytest.approx(np.mean((test.last == 0) != test.truth))
    assert persistence.test.pr_auc == pytest.approx(average_precision(test.truth, (test.last == 0).astype(float)))
    ranked = outcome.evaluations[minus_count(Target.FULL)]
    assert ranked.test.brier is None
    assert ranked.test_onset.rows == int(np.count_nonzero(test.last > 0))
    assert ranked.better_than[PERSISTENCE]["pr_auc"].excludes_zero


def test_a_model_learns_what_persistence_cant_tell(trained: Training) -> None:
    outcome = trained.outcome
    assert outcome.evaluations["logistic_lags"].test.brier < outcome.evaluations[PERSISTENCE].test.brier  # type: ignore[operator]
    for name in MODELS:
        found = outcome.evaluations[name]
        assert found.test.pr_auc > 2 * found.test.base_rate
        assert found.intervals["pr_auc"].low < found.test.pr_auc < found.intervals["pr_auc"].high
        assert trained.outcome.trained[name].importance.keys() == set(outcome.trained[name].scorer.columns)


def test_the_exported_model_scores_as_spark_does(trained: Training) -> None:
    outcome = trained.outcome
    assert {one.model.kind for one in outcome.trained.values()} == {"logistic", "gbt", "forest"}
    for name, one in outcome.trained.items():
        assert one.difference <= 1e-6, name
        assert one.scorer.document["threshold"] == outcome.evaluations[name].threshold
        assert brier(outcome.test.truth, outcome.scores[name].test) == outcome.evaluations[name].test.brier


def test_the_same_seed_and_data_give_the_same_numbers(trained: Training) -> None:
    again = training.train(trained.source, replace(trained.options, models=("forest_rich",)), lambda _: None)[0]
    first = trained.outcome
    assert again.evaluations["forest_rich"] == first.evaluations["forest_rich"]
    assert (again.scores["forest_rich"].test == first.scores["forest_rich"].test).all()
    assert again.trained["forest_rich"].scorer.document == first.trained["forest_rich"].scorer.document


def test_thinned_rows_stand_for_those_that_went(source: Source) -> None:
    task = Task(Target.FULL, 15, source.split, source.timezone, 300)
    frame = task_frame(source.rows, source.rates, task).where("part = 'train'")
    whole = frame.count()
    thin = models.training_rows(frame, ["docks_lag1"], whole // 4, 1, whole)
    events, weight, rows = (
        thin.where("label > 0").agg({"weight": "sum"}).first()[0],  # type: ignore[index]
        thin.agg({"weight": "sum"}).first()[0],  # type: ignore[index]
        frame.where("label > 0").count(),
    )
    assert events == rows
    assert weight == pytest.approx(whole, rel=0.05)
    counted = models.training_rows(frame, ["docks_lag1"], whole, 1)
    assert counted.count() < 30
    assert counted.agg({"weight": "sum"}).first()[0] == whole  # type: ignore[index]


def test_one_station_is_the_one_most_often_full_and_says_so(source: Source) -> None:
    said: list[str] = []
    options = Options(targets=(Target.FULL,), models=("logistic_lags",), one_station=True, draws=5)
    outcome = training.train(source, options, said.append)[0]
    most = source.rates.groupBy("station").agg({"full_events": "sum"}).orderBy("sum(full_events)", ascending=False)
    assert outcome.station_code == source.stations.known[most.first()["station"]].code  # type: ignore[index]
    assert said[0].startswith(f"station {outcome.station_code}: full for ")
    assert set(outcome.test.station.tolist()) == {source.number_of(outcome.station_code)}


def test_a_station_that_is_never_full_is_refused_and_five_that_would_do_are_named(source: Source) -> None:
    options = Options(targets=(Target.FULL,), models=("logistic_lags",), station_code=QUIET)
    with pytest.raises(OneClassError, match=rf"of station {QUIET}: never so in the days to train") as refused:
        training.train(source, options, lambda _: None)
    named = str(refused.value).rpartition(": ")[2].split(", ")
    assert len(named) == 5
    assert QUIET not in named
    for code in named:
        options = Options(targets=(Target.FULL,), models=("logistic_lags",), station_code=code, draws=2)
        assert training.train(source, options, lambda _: None)[0].station_code == code
        break


def test_an_unknown_station_is_named_with_some_that_are_known(source: Source) -> None:
    options = Options(targets=(Target.FULL,), station_code="1999")
    with pytest.raises(UnknownStationError, match=r"no station '1999' in these days; there are 16"):
        training.train(source, options, lambda _: None)


def test_two_days_are_too_few(small: SparkSession) -> None:
    options = ArchiveOptions(horizons=(15,), step_seconds=300)
    with pytest.raises(TooLittleDataError, match="three days at least"):
        from_spells(small, network(stations=1, days=2), "Europe/Paris", options, {})


def test_dates_that_leave_a_part_without_rows_are_told(small: SparkSession) -> None:
    options = ArchiveOptions(
        horizons=(15,), step_seconds=300, split=Split(FIRST.replace(day=20), FIRST.replace(day=21))
    )
    made = from_spells(small, network(stations=2, days=3), "Europe/Paris", options, {})
    with pytest.raises(TooLittleDataError, match="no row to validate and test full in 15 min"):
        training.train(made, Options(targets=(Target.FULL,)), lambda _: None)
