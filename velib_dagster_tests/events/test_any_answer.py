"""Whatever a feed sends goes through: decoded, advanced, encoded, archived and stored, and nothing raises."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from velib_dagster.archive.rows import csv_line, parse_row
from velib_dagster.events.advance import advance, cut
from velib_dagster.events.known import Memory, Poll, Rules, Step
from velib_dagster.events.messages import MOST_BYTES, messages_of
from velib_dagster.events.records import StateRecord, decode_poll, decode_spell, decode_state
from velib_dagster.events.state_events import Left, StateEvent
from velib_dagster.feed.answers import Answer
from velib_dagster.feed.decode import decode
from velib_dagster.store.upsert import upsert_polls, upsert_states
from velib_dagster_tests.events.test_advance import START

LONG = "9" * 5000
odd_text = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", " ", "\x00", "a\x00b", "\ud800", "x\udfff", "16107²", "①16", "١٦١٠٧", "NaN", "1e400", "nan, nan", LONG,
         "é" * 3000, "\U0001f6b2", "\r\n", '"', "=1+1", "2026-13-45", "9999-12-31T23:59:59-14:00", "0001-01-01", "OUI"]
    ),
)  # fmt: skip
odd_number = st.one_of(
    st.integers(-3, 40),
    st.sampled_from(
        [-1, 2**31, 2**31 - 1, 2**63, 2**64, 10**30, -(10**30), 10_001, 1_700_000_000_000, 253_402_300_800]
    ),
    st.floats(),
    st.sampled_from([1e308, -1e308, 5e-324, 90.0001]),
)
odd = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_number, odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_text, inner, max_size=3)),
    max_leaves=5,
)

FLAT = {
    "stationcode": "16107", "name": "Benjamin Godard", "is_installed": "OUI", "capacity": 35, "numdocksavailable": 31,
    "numbikesavailable": 4, "mechanical": 2, "ebike": 2, "is_renting": "OUI", "is_returning": "OUI",
    "duedate": "2024-11-07T08:00:00+00:00", "coordonnees_geo": {"lon": 2.3, "lat": 48.86},
    "nom_arrondissement_communes": "Paris",
}  # fmt: skip
STATUS = {
    "station_id": 213688169, "stationCode": "16107", "num_bikes_available": 4, "num_docks_available": 31,
    "num_bikes_available_types": [{"mechanical": 2}, {"ebike": 2}], "is_installed": 1, "is_renting": 1,
    "is_returning": 1, "last_reported": 1730966400,
}  # fmt: skip
INFORMATION = {
    "station_id": 213688169, "stationCode": "16107", "name": "Benjamin Godard", "lat": 48.86, "lon": 2.3, "capacity": 35
}  # fmt: skip


def rows_of(usual: dict[str, Any], code: str) -> st.SearchStrategy[list[Any]]:
    """Some good rows, some with one or two odd values, some that are no rows."""
    changed = st.builds(
        lambda number, changes: {**usual, code: str(16100 + number), **changes},
        st.integers(0, 9),
        st.dictionaries(st.sampled_from(sorted(usual)), odd, max_size=2),
    )
    good = st.builds(lambda number: {**usual, code: str(16100 + number)}, st.integers(0, 9))
    return st.lists(st.one_of(good, good, changed, odd), max_size=12)


def body(document: Any) -> bytes:
    """JSON as careless servers write it: NaN and halves of characters included."""
    return json.dumps(document).encode()


flat = st.builds(
    lambda rows, wrap, total: [("answer", body({"results": rows, "total_count": total} if wrap else rows))],
    rows_of(FLAT, "stationcode"),
    st.booleans(),
    odd,
)
v1 = st.builds(
    lambda rows, hits: [("answer", body({"nhits": hits, "records": [{"fields": row} for row in rows]}))],
    rows_of(FLAT, "stationcode"),
    odd,
)
gbfs = st.builds(
    lambda status, information, head: [
        ("station_status", body({"data": {"stations": status}, "last_updated": head})),
        ("station_information", body({"data": {"stations": information}})),
    ],
    rows_of(STATUS, "station_id"),
    rows_of(INFORMATION, "station_id"),
    odd,
)
noise = st.one_of(odd.map(body), st.binary(max_size=40)).map(lambda data: [("answer", data)])
answers = st.lists(
    st.tuples(st.one_of(flat, flat, gbfs, v1, noise), st.integers(30, 90_000), st.sampled_from([200, 200, 200, 503])),
    min_size=1,
    max_size=4,
)


def steps_of(polls: list[tuple[list[tuple[str, bytes]], int, int]]) -> list[Step]:
    """The steps of the polls, and of a stop behind them."""
    memory, now, steps = Memory(), START, []
    for documents, seconds, status in polls:
        now += timedelta(seconds=seconds)
        received = [Answer(role=role, url="", status=status, headers={}, body=data) for role, data in documents]
        steps.append(advance(memory, Poll(f"{now:%Y%m%dT%H%M%SZ}-0", now, decode(received)), Rules()))
        memory = steps[-1].memory
    end = cut(memory, Rules())
    return steps if end is None else [*steps, end]


def check(steps: list[Step]) -> list[Any]:
    """What was sent, read back; each record is bounded and what the archive and PostgreSQL can hold."""
    read: list[Any] = []
    for message in (message for step in steps for message in messages_of(step)):
        if message.value is None:
            read.append(Left(message.key, START))
            continue
        assert len(message.value) <= MOST_BYTES
        assert len(message.key.encode()) <= 1024, "a key of an index in PostgreSQL"
        decoder = {"states": decode_state, "spells": decode_spell, "polls": decode_poll}[message.topic]
        record = decoder(message.value)
        read.append(record)
        if message.topic == "spells":
            (fields,) = csv.reader(io.StringIO(csv_line(record), newline=""))
            assert parse_row(fields) == record
    return read


@given(answers)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_answers_give_records_that_read_back(polls) -> None:
    check(steps_of(polls))


@pytest.mark.long
@given(answers)
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_great_many_answers_give_records_that_read_back(polls) -> None:
    check(steps_of(polls))


@pytest.mark.postgres
@pytest.mark.parametrize("examples", [12, pytest.param(1500, marks=pytest.mark.long)])
def test_any_answers_find_room_in_postgresql(postgres_settings, fresh_feed, examples: int) -> None:
    from velib_dagster.store.connect import connect
    from velib_dagster.store.migrate import migrate

    feed = fresh_feed(postgres_settings)
    migrate(feed)
    with connect(feed) as connection:

        @given(answers)
        @settings(
            max_examples=examples, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        def store(polls) -> None:
            for step in steps_of(polls):
                read = check([step])
                with connection.transaction(force_rollback=True):
                    events = [StateEvent(record) for record in read if isinstance(record, StateRecord | Left)]
                    upsert_states(connection, events)
                    upsert_polls(connection, [step.record])

        store()
