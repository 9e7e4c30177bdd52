"""When the producer is launched, and the words while it is not."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from velib_dagster.feed.answers import Fetched, Snapshot
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.sensors import new_snapshots_sensor
from velib_dagster.orchestration.shared import PUBLISHED_THROUGH, TAKEN_OVER
from velib_dagster.settings import Settings

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dg.graph
def noop() -> None: ...


@pytest.fixture
def broker_port(home: Settings) -> Iterator[int]:
    """A port that takes connections, in the home as Kafka's: all that the sensor asks of a broker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        Settings(home=home.home, feed=home.feed, ports={"kafka": port}).save()
        yield port


@pytest.fixture
def events() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def keep(settings: Settings, minutes: int = 1) -> list[Snapshot]:
    store = SnapshotStore(settings.raw)
    times = [START + timedelta(minutes=minute) for minute in range(minutes)]
    return [store.add(Fetched(poll_time=time, fetched_at=time, answers=())) for time in times]


def look(instance: dg.DagsterInstance, platform: Platform, cursor: str | None = None) -> tuple[str | None, str | None]:
    """The words of a skipped look (None for one that launches) and the cursor after it."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"platform": platform})
    found = new_snapshots_sensor().evaluate_tick(context)
    assert len(found.run_requests or ()) == (0 if found.skip_message else 1)
    assert all(request.run_key is None for request in found.run_requests or ())
    return found.skip_message, found.cursor


def materialized(instance: dg.DagsterInstance, **metadata: str | bool) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("station_events", metadata=metadata))


def test_without_a_snapshot_nothing_is_launched(events: dg.DagsterInstance, platform: Platform) -> None:
    assert look(events, platform)[0] == "no snapshot yet"


@pytest.mark.usefixtures("broker_port")
def test_a_new_snapshot_launches_the_producer(events: dg.DagsterInstance, platform: Platform, home: Settings) -> None:
    first, second = keep(home, 2)
    assert look(events, platform)[0] is None
    materialized(events, **{PUBLISHED_THROUGH: first.name})
    assert look(events, platform)[0] is None
    materialized(events, **{PUBLISHED_THROUGH: second.name})
    assert look(events, platform)[0] == f"nothing waits: Kafka has all snapshots up to {second.name}"


@pytest.mark.usefixtures("broker_port")
def test_a_producer_that_is_still_going_is_waited_for(
    events: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    keep(home)
    events.create_run_for_job(noop.to_job(name=jobs.PRODUCER), status=dg.DagsterRunStatus.STARTED)
    assert str(look(events, platform)[0]).startswith("an earlier run of producer is still going")


def test_a_stopped_broker_is_told_with_since_when_and_how_many_wait(
    events: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    published, *_ = keep(home, 8)
    materialized(events, **{PUBLISHED_THROUGH: published.name})
    words, cursor = look(events, platform)
    assert re.match(r"Kafka unreachable since \d\d:\d\d, 7 snapshots wait", str(words))
    assert cursor is not None
    since = re.search(r'"unreachable_since":"([^"]+)"', cursor)
    assert since is not None
    assert look(events, platform, cursor)[1] == cursor, "since when must not move"


def test_a_broker_that_is_back_is_forgotten_as_unreachable(
    events: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    keep(home)
    _, cursor = look(events, platform)
    with socket.create_server(("127.0.0.1", 0)) as server:
        Settings(home=home.home, feed=home.feed, ports={"kafka": server.getsockname()[1]}).save()
        assert look(events, platform, cursor) == (None, "{}")


@pytest.mark.usefixtures("broker_port")
def test_a_producer_that_was_taken_over_does_not_fence_back_at_once(
    events: dg.DagsterInstance, platform: Platform, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(home)
    materialized(events, **{TAKEN_OVER: True})
    assert "another producer of this feed took over" in str(look(events, platform)[0])
    monkeypatch.setattr("velib_dagster.orchestration.sensors.TAKEN_OVER_PAUSE", timedelta(0))
    assert look(events, platform)[0] is None


@pytest.mark.usefixtures("broker_port")
def test_failures_in_a_row_make_the_next_try_wait_longer(
    events: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    keep(home)
    job = noop.to_job(name=jobs.PRODUCER)
    waits = []
    for _ in range(3):
        events.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
        words = look(events, platform)[0]
        found = re.search(r"the next try is due in (\d+) s", str(words))
        assert found, words
        waits.append(int(found[1]))
    assert [round(wait, -1) for wait in waits] == [20, 40, 80]
    events.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
    assert look(events, platform)[0] is None
