"""The forecast's assets on a real PostgreSQL and a real MLflow: trained, used, settled."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import msgspec
import pytest
from pyspark.sql import SparkSession

from velib_dagster.definitions import build_defs
from velib_dagster.events.records import Spell
from velib_dagster.forecast.champion import champion
from velib_dagster.forecast.task import Target
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.models import Training as Knobs
from velib_dagster.orchestration.models import told
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.station_forecasts import refresh, station_forecasts
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.forecast_tables import risk_table
from velib_dagster.store.migrate import migrate
from velib_dagster_tests.forecast.conftest import Training
from velib_dagster_tests.forecast.make import network
from velib_dagster_tests.statistics.archives import write_archive
from velib_dagster_tests.store.test_forecasts import add_poll, add_state

NOON = datetime(2024, 11, 7, 12, tzinfo=UTC)
PROGRAM = """
import json, os, resource, sys, time
import dagster as dg
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.station_forecasts import station_forecasts
with dg.DagsterInstance.ephemeral() as instance:
    done = dg.materialize([station_forecasts], resources={"platform": Platform(home=sys.argv[1])}, instance=instance)
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: it begins with what the parent had when it forked.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
heavy = [name for name in ("pyspark", "mlflow", "pandas", "sklearn", "pyarrow") if name in sys.modules]
print(json.dumps({"success": done.success, "seconds": used.ru_utime + used.ru_stime, "mb": peak / 1000,
                  "heavy": heavy}))
"""


@pytest.fixture
def ready(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings], mlflow_server: str, trained: Training
) -> Iterator[Settings]:
    """A feed with an MLflow that holds a champion of it, and three polls of the small network."""
    from velib_dagster.forecast.tracking import track

    settings = replace(fresh_feed(postgres_settings), mlflow_address=mlflow_server)
    migrate(settings)
    track(mlflow_server, trained.source, trained.options, trained.outcomes, feed=settings.feed.name, simulated=False)
    with connect(settings) as connection:
        for back, docks in ((10, 3), (5, 2), (0, 1)):
            add_poll(connection, NOON - timedelta(minutes=back))
            for code in ("2001", "3002"):
                add_state(connection, code, NOON - timedelta(minutes=back), docks=docks, bikes=12 - docks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VELIB_MLFLOW", mlflow_server)
        yield settings


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.postgres
@pytest.mark.spark
def test_a_refresh_forecasts_every_station_settles_what_came_and_is_idempotent(ready: Settings) -> None:
    first = refresh(ready)
    assert first.metadata is not None
    assert first.metadata["dagster/row_count"] == 6
    made = rows(ready, "SELECT station_code, made_at, horizon_minutes, risk_full, risk_empty FROM station_forecasts")
    assert [row[:3] for row in made] == [(code, NOON, h) for h in (15, 30, 60) for code in ("2001", "3002")]
    assert all(0 <= risk <= 1 for row in made for risk in row[3:])
    refresh(ready)
    assert (
        rows(ready, "SELECT station_code, made_at, horizon_minutes, risk_full, risk_empty FROM station_forecasts")
        == made
    )
    with connect(ready) as connection:
        add_poll(connection, NOON + timedelta(minutes=16))
        add_state(connection, "2001", NOON + timedelta(minutes=14), docks=0, bikes=12)
        add_poll(connection, NOON + timedelta(minutes=14))
    again = refresh(ready)
    assert again.metadata is not None
    assert again.metadata["settled"] == 2
    came = rows(ready, "SELECT station_code, was_full FROM station_forecasts WHERE settled ORDER BY 1")
    assert came == [("2001", True), ("3002", False)]
    scored = rows(ready, "SELECT target, horizon_minutes, forecasts, events FROM forecast_scores ORDER BY target")
    assert scored == [("empty", 15, 2, 0), ("full", 15, 2, 1)]


@pytest.mark.postgres
@pytest.mark.spark
def test_what_each_risk_comes_from_is_told_in_the_metadata_the_tables_and_the_commands_header(
    ready: Settings, trained: Training
) -> None:
    told_of = refresh(ready).metadata
    assert told_of is not None
    wanted = trained.outcome.champion
    assert wanted is not None
    assert told_of["champions"] == f"full in 15 min: {wanted.name} (version 1)"
    rivals = str(told_of["no_champion"])
    assert "full in 30 min: minus_docks (a rival)" in rivals
    assert "empty in 15 min: minus_bikes (a rival)" in rivals
    assert "of 5 archived" in str(told_of["worth"])
    assert "viewStateShareKey=15-min" in str(told_of["compare_full"])
    models = rows(ready, "SELECT target, horizon_minutes, model, version FROM forecast_models ORDER BY 1 DESC, 2")
    assert models == [
        ("full", 15, wanted.name, 1),
        *(("full", horizon, "minus_docks", None) for horizon in (30, 60)),
        *(("empty", horizon, "minus_bikes", None) for horizon in (15, 30, 60)),
    ]
    shown = rows(ready, "SELECT full_model, empty_model FROM forecast_now WHERE horizon_minutes = 15")
    assert set(shown) == {(wanted.name, "minus_bikes")}
    title = str(risk_table(ready, horizon=None, station_code=None, zone=None, top=5).title)
    assert f"full in 15 min by {wanted.name}, champion, version 1" in title
    assert "full in 30, 60 min by minus_docks, the best rival: no model is champion" in title
    assert "21 are wanted" in title


@pytest.mark.postgres
@pytest.mark.spark
def test_a_refresh_needs_no_java_and_few_resources(ready: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ready.home)],
        env={**os.environ, "DAGSTER_DISABLE_TELEMETRY": "yes"},
        capture_output=True,
        text=True,
        check=True,
    )
    used = json.loads(done.stdout.splitlines()[-1])
    assert used["success"]
    assert used["heavy"] == []
    assert used["mb"] < 300
    assert used["seconds"] < 5


class SessionOfTheTests(Spark):
    """The session of the tests in place of one of its own."""

    def session(self) -> SparkSession:
        session = SparkSession.getActiveSession()
        assert session is not None
        return session


@pytest.mark.postgres
@pytest.mark.spark
def test_the_job_trains_compares_promotes_and_holds_the_champions_to_their_rivals(
    postgres_settings: Settings,
    fresh_feed: Callable[..., Settings],
    mlflow_server: str,
    small: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert small is not None
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    write_archive(settings.archive, [msgspec.convert(row, Spell) for row in network().to_pylist()])
    monkeypatch.setenv("VELIB_MLFLOW", mlflow_server)
    resources = {"platform": Platform(home=str(settings.home)), "training_spark": SessionOfTheTests()}
    knobs = Knobs(horizons="15", models="logistic_lags")
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(resources, settings).resolve_job_def(jobs.MODELS)
        result = job.execute_in_process(run_config=dg.RunConfig(ops={"models": knobs}), instance=instance)
    told_of = {event.asset_key.to_user_string(): event for event in result.get_asset_materialization_events()}
    assert set(told_of) == {"full_station_model", "empty_station_model"}
    metadata = told_of["full_station_model"].materialization.metadata
    assert str(metadata["experiment"].value).startswith(f"{mlflow_server}/#/experiments/")
    assert f"{settings.feed.name}.station-full version 1" in str(metadata["champions"].value)
    assert "21 are wanted" in str(metadata["worth"].value)
    found = result.get_asset_check_evaluations()
    assert {one.asset_key.to_user_string(): one.passed for one in found} == dict.fromkeys(told_of, True)
    for one in found:
        assert one.metadata["days"].value == "2024-11-07 to 2024-11-08"
        assert "PR-AUC" in str(one.description)
    assert champion(mlflow_server, Target.EMPTY, 15, settings.feed.name) is not None


@pytest.mark.postgres
@pytest.mark.spark
def test_before_any_training_the_best_rival_forecasts(
    postgres_settings: Settings,
    fresh_feed: Callable[..., Settings],
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    monkeypatch.setenv("VELIB_MLFLOW", mlflow_server)
    with connect(settings) as connection:
        add_poll(connection, NOON)
        for code, docks in (("1", 0), ("2", 1), ("3", 9)):
            add_state(connection, code, NOON, docks=docks, bikes=10 - docks)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [station_forecasts], resources={"platform": Platform(home=str(settings.home))}, instance=instance
        )
    (event,) = done.get_asset_materialization_events()
    assert event.materialization.metadata["champions"].value == "none"
    found = rows(settings, "SELECT risk_full FROM forecast_now WHERE horizon_minutes = 15 ORDER BY station_code")
    assert [risk for (risk,) in found] == [0.642, 0.162, 0.002]


@pytest.mark.spark
def test_the_result_of_a_training_shows_the_comparison_and_the_way_to_mlflow(trained: Training) -> None:
    from velib_dagster.forecast.run import Report

    address = "http://127.0.0.1:5000/#/experiments/1"
    found = told(Report(trained.source, trained.outcomes, [], {Target.FULL: address}), "full")
    assert found["experiment"] == dg.MetadataValue.url(address)
    assert found["champions"] == "none"
    comparison = found["comparison"]
    assert isinstance(comparison, dg.TableMetadataValue)
    scores = [record.data["score"] for record in comparison.records]
    assert scores == list(trained.outcome.evaluations)


def test_knobs_become_a_request() -> None:
    knobs = Knobs(days="2024-11-06..2024-11-10", horizons="15", models="gbt_lags", station_code="16107")
    made = knobs.request(["full"])
    assert (str(made.first), str(made.last), made.horizons) == ("2024-11-06", "2024-11-10", (15,))
    assert (made.options.targets, made.options.models) == ((Target.FULL,), ("gbt_lags",))
    assert Knobs().request(["full", "empty"]).options.targets == (Target.FULL, Target.EMPTY)
