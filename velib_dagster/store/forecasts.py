"""Reading what a forecast is made from, writing forecasts, and settling past ones by what came.

Each function takes a connection. What a risk is belongs to `forecast/`; when this runs, to Dagster.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final, LiteralString

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from velib_dagster.store.forecast_columns import STATION_FORECASTS
from velib_dagster.store.upsert import Connection, Row

_PRESENT: Final = sql.SQL("""NOT poll.absent ? s.station_code AND NOT EXISTS (
    SELECT FROM absences AS a WHERE a.station_code = s.station_code AND a.since <= poll.time
        AND (a.until IS NULL OR a.until > poll.time))""")
"""Condition on stations `s`: the poll `poll` had them. Polls of before say so themselves, in their column `absent`."""

_STATES_AT: Final = sql.SQL("""
WITH poll AS (
    SELECT time, absent FROM polls WHERE kind IN ('usable', 'repaired') AND time <= %(at)s
        AND time > %(at)s - %(hold)s * interval '1 second' ORDER BY time DESC LIMIT 1
)
SELECT station_code, lat, lon, capacity, bikes, docks, is_installed AND is_renting AND is_returning AS in_service
FROM poll CROSS JOIN station_states_at(%(at)s) AS s WHERE {present}
""")

_SETTLE: Final = sql.SQL("""
WITH poll AS (
    SELECT time, absent FROM polls WHERE kind IN ('usable', 'repaired') AND time <= %(at)s
        AND time > %(at)s - %(hold)s * interval '1 second' ORDER BY time DESC LIMIT 1
),
came AS (
    SELECT station_code, bikes = 0 AS was_empty, docks = 0 AS was_full
    FROM poll CROSS JOIN station_states_at(%(at)s) AS s
    WHERE is_installed AND is_renting AND is_returning AND {present}
)
UPDATE station_forecasts AS f SET settled = true, was_full = came.was_full, was_empty = came.was_empty
FROM station_forecasts AS own LEFT JOIN came USING (station_code)
WHERE own.target_at = %(at)s AND NOT own.settled AND f.made_at = own.made_at
    AND f.horizon_minutes = own.horizon_minutes AND f.station_code = own.station_code
""")


class StateAt(msgspec.Struct, frozen=True, kw_only=True):
    """A station's state as of an instant: what a forecast sees of it."""

    station_code: str
    lat: float
    lon: float
    capacity: int | None
    bikes: int
    docks: int | None
    in_service: bool


class StationRisk(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `forecast_now`, the chief columns."""

    station_code: str
    name: str
    zone: str
    made_at: datetime
    horizon_minutes: int
    target_at: datetime
    bikes: int
    docks: int | None
    risk_full: float | None
    risk_empty: float | None


class ForecastModel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `forecast_models`: what an event and horizon were forecast with."""

    made_at: datetime
    target: str
    horizon_minutes: int
    model: str
    version: int | None
    worth: str


class DayScore(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `forecast_scores`."""

    day: date
    target: str
    horizon_minutes: int
    forecasts: int
    events: int
    pr_auc: float | None
    pr_auc_of_count: float | None
    brier: float
    brier_persistence: float
    scored_at: datetime


def newest_usable_poll(connection: Connection) -> datetime | None:
    """Time of the newest usable poll; None before the first."""
    row = connection.execute("SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired')").fetchone()
    found = row[0] if row else None
    return found if isinstance(found, datetime) else None


def usable_polls(connection: Connection, first: datetime, last: datetime) -> list[datetime]:
    """Times of the usable polls between two instants, both included, in order."""
    rows = connection.execute(
        "SELECT DISTINCT time FROM polls WHERE kind IN ('usable', 'repaired') AND time BETWEEN %s AND %s ORDER BY time",
        (first, last),
    )
    return [time for (time,) in rows if isinstance(time, datetime)]


def states_at(connection: Connection, at: datetime, hold_seconds: int) -> dict[str, StateAt]:
    """Code → state of each station as of an instant; none where no usable poll lies within the hold before it.

    Stations that the newest usable poll before the instant lacks are left out.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_STATES_AT.format(present=_PRESENT), {"at": at, "hold": hold_seconds})
        states = [msgspec.convert(row, StateAt) for row in cursor]
    return {state.station_code: state for state in states}


def write_forecasts(
    connection: Connection, made_at: datetime, rows: Iterable[Row], models: Iterable[ForecastModel] = ()
) -> int:
    """Replace the forecasts of one instant, rows with the columns `STATION_FORECASTS`, and what they were made with;
    returns how many rows.

    The same poll forecast again replaces its rows, so that nothing is there twice.
    """
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in STATION_FORECASTS)
    types = ("text", "timestamptz", "int4", "timestamptz", "int4", "int4", "float8", "float8", "int4", "int4")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM station_forecasts WHERE made_at = %s", (made_at,))
        cursor.execute("DELETE FROM forecast_models WHERE made_at = %s", (made_at,))
        for one in models:
            cursor.execute("INSERT INTO forecast_models VALUES (%s, %s, %s, %s, %s, %s)", msgspec.structs.astuple(one))
        written = 0
        with cursor.copy(sql.SQL("COPY station_forecasts ({}) FROM STDIN (FORMAT BINARY)").format(names)) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
                written += 1
    return written


def settle(connection: Connection, hold_seconds: int) -> int:
    """Write what came of every forecast whose target is past; returns how many were settled.

    As in training, an outcome is known where the station is in service and a usable poll lies within the hold before
    the target. A forecast is settled once a usable poll came at or after its target.
    """
    with connection.transaction():
        targets = connection.execute(
            "SELECT DISTINCT target_at FROM station_forecasts WHERE NOT settled"
            " AND target_at <= (SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired'))"
        ).fetchall()
        settled = 0
        for (target,) in targets:
            settled += connection.execute(
                _SETTLE.format(present=_PRESENT), {"at": target, "hold": hold_seconds}
            ).rowcount
    return settled


_SCORE: Final[LiteralString] = """
WITH told AS (
    SELECT horizon_minutes, {risk} AS risk, {was} AS was, -{count} AS rank
    FROM station_forecasts
    WHERE target_at >= %(start)s AND target_at < %(end)s AND {was} IS NOT NULL AND {risk} IS NOT NULL
      AND {count} IS NOT NULL
),
sums AS (
    SELECT horizon_minutes, count(*) AS forecasts, count(*) FILTER (WHERE was) AS events,
        avg((risk - was::int) ^ 2) AS brier, avg((((rank = 0)::int) - was::int) ^ 2)::float8 AS brier_persistence
    FROM told GROUP BY horizon_minutes
),
ties AS (
    SELECT 'risk' AS score, horizon_minutes, risk::float8 AS value, count(*) AS n, count(*) FILTER (WHERE was) AS e
    FROM told GROUP BY horizon_minutes, risk
    UNION ALL
    SELECT 'rank', horizon_minutes, rank::float8, count(*), count(*) FILTER (WHERE was)
    FROM told GROUP BY horizon_minutes, rank
),
cumulated AS (
    SELECT score, horizon_minutes, e, sum(e) OVER best_first AS hits, sum(n) OVER best_first AS predicted
    FROM ties WINDOW best_first AS (PARTITION BY score, horizon_minutes ORDER BY value DESC)
),
areas AS (
    SELECT score, horizon_minutes, (sum(e * hits / predicted) / nullif(sum(e), 0))::float8 AS area
    FROM cumulated GROUP BY score, horizon_minutes
)
INSERT INTO forecast_scores
SELECT %(day)s, %(target)s, s.horizon_minutes, s.forecasts, s.events, r.area, c.area, s.brier, s.brier_persistence,
    now()
FROM sums AS s
LEFT JOIN areas AS r ON r.horizon_minutes = s.horizon_minutes AND r.score = 'risk'
LEFT JOIN areas AS c ON c.horizon_minutes = s.horizon_minutes AND c.score = 'rank'
ON CONFLICT (day, target, horizon_minutes) DO UPDATE SET
    (forecasts, events, pr_auc, pr_auc_of_count, brier, brier_persistence, scored_at) = ROW (excluded.forecasts,
    excluded.events, excluded.pr_auc, excluded.pr_auc_of_count, excluded.brier, excluded.brier_persistence,
    excluded.scored_at)
"""
_PARTS: Final[tuple[tuple[str, LiteralString, LiteralString, LiteralString], ...]] = (
    ("full", "risk_full", "was_full", "docks"),
    ("empty", "risk_empty", "was_empty", "bikes"),
)


def score_day(connection: Connection, day: date, start: datetime, end: datetime) -> int:
    """Score the settled forecasts whose targets lie in a day (from `start`, before `end`); returns rows written.

    Average precision with ties as `forecast.measures.average_precision` counts it.
    """
    written = 0
    with connection.transaction():
        for target, risk, was, count in _PARTS:
            statement = _SCORE.format(risk=risk, was=was, count=count)
            values = {"day": day, "target": target, "start": start, "end": end}
            written += connection.execute(statement.encode(), values).rowcount
    return written


def scored_at(connection: Connection, day: date) -> datetime | None:
    """When a day was last scored; None if never."""
    row = connection.execute("SELECT min(scored_at) FROM forecast_scores WHERE day = %s", (day,)).fetchone()
    found = row[0] if row else None
    return found if isinstance(found, datetime) else None


def day_scores(connection: Connection, days: int) -> list[DayScore]:
    """Scores of so many of the newest scored days, newest first."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM forecast_scores WHERE day > (SELECT max(day) FROM forecast_scores) - %s"
            " ORDER BY day DESC, target DESC, horizon_minutes",
            (days,),
        )
        return [msgspec.convert(row, DayScore) for row in cursor]


def models_now(connection: Connection) -> list[ForecastModel]:
    """What the newest forecast was made with: full before empty, the shortest horizon first."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM forecast_models WHERE made_at = (SELECT max(made_at) FROM station_forecasts)"
            " ORDER BY target DESC, horizon_minutes"
        )
        return [msgspec.convert(row, ForecastModel) for row in cursor]


def risks_now(
    connection: Connection, *, horizon: int | None = None, station_code: str | None = None, zone: str | None = None
) -> list[StationRisk]:
    """The newest forecasts, those most at risk first, of all stations, one station or one zone."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name in StationRisk.__struct_fields__)
    statement = sql.SQL(
        "SELECT {} FROM forecast_now WHERE (%(horizon)s::int IS NULL OR horizon_minutes = %(horizon)s)"
        " AND (%(code)s::text IS NULL OR station_code = %(code)s) AND (%(zone)s::text IS NULL OR zone = %(zone)s)"
        " ORDER BY greatest(risk_full, risk_empty) DESC NULLS LAST, station_code, horizon_minutes"
    ).format(names)
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement, {"horizon": horizon, "code": station_code, "zone": zone})
        return [msgspec.convert(row, StationRisk) for row in cursor]
