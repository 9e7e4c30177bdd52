"""One poll in Dagster: green whatever the feed does, with checks that say what it did."""

import json

import dagster as dg
import pytest

from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration.raw_snapshots import raw_snapshots
from velib_dagster.orchestration.resources import Platform
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.orchestration.conftest import LocalFeed


def poll(platform: Platform) -> tuple[dict[str, object], dict[str, dg.AssetCheckEvaluation]]:
    result = dg.materialize([raw_snapshots], resources={"platform": platform}, instance=dg.DagsterInstance.ephemeral())
    assert result.success
    (materialization,) = result.asset_materializations_for_node("raw_snapshots")
    checks = {found.check_name: found for found in result.get_asset_check_evaluations()}
    told = {
        name: value.records if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in materialization.metadata.items()
    }
    return told, checks


def test_a_poll_is_kept_and_told(platform: Platform, home: Settings, local_feed: LocalFeed) -> None:
    told, checks = poll(platform)
    name = SnapshotStore(home.raw).newest()
    assert name is not None
    assert told["snapshot"] == name
    assert told["path"] == str(SnapshotStore(home.raw).path(name))
    assert (told["rows"], told["reports"], told["refused"], told["dagster/row_count"]) == (2, 2, 0, 2)
    assert told["bytes"] == len(local_feed.body)
    assert [record.data["station_code"] for record in told["head"]] == ["16107", "8026"]  # type: ignore[attr-defined]
    assert all(check.passed for check in checks.values()), checks
    assert SnapshotStore(home.raw).read(name).answers[0].body == local_feed.body


def test_a_bad_row_costs_only_itself_and_fails_completeness(platform: Platform, local_feed: LocalFeed) -> None:
    rows = json.loads(local_feed.body)
    rows[1]["numbikesavailable"] = -1
    local_feed.body = json.dumps(rows).encode()
    told, checks = poll(platform)
    assert (told["rows"], told["reports"]) == (2, 1)
    assert told["refused_by_reason"] == {"negative_count": 1}
    assert not checks["completeness"].passed
    assert checks["poll_kind"].passed


@pytest.mark.parametrize(("body", "kind"), [(b"<html>down</html>", "not_json"), (b"[]", "empty")])
def test_an_answer_without_stations_is_green_and_named(
    platform: Platform, local_feed: LocalFeed, body: bytes, kind: str
) -> None:
    local_feed.body = body
    told, checks = poll(platform)
    assert told["kind"] == kind
    assert not checks["poll_kind"].passed
    assert kind in (checks["poll_kind"].description or "")


def test_two_polls_by_hand_in_one_second_are_two_snapshots(platform: Platform, home: Settings) -> None:
    poll(platform)
    poll(platform)
    assert len(SnapshotStore(home.raw).names_after(None)) == 2


def test_a_feed_of_recordings_is_never_polled(platform: Platform, home: Settings) -> None:
    Settings(home=home.home, feed=Feed("recordings", "")).save()
    told, _ = poll(platform)
    assert "velib backfill" in str(told["outcome"])
    assert SnapshotStore(home.raw).newest() is None
