"""Forecasts in PostgreSQL: written once, settled by what came, scored as the measures do."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from velib_dagster.forecast.measures import average_precision, brier
from velib_dagster.settings import Settings
from velib_dagster.store import forecasts
from velib_dagster.store.connect import connect
from velib_dagster.store.forecast_columns import STATION_FORECASTS
from velib_dagster.store.upsert import Connection

pytestmark = pytest.mark.postgres
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOLD = 660
DAY = date(2026, 3, 2)


def minute(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def add_state(connection: Connection, code: str, since: datetime, **values: Any) -> None:
    usual = {"capacity": 20, "bikes": 5, "docks": 15, "is_installed": True, "is_renting": True, "is_returning": True}
    row = {"station_code": code, "name": f"S {code}", "zone": "Paris 16e", "cell": "c", "lat": 48.86, "lon": 2.3}
    row |= {"since": since, **usual, **values}
    names = ", ".join(row)
    connection.execute(
        f"INSERT INTO station_states ({names}) VALUES ({', '.join(['%s'] * len(row))})".encode(), list(row.values())
    )


def add_poll(connection: Connection, time: datetime, kind: str = "usable", absent: str = "{}") -> None:
    connection.execute(
        "INSERT INTO polls VALUES (%s, %s, %s, '', 1, 1, 1, '{}', 0, 0, 1, 0, 0, NULL, NULL, NULL, NULL, %s)",
        (f"{time:%Y%m%dT%H%M%SZ}-{kind}", time, kind, absent),
    )


def row(code: str, made_at: datetime, **values: Any) -> tuple[Any, ...]:
    usual = {
        "station_code": code, "made_at": made_at, "horizon_minutes": 15, "target_at": made_at + timedelta(minutes=15),
        "bikes": 5, "docks": 15, "risk_full": 0.1, "risk_empty": 0.2, "full_version": 1, "empty_version": None,
    } | values  # fmt: skip
    return tuple(usual[column.name] for column in STATION_FORECASTS)


def test_states_are_told_as_of_an_instant(connection: Connection) -> None:
    add_poll(connection, minute(-1))
    add_poll(connection, minute(9), absent='{"2": {"last_report": "2026-03-02T11:59:00Z", "since": "2026-03-02"}}')
    add_state(connection, "1", minute(-500), bikes=1)
    add_state(connection, "1", minute(0), bikes=2)
    add_state(connection, "1", minute(5), bikes=3, is_renting=False)
    add_state(connection, "2", minute(-90), bikes=7)
    add_state(connection, "3", minute(8), bikes=9)
    before = forecasts.states_at(connection, minute(-0.5), HOLD)
    assert {code: state.bikes for code, state in before.items()} == {"1": 1, "2": 7}
    now = forecasts.states_at(connection, minute(9), HOLD)
    assert {code: (state.bikes, state.in_service) for code, state in now.items()} == {"1": (3, False), "3": (9, True)}


def test_a_station_is_left_out_while_usable_polls_lack_it(connection: Connection) -> None:
    for number in range(0, 12, 2):
        add_poll(connection, minute(number))
    for code in ("1", "2"):
        add_state(connection, code, minute(-90))
    connection.execute("INSERT INTO absences VALUES ('2', %s, %s), ('2', %s, NULL)", (minute(4), minute(8), minute(10)))
    found = [set(forecasts.states_at(connection, minute(number + 1), HOLD)) for number in range(0, 12, 2)]
    assert found == [{"1", "2"}, {"1", "2"}, {"1"}, {"1"}, {"1", "2"}, {"1"}]


def test_beyond_the_hold_of_the_last_usable_poll_nothing_is_known(connection: Connection) -> None:
    add_state(connection, "1", minute(-90))
    add_poll(connection, minute(0))
    add_poll(connection, minute(12), kind="no_answer")
    assert set(forecasts.states_at(connection, minute(10), HOLD)) == {"1"}
    assert forecasts.states_at(connection, minute(11), HOLD) == {}
    assert forecasts.newest_usable_poll(connection) == minute(0)
    assert forecasts.usable_polls(connection, minute(-5), minute(20)) == [minute(0)]


def test_the_same_poll_forecast_twice_is_there_once(connection: Connection) -> None:
    assert forecasts.write_forecasts(connection, NOON, [row("1", NOON), row("2", NOON)]) == 2
    assert forecasts.write_forecasts(connection, NOON, [row("1", NOON, risk_full=0.7)]) == 1
    found = connection.execute("SELECT station_code, risk_full FROM station_forecasts").fetchall()
    assert found == [("1", 0.7)]


def test_a_forecast_is_settled_by_what_came_once_its_time_is_past(connection: Connection) -> None:
    for code, values in {"full": {"docks": 0}, "empty": {"bikes": 0}, "closed": {"is_renting": False}}.items():
        add_state(connection, code, minute(14), **values)
        add_state(connection, code, minute(-30))
    forecasts.write_forecasts(connection, NOON, [row(code, NOON) for code in ("full", "empty", "closed", "gone")])
    add_poll(connection, minute(14))
    assert forecasts.settle(connection, HOLD) == 0, "no poll at or after the target yet"
    add_poll(connection, minute(15.5))
    assert forecasts.settle(connection, HOLD) == 4
    assert forecasts.settle(connection, HOLD) == 0
    found = connection.execute("SELECT station_code, was_full, was_empty FROM station_forecasts ORDER BY 1").fetchall()
    assert found == [
        ("closed", None, None),
        ("empty", False, True),
        ("full", True, False),
        ("gone", None, None),
    ]


def test_what_no_poll_saw_is_settled_as_unknown(connection: Connection) -> None:
    add_state(connection, "1", minute(-30))
    forecasts.write_forecasts(connection, NOON, [row("1", NOON)])
    add_poll(connection, minute(0))
    add_poll(connection, minute(40))
    assert forecasts.settle(connection, HOLD) == 1
    assert connection.execute("SELECT settled, was_full FROM station_forecasts").fetchall() == [(True, None)]


def test_a_day_is_scored_as_the_measures_do(connection: Connection) -> None:
    drawn = np.random.default_rng(1)
    risk = drawn.integers(0, 8, 300) / 8
    docks = drawn.integers(0, 5, 300)
    came = drawn.random(300) < np.clip(risk, 0.05, 0.9)
    forecasts.write_forecasts(
        connection, NOON, [row(f"{n:04}", NOON, risk_full=risk[n], docks=int(docks[n])) for n in range(300)]
    )
    for n in range(300):
        connection.execute(
            "UPDATE station_forecasts SET settled = true, was_full = %s WHERE station_code = %s",
            (bool(came[n]), f"{n:04}"),
        )
    assert forecasts.score_day(connection, DAY, NOON, minute(60)) == 1
    assert forecasts.score_day(connection, DAY, NOON, minute(60)) == 1, "again, replacing itself"
    (found,) = forecasts.day_scores(connection, 7)
    assert (found.day, found.target, found.horizon_minutes, found.forecasts) == (DAY, "full", 15, 300)
    assert found.pr_auc == pytest.approx(average_precision(came, risk))
    assert found.pr_auc_of_count == pytest.approx(average_precision(came, -docks.astype(float)))
    assert found.brier == pytest.approx(brier(came, risk))
    assert found.brier_persistence == pytest.approx(brier(came, (docks == 0).astype(float)))
    assert forecasts.scored_at(connection, DAY) == found.scored_at
    assert forecasts.score_day(connection, DAY, minute(61), minute(90)) == 0


def test_the_newest_forecast_is_read_by_the_read_only_role_the_greatest_risk_first(
    database: Settings, connection: Connection
) -> None:
    add_state(connection, "1", minute(-30))
    add_state(connection, "2", minute(-30), zone="Pantin")
    forecasts.write_forecasts(connection, minute(-10), [row("1", minute(-10), risk_full=1.0)])
    forecasts.write_forecasts(
        connection, NOON, [row("1", NOON), row("2", NOON, risk_empty=0.9), row("2", NOON, horizon_minutes=30)]
    )
    connection.commit()
    with connect(database, readonly=True) as reader:
        found = forecasts.risks_now(reader)
        assert [(one.station_code, one.horizon_minutes, one.risk_empty) for one in found] == [
            ("2", 15, 0.9),
            ("1", 15, 0.2),
            ("2", 30, 0.2),
        ]
        assert [one.station_code for one in forecasts.risks_now(reader, zone="Pantin", horizon=30)] == ["2"]
