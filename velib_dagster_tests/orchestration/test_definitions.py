"""The code location as Dagster loads it: names, edges, marks, and how light it is."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from velib_dagster.definitions import build_defs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.settings import Feed, Settings, SettingsError

REPOSITORY = Path(__file__).resolve().parents[2]
EDGES = {
    "raw_snapshots": set(),
    "station_events": {"raw_snapshots"},
    "csv_archive": {"station_events"},
    "live_station_windows": {"station_events"},
    "live_zone_windows": {"station_events"},
    "live_cell_windows": {"station_events"},
    "kafka_states": {"station_events"},
    "kafka_spells": {"station_events"},
    "kafka_polls": {"station_events"},
    "mlflow": set(),
    "storage": set(),
    "station_stats": {"csv_archive"},
    "zone_stats": {"csv_archive"},
    "empty_stations": {"csv_archive"},
    "full_stations": {"csv_archive"},
    "full_station_model": {"csv_archive"},
    "empty_station_model": {"csv_archive"},
    "station_forecasts": {"full_station_model", "empty_station_model", "live_station_windows"},
}
STATISTICS = ("station_stats", "zone_stats", "empty_stations", "full_stations")
STATISTICS_KEYS = {dg.AssetKey(name) for name in STATISTICS}
MODELS = ("full_station_model", "empty_station_model")
MATERIALIZABLE = {
    *("raw_snapshots", "station_events", "csv_archive", "storage", "station_forecasts"),
    *STATISTICS,
    *MODELS,
}


def settings_of(tmp_path: Path, feed: Feed) -> Settings:
    return Settings(home=tmp_path, feed=feed, ports={"kafka": 9092, "mlflow": 5000})


def test_the_code_location_loads(tmp_path: Path) -> None:
    dg.Definitions.validate_loadable(build_defs({"platform": Platform(home=str(tmp_path))}))


def test_a_damaged_home_is_told_when_the_code_location_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home.json").write_text("{")
    monkeypatch.setenv("VELIB_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"home\.json can't be read"):
        build_defs()


def test_the_graph_has_these_assets_and_edges() -> None:
    graph = build_defs().resolve_asset_graph()
    edges = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert edges == EDGES
    assert {key.to_user_string() for key in graph.materializable_asset_keys} == MATERIALIZABLE


def test_every_asset_tells_its_grain_group_kinds_and_owner() -> None:
    graph = build_defs().resolve_asset_graph()
    groups = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.description.startswith(("One ", "Topic ", "The MLflow")), key
        assert node.kinds, key
        assert node.owners == ["team:velib"], key
        groups[key.to_user_string()] = node.group_name
    assert set(groups.values()) == {"feed", "events", "live", "archive", "statistics", "models", "platform"}


def test_checks_stand_beside_their_assets() -> None:
    graph = build_defs().resolve_asset_graph()
    found = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert found == {
        *(("raw_snapshots", name) for name in ("poll_kind", "completeness", "freshness")),
        *(("station_events", name) for name in ("poll_kind", "completeness", "no_duplicates", "freshness")),
        *(("csv_archive", name) for name in ("no_duplicates", "no_overlap_no_hole", "freshness")),
        *((asset, name) for asset in STATISTICS for name in ("sql_gives_the_same", "recount")),
        ("station_stats", "seconds_within_the_day"),
        *((asset, "champion_beats_rivals") for asset in MODELS),
    }


def test_jobs_run_in_process_in_a_lane_of_their_own_and_end_in_time() -> None:
    repository = build_defs().get_repository_def()
    lanes = {}
    for name in (
        "poll_feed",
        "producer",
        "archive_events",
        "retention",
        "statistics_of_day",
        "train_models",
        "forecast_stations",
    ):
        job = repository.get_job(name)
        assert job.executor_def.name == "in_process"
        assert int(job.tags["dagster/max_runtime"]) > 0
        lanes[name] = job.tags["velib/lane"]
    assert len(set(lanes.values())) == len(lanes)


def test_a_backfill_of_statistics_takes_a_week_a_run_and_one_run_at_a_time() -> None:
    (assets,) = (one for one in build_defs().assets or () if getattr(one, "keys", set()) >= STATISTICS_KEYS)
    assert assets.backfill_policy == dg.BackfillPolicy.multi_run(7)
    assert assets.op.pool == "statistics"


@pytest.mark.parametrize(("automation", "status"), [(None, "STOPPED"), ("on", "RUNNING")])
def test_nothing_starts_by_itself_unless_a_platform_runs(
    monkeypatch: pytest.MonkeyPatch, automation: str | None, status: str
) -> None:
    if automation:
        monkeypatch.setenv("VELIB_AUTOMATION", automation)
    repository = build_defs().get_repository_def()
    found = {*repository.schedule_defs, *repository.sensor_defs}
    ours = {d.name: d.default_status.value for d in found if d.name != "default_automation_condition_sensor"}
    assert ours == dict.fromkeys(
        (
            *("every_minute", "every_five_minutes", "every_hour", "statistics_of_due_days"),
            *("train_weekly", "forecast_every_ten_minutes"),
            *("new_snapshots", "streaming_progress", "computed_elsewhere"),
        ),
        status,
    )


def test_where_no_feed_is_polled_only_what_was_computed_elsewhere_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_AUTOMATION", "reports")
    repository = build_defs().get_repository_def()
    found = {*repository.schedule_defs, *repository.sensor_defs}
    running = {d.name for d in found if d.default_status.value == "RUNNING"}
    assert running - {"default_automation_condition_sensor"} == {"computed_elsewhere"}


def test_each_asset_of_a_simulated_feed_says_so(tmp_path: Path) -> None:
    simulated = build_defs(settings=settings_of(tmp_path, Feed("simulated", "", simulated=True)))
    real = build_defs(settings=settings_of(tmp_path, Feed("velib", "http://127.0.0.1:1/")))
    for spec in simulated.resolve_all_asset_specs():
        assert "SIMULATED" in (spec.description or ""), spec.key
        assert spec.tags["velib/simulated"] == "true"
    for spec in real.resolve_all_asset_specs():
        assert "SIMULATED" not in (spec.description or "")
        assert spec.tags["velib/feed"] == "velib"


def test_references_carry_their_address(tmp_path: Path) -> None:
    specs = {
        spec.key.to_user_string(): spec
        for spec in build_defs(
            settings=settings_of(tmp_path, Feed("velib", "http://127.0.0.1:1/"))
        ).resolve_all_asset_specs()
    }
    compared = dg.MetadataValue.url("http://127.0.0.1:5000/#/experiments?workflowType=machine_learning")
    assert specs["mlflow"].metadata["url"] == compared
    assert specs["kafka_spells"].metadata["url"] == dg.MetadataValue.url("kafka://127.0.0.1:9092/velib.spells")


def test_the_reference_to_mlflow_leads_to_the_comparisons_once_the_home_knows_them(tmp_path: Path) -> None:
    known: dict[str, Any] = {"address": "http://127.0.0.1:5000", "experiments": {"full": "3", "empty": "4"}}
    (tmp_path / "mlflow.json").write_text(json.dumps(known))
    settings = settings_of(tmp_path, Feed("velib", "http://127.0.0.1:1/"))
    specs = {spec.key.to_user_string(): spec for spec in build_defs(settings=settings).resolve_all_asset_specs()}
    view = "runs?workflowType=machine_learning&viewStateShareKey=15-min"
    for target, number in known["experiments"].items():
        address = dg.MetadataValue.url(f"http://127.0.0.1:5000/#/experiments/{number}/{view}")
        assert specs["mlflow"].metadata[f"compare_{target}"] == address
    elsewhere = replace(settings, mlflow_address="http://127.0.0.1:6000")
    specs = {spec.key.to_user_string(): spec for spec in build_defs(settings=elsewhere).resolve_all_asset_specs()}
    assert "compare_full" not in specs["mlflow"].metadata, "numbers of another server"


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("pandas", "pyspark", "mlflow", "pyarrow", "sklearn", "matplotlib", "psycopg", "confluent_kafka", "shapely")
    program = f"import sys, velib_dagster.definitions; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "VELIB_HOME": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_workspace_and_project_name_the_same_code_location() -> None:
    import tomllib

    location = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert location["location_name"] == project["code_location_name"]
    assert location["module_name"] == project["code_location_target_module"]
