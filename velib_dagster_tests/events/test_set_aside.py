"""What can't be processed is set aside, bounded and in order; what may pass by itself is not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.events import set_aside
from velib_dagster.events.known import Memory, Poll, Rules
from velib_dagster.events.messages import MOST_BYTES
from velib_dagster.events.records import MOST_REASON, decode_poll
from velib_dagster.events.set_aside import Prepared, TooManySetAsideError
from velib_dagster.feed.answers import Answer, Fetched, Snapshot
from velib_dagster.feed.errors import SnapshotError
from velib_dagster.feed.reports import NOTHING, PollKind
from velib_dagster.feed.snapshots import SnapshotStore

START = datetime(2024, 11, 7, 8, 0, tzinfo=UTC)
ROW = {
    "stationcode": "16107", "name": "Benjamin Godard", "is_installed": "OUI", "capacity": 20, "numdocksavailable": 17,
    "numbikesavailable": 3, "mechanical": 3, "ebike": 0, "is_renting": "OUI", "is_returning": "OUI",
    "coordonnees_geo": {"lon": 2.3, "lat": 48.86}, "nom_arrondissement_communes": "Paris",
}  # fmt: skip


def keep(store: SnapshotStore, minutes: int, rows: object) -> str:
    time = START + timedelta(minutes=minutes)
    answer = Answer(role="answer", url="", status=200, headers={}, body=json.dumps(rows).encode())
    return store.add(Fetched(poll_time=time, fetched_at=time, answers=(answer,))).name


def timed(snapshot: Snapshot, _: Memory) -> Poll:
    return Poll(snapshot.name, snapshot.poll_time, NOTHING)


def prepare(memory: Memory, name: str, store: SnapshotStore, rules: Rules, accepted: str = "") -> Prepared:
    prepared = set_aside.prepare(memory, name, store, rules, timed, accepted=accepted)
    assert prepared is not None
    return prepared


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path)


def test_whatever_is_raised_over_a_value_sets_its_poll_aside_with_a_reason_of_bounded_length(store, monkeypatch):
    first = prepare(Memory(), keep(store, 0, [ROW]), store, Rules()).step.memory

    def odd(*_: object) -> str:
        raise KeyError("x\x00\ud800" * 10_000)

    prepared = prepare(first, keep(store, 1, [ROW | {"name": "New"}]), store, Rules(zone=odd))
    record = decode_poll(prepared.messages[-1].value)
    assert [message.topic for message in prepared.messages] == ["polls"]
    assert (record.kind, record.time, record.set_aside) == (PollKind.SET_ASIDE, START + timedelta(minutes=1), 1)
    assert record.reason.startswith("KeyError: ")
    assert len(record.reason) <= MOST_REASON
    assert "\x00" not in record.reason
    assert record.last_usable == first.last_usable, "the hold goes on from the last usable poll"
    assert prepared.step.memory.stations == first.stations


def test_a_record_that_would_be_too_large_sets_its_poll_aside(store) -> None:
    rules = Rules(zone=lambda *_: "z" * MOST_BYTES)
    prepared = prepare(Memory(), keep(store, 0, [ROW]), store, rules)
    assert prepared.step.record.kind is PollKind.SET_ASIDE
    assert MOST_BYTES < 1_000_000, "what librdkafka takes without being told otherwise"


@pytest.mark.parametrize("error", [MemoryError(), SnapshotError("the disk is away")])
def test_what_may_pass_by_itself_is_raised(store, monkeypatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    name = keep(store, 0, [ROW])
    if isinstance(error, SnapshotError):
        monkeypatch.setattr(store, "read", fail)
    else:
        monkeypatch.setattr(set_aside, "decode_snapshot", fail)
    with pytest.raises(type(error)):
        prepare(Memory(), name, store, Rules())


def test_three_in_a_row_are_passed_over_the_fourth_stops_and_one_good_one_begins_anew(store) -> None:
    names = [keep(store, minute, [ROW]) for minute in range(9)]
    bad = {1, 2, 3, 5, 6, 7, 8}
    for number in bad:
        store.path(names[number]).write_bytes(b"{")
    memory, kinds = Memory(), []
    for name in names[:8]:
        step = prepare(memory, name, store, Rules()).step
        memory = step.memory
        kinds.append((step.record.kind is PollKind.SET_ASIDE, step.record.set_aside))
    assert kinds == [(n in bad, number) for n, number in enumerate([0, 1, 2, 3, 0, 1, 2, 3])]
    with pytest.raises(TooManySetAsideError, match=rf"{names[8]}.*velib set-aside --accept"):
        prepare(memory, names[8], store, Rules())
    assert prepare(memory, names[8], store, Rules(), accepted=names[8]).step.record.set_aside == 4


@pytest.mark.parametrize("code", ["16107²", "①16", "9" * 5000, "١٦١٠٧", "16107\u0661", "16107_relais", "²", "𝟙𝟞𝟙𝟘𝟟"])
def test_a_code_of_odd_digits_stops_nothing(store, code: str) -> None:
    usual = [ROW | {"stationcode": str(16101 + number)} for number in range(9)]
    first = prepare(Memory(), keep(store, 0, [*usual, ROW | {"stationcode": code}]), store, Rules()).step
    second = prepare(first.memory, keep(store, 1, usual), store, Rules()).step
    assert [first.record.kind, second.record.kind] == [PollKind.USABLE, PollKind.USABLE]
    assert first.record.reports == (9 if len(code) > 255 else 10)
