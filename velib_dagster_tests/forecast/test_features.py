"""From spells to rows of features: by hand, with gaps, without a look into the future."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from velib_dagster.forecast import features, live
from velib_dagster.forecast.features import Task, daily_rates, rate_table, task_frame, with_neighbours
from velib_dagster.forecast.grid import grid, nearest_polls, stations_of, usual_step
from velib_dagster.forecast.scorer import Document, Scorer
from velib_dagster.forecast.sources import Source
from velib_dagster.forecast.task import CLOCK, FeatureSet, Split, Target, feature_names
from velib_dagster.statistics.reading import spells_frame
from velib_dagster.store.forecasts import StateAt
from velib_dagster_tests.forecast.make import network, spell, table

pytestmark = pytest.mark.spark
NOON = datetime(2024, 11, 7, 12, tzinfo=UTC)
SPLIT = Split(date(2024, 11, 7), date(2024, 11, 8))
FULL_15 = Task(Target.FULL, 15, SPLIT, "Europe/Paris", 300)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def rows_of(spark: SparkSession, spells: pa.Table, polls: list[int] | None = None) -> list[dict[str, Any]]:
    frame = spells_frame(spark, spells)
    marks = grid(frame, stations_of(frame), 300, polls)
    found = features.features(marks, 300, (15,), 300).drop("mark", "capacity")
    return sorted(found.toArrow().to_pylist(), key=lambda row: (row["station"], row["at"]))


def test_the_lags_are_the_counts_at_the_origin_and_one_and_two_steps_before(small: SparkSession) -> None:
    found = rows_of(small, table(spell("16107", minute(5 * n), n) for n in range(7)))
    assert [(row["docks_lag1"], row["docks_lag2"], row["docks_lag3"]) for row in found] == [
        (n, n - 1, n - 2) for n in range(2, 7)
    ]
    assert [row["docks_after_15"] for row in found] == [5, 6, None, None, None]
    assert found[0]["bikes_lag3"] == 12
    assert found[0]["at"] == minute(10).timestamp()


def test_a_gap_or_a_closed_station_drops_the_row_and_is_never_filled(small: SparkSession) -> None:
    states = [spell("16107", minute(5 * n), n) for n in range(12) if n != 4]
    states[7]["is_renting"] = False  # at minute 40
    found = {row["at"]: row for row in rows_of(small, table(states))}
    assert [(at - NOON.timestamp()) / 60 for at in sorted(found)] == [10, 15, 35, 55]
    assert found[minute(10).timestamp()]["docks_after_15"] == 5
    assert found[minute(35).timestamp()]["docks_after_15"] == 10


def test_with_the_times_of_polls_a_mark_is_known_by_the_poll_nearest_to_it(small: SparkSession) -> None:
    held = spell("16107", minute(0), 3, until=minute(60), seconds=3600)
    polls = [int(minute(n).timestamp()) + late for n, late in ((0, 1), (5, 100), (10, -60), (15, 2), (25, 3))]
    found = rows_of(small, table([held]), polls)
    assert [row["at"] - NOON.timestamp() for row in found] == [10 * 60 - 60, 15 * 60 + 2]


def test_of_two_polls_near_a_mark_the_nearest_one_counts() -> None:
    assert nearest_polls([290, 320, 449, 451, 905], 300) == [(1, 290), (2, 451), (3, 905)]


@pytest.mark.parametrize(("every", "step"), [(60, 60), (300, 300)])
def test_the_step_is_told_by_when_states_begin(small: SparkSession, every: int, step: int) -> None:
    began = [NOON + timedelta(seconds=every * n + 7) for n in range(30)]
    assert usual_step(spells_frame(small, table(spell("16107", at, n % 9) for n, at in enumerate(began)))) == step


def test_features_with_the_future_cut_off_are_the_same(small: SparkSession) -> None:
    whole = network(stations=6, days=2)
    until = sorted(whole["since"].to_pylist())[2 * len(whole) // 3]
    past = whole.filter(pa.compute.less_equal(whole["until"], pa.scalar(until, whole["until"].type)))
    assert 0 < len(past) < len(whole)

    def seen(spells: pa.Table) -> dict[tuple[int, int], dict[str, Any]]:
        frame = spells_frame(small, spells)
        stations = stations_of(spells_frame(small, whole))
        marks = grid(frame, stations, 300)
        rows = with_neighbours(features.features(marks, 300, (15,), 300), marks, stations)
        rates = daily_rates(marks, Split(date(2024, 11, 5), date(2024, 11, 6)), "Europe/Paris")
        task = Task(Target.FULL, 15, Split(date(2024, 11, 5), date(2024, 11, 6)), "Europe/Paris", 300)
        return {(row["station"], row["at"]): row for row in task_frame(rows, rates, task).toArrow().to_pylist()}

    early, all_rows = seen(past), seen(whole)
    known = {key for key in all_rows if all_rows[key]["part"] == "train"}
    assert known
    assert set(early) <= set(all_rows)
    shared = known & set(early)
    assert len(shared) > 300
    for key in shared:
        assert early[key] == all_rows[key]


def test_the_rate_knows_training_days_only_and_leaves_out_a_rows_own_day(small: SparkSession) -> None:
    days = {date(2024, 11, 5): 0, date(2024, 11, 6): 6, date(2024, 11, 7): 0}
    spells = table(
        spell("16107", datetime(day.year, day.month, day.day, 12, 5 * n, tzinfo=UTC), docks)
        for day, docks in days.items()
        for n in range(12)
    )
    frame = spells_frame(small, spells)
    marks = grid(frame, stations_of(frame), 300)
    rates = daily_rates(marks, SPLIT, "Europe/Paris")
    rows = features.features(marks, 300, (15,), 300).withColumn("neighbour_fill", features.F.lit(-1.0))
    found = {row["day"]: row["rate"] for row in task_frame(rows, rates, FULL_15).toArrow().to_pylist()}
    # Twelve rows of an hour, weighed against as many of the network's share, which is 1/2.
    assert found[date(2024, 11, 5)] == pytest.approx((0 + 6) / (12 + 12))
    assert found[date(2024, 11, 6)] == pytest.approx((12 + 6) / (12 + 12))
    assert found[date(2024, 11, 7)] == pytest.approx((12 + 6) / (24 + 12))
    table_of = rate_table(rates, FULL_15)
    assert table_of[0, 13] == pytest.approx(found[date(2024, 11, 7)])
    assert table_of[-1, 13] == 0.5


def scorer_seeing_everything(rates: dict[str, list[float]], network_rate: list[float]) -> Scorer:
    document: Document = {
        "format": 1, "target": "full", "horizon_minutes": 15, "step_seconds": 300, "timezone": "Europe/Paris",
        "model": "m", "kind": "forest", "columns": [*feature_names(Target.FULL, FeatureSet.RICH)], "threshold": 0.5,
        "intercept": 0.0, "coefficients": [], "tree_weights": [], "rate_hours": network_rate, "rates": rates,
        "trees": [],
    }  # fmt: skip
    return Scorer(document)


def test_the_live_features_are_those_of_training(source: Source) -> None:
    task = Task(Target.FULL, 15, source.split, source.timezone, 300)
    rates = rate_table(source.rates, task)
    codes = [station.code for station in source.stations.known]
    network_rate = [rates.get((-1, hour), 0.0) for hour in range(24)]
    scorer = scorer_seeing_everything(
        {code: [rates.get((n, hour), network_rate[hour]) for hour in range(24)] for n, code in enumerate(codes)},
        network_rate,
    )
    rows = [r for r in task_frame(source.rows, source.rates, task).toArrow().to_pylist() if r["part"] == "test"]
    at = sorted({row["at"] for row in rows})[20]
    made_at = datetime.fromtimestamp(at, UTC)
    spells = network().to_pylist()

    def states(moment: datetime) -> dict[str, StateAt]:
        return {
            s["station_code"]: StateAt(
                station_code=s["station_code"], lat=s["lat"], lon=s["lon"], capacity=s["capacity"], bikes=s["bikes"],
                docks=s["docks"], in_service=True,
            )
            for s in spells
            if s["since"] <= moment < s["until"]
        }  # fmt: skip

    lags = [states(moment) for moment in live.lag_instants(made_at, 300)]
    found = live.columns(scorer, made_at, lags, codes)
    wanted = {row["station"]: row for row in rows if row["at"] == at}
    assert len(wanted) == len(codes)
    for name in (*feature_names(Target.FULL, FeatureSet.RICH, clock=False), *CLOCK):
        expected = np.array([wanted[n][name] for n in range(len(codes))])
        assert found[name] == pytest.approx(expected, abs=1e-12), name
