"""Heavy work is held by pools of one run each, whoever launches it; polls and the producer go first."""

import os

import dagster as dg
import pytest
import yaml

from velib_dagster.definitions import build_defs
from velib_dagster.orchestration.daemon import make_pools
from velib_dagster.orchestration.shared import POOLS, STATISTICS_POOL, TRAINING_POOL, yield_to_polls
from velib_dagster.runtime.dagster_services import _INSTANCE

HEAVY = {
    "statistics": STATISTICS_POOL,
    "models": TRAINING_POOL,
    "full_station_model_champion_beats_rivals": TRAINING_POOL,
    "empty_station_model_champion_beats_rivals": TRAINING_POOL,
}


def test_all_that_starts_spark_in_a_run_has_a_pool_and_nothing_else_has() -> None:
    repository = build_defs().get_repository_def()
    ops = {
        op.name: op.pool
        for job in repository.get_all_jobs()
        for op in job.all_node_defs
        if isinstance(op, dg.OpDefinition)
    }
    assert {name: pool for name, pool in ops.items() if pool} == HEAVY
    assert sum(POOLS.values()) == 2


def test_the_pools_are_there_before_the_first_run_and_stay_as_someone_set_them(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    make_pools(instance)
    assert {pool: storage.get_concurrency_info(pool).slot_count for pool in POOLS} == POOLS
    storage.set_concurrency_slots(STATISTICS_POOL, 2)
    make_pools(instance)
    assert storage.get_concurrency_info(STATISTICS_POOL).slot_count == 2


def test_the_queue_has_places_beyond_heavy_work_for_one_run_of_each_lane() -> None:
    runs = yaml.safe_load(_INSTANCE)["concurrency"]["runs"]
    lanes = {
        job.tags["velib/lane"] for job in build_defs().get_repository_def().get_all_jobs() if "velib/lane" in job.tags
    }
    assert runs["max_concurrent_runs"] > len(lanes)


def test_polls_and_producer_are_dequeued_first_and_training_last() -> None:
    jobs = build_defs().get_repository_def().get_all_jobs()
    priority = {job.name: int(job.tags.get("dagster/priority", 0)) for job in jobs}
    order = sorted(priority, key=lambda name: -priority[name])
    assert set(order[:2]) == {"poll_feed", "producer"}
    assert order[-2:] == ["statistics_of_day", "train_models"]
    assert priority["statistics_of_day"] < 0 < priority["archive_events"], "runs launched from pages have priority 0"


def test_heavy_work_takes_less_of_the_processor_only_where_its_process_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "nice", lambda more: asked.append(more) or 0)
    yield_to_polls()
    assert asked == []
    monkeypatch.setenv("VELIB_AUTOMATION", "on")
    yield_to_polls()
    assert asked == [0, 10]
