"""The producer against a real broker: each poll once, in order, whatever ends or overtakes it."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType

from velib_dagster.events.accepted import Accepted, write_accepted
from velib_dagster.events.known import Memory
from velib_dagster.events.memory import committed_messages, committed_reader, newest_poll, read_memory, stable_offsets
from velib_dagster.events.producer import EventProducer, FencedError, cut_running_spells, publish
from velib_dagster.events.records import decode_poll, decode_spell, decode_state
from velib_dagster.events.set_aside import TooManySetAsideError
from velib_dagster.events.topics import KafkaError, admin, ensure_topics, identity
from velib_dagster.feed.answers import Answer, Fetched
from velib_dagster.feed.errors import SnapshotError
from velib_dagster.feed.reports import PollKind
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Settings
from velib_dagster.streaming.position import ends
from velib_dagster_tests.feed.machine import EIGHT, Machine

pytestmark = pytest.mark.kafka
START = datetime(2024, 11, 7, 8, 0, tzinfo=UTC)


def row(code: int, bikes: int) -> dict:
    return {
        "stationcode": str(code),
        "name": f"Station {code}",
        "is_installed": "OUI",
        "capacity": 30,
        "numdocksavailable": 30 - bikes,
        "numbikesavailable": bikes,
        "mechanical": bikes,
        "ebike": 0,
        "is_renting": "OUI",
        "is_returning": "OUI",
        "duedate": "2024-11-07T08:00:00+00:00",
        "coordonnees_geo": {"lon": 2.3, "lat": 48.86},
        "nom_arrondissement_communes": "Paris",
    }


def keep(settings: Settings, minutes: float, rows: list[dict] | bytes) -> str:
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    moment = START + timedelta(minutes=minutes)
    answer = Answer(role="answer", url="http://feed", status=200, headers={}, body=body)
    return SnapshotStore(settings.raw).add(Fetched(poll_time=moment, fetched_at=moment, answers=(answer,))).name


def keep_history(settings: Settings, polls: int, stations: int = 20) -> None:
    for n in range(polls):
        keep(settings, n, [row(16000 + s, (n // (s + 1)) % 5) for s in range(stations)])


def topic(settings: Settings, name: str) -> list[tuple[str, bytes | None]]:
    with committed_reader(settings) as consumer:
        # a transaction is committed before its end is marked in each topic
        query = {"spells": "windows"}.get(name, name)
        deadline = time.monotonic() + 10
        while stable_offsets(consumer, settings, settings.topic(name))[1] < ends(settings)[query]:
            assert time.monotonic() < deadline, f"a transaction is still open in {name}"
            time.sleep(0.05)
        return [(m.key().decode(), m.value()) for m in committed_messages(consumer, settings, settings.topic(name), 0)]


def everything(settings: Settings) -> dict[str, list]:
    return {name: topic(settings, name) for name in ("states", "spells", "polls")}


@pytest.fixture
def feed(kafka_settings, fresh_feed) -> Settings:
    return fresh_feed(kafka_settings)


def test_a_snapshot_published_twice_sends_nothing_the_second_time(feed: Settings) -> None:
    keep_history(feed, 12)
    first = publish(feed)
    assert (first.polls, first.kinds[PollKind.USABLE]) == (12, 12)
    before = everything(feed)
    assert publish(feed).polls == 0
    assert everything(feed) == before
    assert len(before["polls"]) == 12


def test_a_new_producer_goes_on_from_what_kafka_holds(feed: Settings, kafka_settings, fresh_feed) -> None:
    keep_history(feed, 12)
    names = SnapshotStore(feed.raw).names_after(None)
    undisturbed = fresh_feed(kafka_settings)
    for settings in (feed, undisturbed):
        keep_history(settings, 12) if settings is undisturbed else None
    publish(undisturbed)
    for _ in range(12):
        with EventProducer(feed) as producer:
            assert producer.memory.last_poll is None or producer.memory.last_poll.snapshot in names
            next_one = producer.waiting[:1]
            producer._store.names_after = lambda _, only=next_one: only
            producer.publish_waiting()
    assert everything(feed) == everything(undisturbed)


def test_the_memory_read_back_is_the_memory_that_was_held(feed: Settings) -> None:
    keep_history(feed, 25)
    keep(feed, 26, [row(16000 + s, 1) for s in range(1, 20)])
    with EventProducer(feed) as producer:
        producer.publish_waiting()
        held = producer.memory
    with EventProducer(feed):  # its start awaits the end of the transaction
        read: Memory = read_memory(feed)
    assert dict(read.stations) == dict(held.stations)
    assert read.last_poll == held.last_poll
    assert [code for code, station in read.stations.items() if station.absent_since] == ["16000"]


def test_a_newer_producer_fences_the_older_one_and_sends_what_it_left(feed: Settings) -> None:
    keep_history(feed, 3)
    with EventProducer(feed) as older:
        older.publish_waiting()
        keep(feed, 5, [row(16000 + s, 4) for s in range(20)])
        with EventProducer(feed) as newer:
            with pytest.raises(FencedError):
                older.publish_waiting()
            assert newer.publish_waiting().polls == 1
    assert [decode_poll(v).time.minute for _, v in topic(feed, "polls")] == [0, 1, 2, 5]


def test_an_unusable_answer_has_its_record_and_changes_nothing(feed: Settings) -> None:
    keep(feed, 0, [row(16001, 3)])
    keep(feed, 1, b'[{"stationcode": "16001", "name": "Gar\\u00')
    keep(feed, 2, [row(16001, 3)])
    publish(feed)
    assert [decode_poll(v).kind for _, v in topic(feed, "polls")] == ["usable", "truncated", "usable"]
    assert len(topic(feed, "states")) == 1


def test_a_station_that_left_leaves_a_tombstone(feed: Settings) -> None:
    rest = [row(16001 + s, 1) for s in range(10)]
    keep(feed, 0, [row(16000, 3), *rest])
    for hours in (1, 12, 26):
        keep(feed, hours * 60, rest)
    publish(feed)
    assert ("16000", None) in topic(feed, "states")


def test_the_running_spells_are_cut_once_at_a_stop(feed: Settings) -> None:
    keep_history(feed, 5)
    assert cut_running_spells(feed) > 0
    before = everything(feed)
    assert cut_running_spells(feed) == 0
    assert everything(feed) == before
    newest = newest_poll(feed)
    assert newest is not None
    assert newest.last_cut == START + timedelta(minutes=4)
    spells = [decode_spell(v) for _, v in topic(feed, "spells")]
    assert sum(s.seconds for s in spells) == 20 * 4 * 60


def damage(settings: Settings, name: str) -> None:
    next(settings.raw.rglob(f"{name}*.gz")).write_bytes(b"not gzip")


def test_a_damaged_raw_file_is_set_aside_and_what_waits_behind_it_is_sent_once(feed: Settings) -> None:
    keep_history(feed, 2, stations=1)
    damage(feed, keep(feed, 3, [row(16000, 3)]))
    keep(feed, 4, [row(16000, 4)])
    assert publish(feed).kinds == {"usable": 3, "set_aside": 1}
    assert publish(feed).polls == 0
    polls = [decode_poll(value) for _, value in topic(feed, "polls")]
    assert [(poll.time.minute, poll.kind, poll.set_aside) for poll in polls] == [
        (0, "usable", 0), (1, "usable", 0), (3, "set_aside", 1), (4, "usable", 0)
    ]  # fmt: skip
    assert "is damaged" in polls[2].reason


@pytest.mark.parametrize("at_once", [1, 5])
def test_the_fourth_in_a_row_stops_the_chain_across_runs_until_someone_accepts_it(feed: Settings, at_once: int) -> None:
    keep(feed, 0, [row(16000, 3)])
    names = [keep(feed, minute, [row(16000, 3)]) for minute in range(1, 6)]
    for name in names:
        damage(feed, name)
    last = keep(feed, 6, [row(16000, 4)])
    for _ in range(2):
        with EventProducer(feed) as producer, pytest.raises(TooManySetAsideError, match=names[3]):
            producer.publish_waiting(polls_per_transaction=at_once)
        assert [decode_poll(value).set_aside for _, value in topic(feed, "polls")] == [0, 1, 2, 3]
    write_accepted(feed, Accepted(snapshot=names[-1]))
    assert publish(feed).last.snapshot == last
    assert [decode_poll(value).set_aside for _, value in topic(feed, "polls")] == [0, 1, 2, 3, 4, 5, 0]


def test_a_raw_file_that_the_disk_does_not_give_now_is_tried_again(feed: Settings, monkeypatch) -> None:
    keep(feed, 0, [row(16000, 3)])

    def fail(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with EventProducer(feed) as producer, monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        with pytest.raises(SnapshotError, match="can't be read"):
            producer.publish_waiting()
    assert topic(feed, "polls") == []
    assert publish(feed).kinds == {"usable": 1}


def test_a_client_whose_buffer_is_full_waits_for_kafka(feed: Settings) -> None:
    keep(feed, 0, [row(16000 + number, 3) for number in range(300)])
    with EventProducer(feed, buffer_messages=20) as producer:
        assert producer.publish_waiting().states == 300
    assert len(topic(feed, "states")) == 300


def test_a_topic_with_another_policy_is_refused_in_words(feed: Settings) -> None:
    client = admin(feed)
    made = client.create_topics([NewTopic(feed.topic("states"), 1, config={"cleanup.policy": "delete"})])
    for future in made.values():
        future.result()
    with pytest.raises(KafkaError, match=r"cleanup\.policy=delete, not compact"):
        ensure_topics(feed)


def kept(settings: Settings) -> str:
    client = admin(settings)
    (described,) = client.describe_configs([ConfigResource(ResourceType.TOPIC, settings.topic("states"))]).values()
    return described.result()["delete.retention.ms"].value


@pytest.mark.parametrize(
    ("config", "expected"),
    [({}, str(30 * 24 * 3600 * 1000)), ({"delete.retention.ms": "1234567"}, "1234567")],
)
def test_tombstones_are_kept_for_30_days_unless_someone_chose_otherwise(feed: Settings, config, expected: str) -> None:
    client, name = admin(feed), feed.topic("states")
    for future in client.create_topics([NewTopic(name, 1, config={"cleanup.policy": "compact", **config})]).values():
        future.result()
    deadline = time.monotonic() + 20
    while name not in client.list_topics(timeout=5).topics and time.monotonic() < deadline:
        time.sleep(0.1)
    ensure_topics(feed)
    assert kept(feed) == expected


def test_a_broker_that_is_away_is_named(feed: Settings) -> None:
    away = replace(feed, kafka_address="127.0.0.1:9")
    with pytest.raises(KafkaError, match=r"127\.0\.0\.1:9"):
        newest_poll(away)


def test_two_kafkas_and_two_topics_of_one_name_differ(feed: Settings) -> None:
    ensure_topics(feed)
    first = identity(feed)
    assert set(first.topic_ids) == {feed.topic(n) for n in ("states", "spells", "polls")}
    assert len(set(first.topic_ids.values())) == 3
    assert first == identity(feed)


@pytest.mark.parametrize("after_polls", [3, 17])
def test_kill_9_in_the_middle_and_again_gives_what_an_undisturbed_run_gives(
    feed: Settings, kafka_settings, fresh_feed, after_polls: int
) -> None:
    undisturbed = fresh_feed(kafka_settings)
    for settings in (feed, undisturbed):
        keep_history(settings, 40, stations=200)
    publish(undisturbed)
    program = (
        "import sys; from velib_dagster.settings import Settings; from velib_dagster.events.producer import publish\n"
        "publish(Settings.load(), on_poll=lambda record: print(record.snapshot, flush=True))"
    )
    environment = {**os.environ, "VELIB_HOME": str(feed.home)}
    child = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    for _ in range(after_polls):
        assert child.stdout.readline()
    time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    publish(feed)
    assert everything(feed) == everything(undisturbed)
    assert Path(feed.raw).is_dir()


def rows_of(bikes: int) -> bytes:
    return json.dumps([row(16000 + number, bikes) for number in range(5)]).encode()


def test_a_time_ahead_is_published_only_once_the_polls_after_it_tell_what_it_was(feed: Settings) -> None:
    machine = Machine.keeping(feed.raw)
    machine.poll(body=rows_of(3))
    machine.wait(hours=1)
    machine.restart()
    machine.poll(body=rows_of(3), date=None, local=timedelta(days=1))
    machine.wait(minutes=1)
    published = publish(feed)
    assert (published.polls, published.held) == (1, 1)
    assert publish(feed).held == 1
    machine.poll(body=rows_of(5))
    published = publish(feed)
    assert (published.polls, published.held, published.kinds[PollKind.USABLE]) == (2, 0, 2)
    polls = [decode_poll(value) for _, value in topic(feed, "polls")]
    assert [poll.time for poll in polls[1:]] == [machine.time - timedelta(minutes=1), machine.time]
    assert "clock" in polls[1].reason
    assert publish(feed).polls == 0


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=3652)])
def test_a_home_with_a_poll_that_was_ahead_goes_on_at_the_next_poll(feed: Settings, jump: timedelta) -> None:
    store = SnapshotStore(feed.raw)
    answer = Answer(role="answer", url="http://feed", status=200, headers={}, body=rows_of(3))
    for moment in (EIGHT - timedelta(minutes=2), EIGHT - timedelta(minutes=1) + jump):
        store.add(Fetched(poll_time=moment, fetched_at=moment, answers=(answer,)))
    publish(feed)
    machine = Machine.keeping(feed.raw)
    for bikes in (3, 5, 5):
        machine.poll(body=rows_of(bikes))
        assert publish(feed).kinds == {PollKind.USABLE: 1}
        machine.wait(minutes=1)
    assert read_memory(feed).last_usable.time == machine.time - timedelta(minutes=1)
    states = topic(feed, "states")
    assert [value is None for _, value in states] == [False] * 10 + [True] * 5 + [False] * 10
    memory = read_memory(feed)
    assert {station.state.since for station in memory.stations.values()} == {EIGHT + timedelta(minutes=1)}
    (void,) = memory.last_poll.voids
    assert (void.after, void.until) == (EIGHT, EIGHT - timedelta(minutes=1) + jump)
    until = [decode_spell(value).until for _, value in topic(feed, "spells")]
    assert max(until, default=EIGHT) <= EIGHT + timedelta(minutes=11)


def test_zones_that_are_set_later_reach_the_states_of_stations_that_did_not_change(
    feed: Settings, tmp_path: Path
) -> None:
    stations = [row(16001, 3) | {"nom_arrondissement_communes": None}, row(16002, 4)]
    keep(feed, 0, stations)
    publish(feed)
    west = {"type": "Polygon", "coordinates": [[[2.2, 48.8], [2.4, 48.8], [2.4, 48.9], [2.2, 48.9], [2.2, 48.8]]]}
    feature = {"type": "Feature", "properties": {"name": "Ouest"}, "geometry": west}
    path = tmp_path / "zones.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    keep(feed, 1, stations)
    published = publish(replace(feed, zones_file=path))
    assert (published.states, published.spells) == (2, 0)
    assert {decode_state(value).zone for _, value in topic(feed, "states")[-2:]} == {"Ouest"}
