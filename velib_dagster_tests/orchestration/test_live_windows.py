"""What the sensor reports of the streaming job, from a real database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from velib_dagster.orchestration.live_windows import live_specs, streaming_progress_sensor
from velib_dagster.orchestration.resources import Platform
from velib_dagster.settings import Feed, Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate

pytestmark = pytest.mark.postgres
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SUMS = (
    "seconds_empty, seconds_full, seconds_docks_known, seconds_split_known, seconds_occupancy_known, bikes_seconds,"
    " mechanical_seconds, ebike_seconds, docks_seconds, occupancy_seconds"
)


@pytest.fixture
def live(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    settings = fresh_feed(postgres_settings, url="http://127.0.0.1:1/")
    migrate(settings)
    return settings


def batch(settings: Settings, number: int) -> None:
    with connect(settings) as connection:
        connection.execute("DELETE FROM stream_progress")
        connection.execute(
            "INSERT INTO stream_progress VALUES ('windows', %s, 1500, 250, '{}', %s, 2.5, now())", (number, START)
        )


def window(settings: Settings, code: str, start: datetime) -> None:
    with connect(settings) as connection:
        connection.execute(
            "INSERT INTO windows (station_code, name, zone, cell, window_start, window_end, newest_since, seconds,"
            f" seconds_in_service, {SUMS})"
            " VALUES (%s, 'A', 'Paris 1er', 'c', %s, %s, %s, 600, 300, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
            (code, start, start + timedelta(minutes=10), start),
        )


def poll(settings: Settings, time: datetime) -> None:
    with connect(settings) as connection:
        connection.execute(
            "INSERT INTO polls VALUES"
            " (%s, %s, 'usable', '', 1, 1, 1, '{}', 0, 0, 1, 0, 0, NULL, NULL, NULL, NULL, '{}')",
            (f"{time:%Y%m%dT%H%M%SZ}-0", time),
        )


def look(settings: Settings, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=dg.DagsterInstance.ephemeral(),
        cursor=cursor,
        resources={"platform": Platform(home=str(settings.home))},
    )
    found = streaming_progress_sensor()(context)
    assert isinstance(found, dg.SensorResult)
    return found


def words(found: dg.SensorResult) -> str:
    return found.skip_reason.skip_message or "" if isinstance(found.skip_reason, dg.SkipReason) else ""


def test_before_the_first_batch_nothing_is_reported(live: Settings) -> None:
    found = look(live)
    assert words(found) == "the streaming job has not finished a batch yet"
    assert not found.asset_events


def test_a_new_batch_is_reported_for_each_grain_with_its_newest_complete_window(live: Settings) -> None:
    window(live, "1", START)
    window(live, "2", START)
    window(live, "1", START + timedelta(minutes=10))
    poll(live, START + timedelta(minutes=15))
    batch(live, 7)
    found = look(live)
    told = {event.asset_key.to_user_string(): event.metadata for event in found.asset_events}
    assert set(told) == {"live_station_windows", "live_zone_windows", "live_cell_windows"}
    station = {name: value.value for name, value in told["live_station_windows"].items()}
    assert (station["batch"], station["input_rows"], station["dagster/row_count"]) == (7, 1500, 2)
    assert station["newest_complete_window_end"] == (START + timedelta(minutes=10)).isoformat()
    assert station["in_service_share"] == 0.5
    assert told["live_cell_windows"]["dagster/row_count"].value == 1


def test_the_same_batch_is_reported_once_and_the_next_not_before_five_minutes(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(live, 7)
    first = look(live)
    assert len(first.asset_events) == 3
    again = look(live, first.cursor)
    assert not again.asset_events
    assert words(again).startswith("no batch after 7; the streaming job was last heard at")
    batch(live, 8)
    assert words(look(live, again.cursor)) == "batch 8 is new; reports go out every five minutes"
    monkeypatch.setattr("velib_dagster.orchestration.live_windows.REPORT_EVERY", timedelta(0))
    assert len(look(live, again.cursor).asset_events) == 3


def test_a_checkpoint_begun_anew_is_reported_although_its_numbers_are_small(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("velib_dagster.orchestration.live_windows.REPORT_EVERY", timedelta(0))
    batch(live, 7)
    cursor = look(live).cursor
    batch(live, 0)
    assert len(look(live, cursor).asset_events) == 3


def test_only_a_polled_feed_is_watched_for_freshness(live: Settings) -> None:
    recordings = Settings(home=live.home, feed=Feed("recordings", ""))
    assert all(spec.freshness_policy is not None for spec in live_specs(live))
    assert all(spec.freshness_policy is None for spec in live_specs(recordings))
