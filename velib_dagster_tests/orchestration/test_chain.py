"""Feed → snapshots → Kafka → CSV, each step as Dagster runs it, on a real broker."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from velib_dagster.archive.commit import only_writer
from velib_dagster.events.producer import EventProducer
from velib_dagster.feed.answers import Fetched
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration.csv_archive import csv_archive
from velib_dagster.orchestration.raw_snapshots import raw_snapshots
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.sensors import new_snapshots_sensor
from velib_dagster.orchestration.station_events import station_events
from velib_dagster.settings import Settings
from velib_dagster_tests.orchestration.conftest import LocalFeed, station

pytestmark = pytest.mark.kafka


class Chain:
    """One platform's three assets on one instance."""

    def __init__(self, settings: Settings, feed: LocalFeed) -> None:
        self.settings = settings
        self.feed = feed
        self.platform = Platform(home=str(settings.home))
        self.instance = dg.DagsterInstance.ephemeral()

    def materialize(self, asset: dg.AssetsDefinition) -> tuple[dict[str, object], dict[str, dg.AssetCheckEvaluation]]:
        result = dg.materialize([asset], resources={"platform": self.platform}, instance=self.instance)
        (done,) = result.get_asset_materialization_events()
        told = done.step_materialization_data.materialization.metadata
        checks = {found.check_name: found for found in result.get_asset_check_evaluations()}
        return {
            name: value.records if isinstance(value, dg.TableMetadataValue) else value.value
            for name, value in told.items()
        }, checks

    def poll(self, minute: float, *bikes: int) -> None:
        """One poll, `minute` minutes from now by the feed's clock, that finds so many bikes at each station."""
        rows = [station(str(1001 + number), count, 30 - count) for number, count in enumerate(bikes)]
        self.feed.body = json.dumps(rows).encode()
        self.feed.offset = timedelta(minutes=minute)
        self.materialize(raw_snapshots)

    def words_of_sensor(self) -> str | None:
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": self.platform})
        return new_snapshots_sensor().evaluate_tick(context).skip_message


@pytest.fixture
def chain(kafka_settings: Settings, fresh_feed: Callable[..., Settings], local_feed: LocalFeed) -> Chain:
    return Chain(fresh_feed(kafka_settings, url=local_feed.url), local_feed)


def passed(checks: dict[str, dg.AssetCheckEvaluation]) -> None:
    assert all(check.passed for check in checks.values()), {n: c.description for n, c in checks.items()}


def test_polls_reach_kafka_once_and_the_archive_once(chain: Chain) -> None:
    chain.poll(-1.5, 3, 5, 0)
    told, checks = chain.materialize(station_events)
    passed(checks)
    assert (told["polls"], told["changed"], told["unchanged"], told["spells"]) == (1, 3, 0, 0)
    told, checks = chain.materialize(csv_archive)
    passed(checks)
    assert told["outcome"] == "no finished spell yet: the first come with the second poll"

    chain.poll(-0.5, 3, 4, 0)
    chain.poll(0.5, 3, 4, 1)
    told, checks = chain.materialize(station_events)
    passed(checks)
    assert (told["polls"], told["changed"], told["unchanged"]) == (2, 2, 4)
    assert told["published_through"] == SnapshotStore(chain.settings.raw).newest()
    assert [row.data["bikes"] for row in told["head"]] == [1]  # type: ignore[attr-defined]

    told, checks = chain.materialize(csv_archive)
    passed(checks)
    assert told["rows"] == told["dagster/row_count"]
    assert int(str(told["rows"])) >= 2
    assert len(told["head"]) >= 2  # type: ignore[arg-type]
    told, _ = chain.materialize(csv_archive)
    assert (told["rows"], told["outcome"]) == (0, "nothing new: the archive has all finished spells")


def test_the_sensor_and_the_producer_agree_on_what_waits(chain: Chain) -> None:
    chain.poll(-1, 3)
    assert chain.words_of_sensor() is None, "one snapshot waits"
    chain.materialize(station_events)
    assert str(chain.words_of_sensor()).startswith("nothing waits")


def test_what_another_command_published_is_found_in_kafka_and_not_sent_again(chain: Chain) -> None:
    chain.poll(-1, 3)
    with EventProducer(chain.settings) as producer:
        producer.publish_waiting()
    assert chain.words_of_sensor() is None, "the hint knows nothing of the command"
    told, checks = chain.materialize(station_events)
    passed(checks)
    assert (told["polls"], told["outcome"]) == (0, "nothing new: Kafka has all snapshots")
    assert str(chain.words_of_sensor()).startswith("nothing waits")


def test_a_producer_that_is_fenced_ends_green_in_words(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.poll(-1, 3)
    ours = EventProducer(chain.settings)
    monkeypatch.setattr("velib_dagster.events.producer.EventProducer", lambda _: ours)
    EventProducer(chain.settings)
    told, checks = chain.materialize(station_events)
    passed(checks)
    assert told["taken_over"] is True
    assert "another producer of this feed took over" in str(told["outcome"])


def test_an_unusable_poll_is_published_with_its_kind_and_fails_the_check(chain: Chain) -> None:
    chain.poll(-1, 3, 4)
    chain.materialize(station_events)
    chain.poll(0)
    told, checks = chain.materialize(station_events)
    assert told["last_kind"] == "empty"
    assert not checks["poll_kind"].passed
    assert "empty" in (checks["poll_kind"].description or "")
    assert checks["no_duplicates"].passed


def test_a_backlog_that_ends_long_ago_is_not_fresh(chain: Chain) -> None:
    hours_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    chain.poll(0, 3)
    store = SnapshotStore(chain.settings.raw)
    name = store.newest()
    assert name is not None
    kept = store.read(name)
    shutil.rmtree(chain.settings.raw)
    store.add(Fetched(poll_time=hours_ago, fetched_at=hours_ago, answers=kept.answers))
    _, checks = chain.materialize(station_events)
    assert not checks["freshness"].passed
    assert "the last usable one is 10" in (checks["freshness"].description or "")


def test_an_archive_that_another_process_writes_ends_green_in_words(chain: Chain) -> None:
    with only_writer(chain.settings.archive):
        told, checks = chain.materialize(csv_archive)
    passed(checks)
    assert "one writer at a time" in str(told["outcome"])


def test_with_the_broker_away_a_run_by_hand_fails_in_words(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velib_dagster.events.topics._SECONDS", 1.0)
    monkeypatch.setenv("VELIB_KAFKA", "127.0.0.1:9")
    chain.poll(-1, 3)
    with pytest.raises(Exception, match=r"Kafka at 127\.0\.0\.1:9 can't be used"):
        chain.materialize(station_events)
    assert "1 snapshot waits" in str(chain.words_of_sensor())
