"""What the streaming job writes: each function upserts one batch in one transaction and may run again.

Rows are keyed by what they are about, so a batch run twice changes nothing. Where the rows come from belongs to
`streaming/sink.py`; the schema to `migrations/`.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec
import psycopg
from psycopg import sql

from velib_dagster.events.records import Column, PollRecord, StationState, Void, columns
from velib_dagster.events.state_events import Left, StateEvent
from velib_dagster.store.columns import ABSENCE_COLUMNS, PROGRESS_COLUMNS, STATE_COLUMNS, WINDOW_COLUMNS

Connection: TypeAlias = psycopg.Connection[tuple[object, ...]]
Row: TypeAlias = Sequence[object]
T = TypeVar("T")

_SQL_TYPES: Final = {int: "int8", float: "float8", bool: "bool", datetime: "timestamptz"}

POLL_COLUMNS: Final = columns(PollRecord)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where one query is, as a row of `stream_progress`; `updated_at` is set by the server."""

    query: str
    batch_id: int
    input_rows: int
    rows_per_second: float
    position: dict[str, dict[str, int]]
    watermark: datetime | None
    batch_seconds: float


def upsert_windows(connection: Connection, rows: Iterable[Row]) -> int:
    """Write window sums, rows with the columns `WINDOW_COLUMNS` in order; returns how many rows changed.

    A row is never replaced by one that knows fewer seconds: after a lost checkpoint over a topic that retention has
    cut, a query sees only the rest of a window.
    """
    with connection.transaction():
        _stage(connection, "windows", WINDOW_COLUMNS, rows)
        return connection.execute(
            _upsert(
                "windows",
                WINDOW_COLUMNS,
                key=("station_code", "window_start", "name", "zone", "cell"),
                newest="seconds",
                condition="excluded.seconds >= windows.seconds",
            )
        ).rowcount


def upsert_states(connection: Connection, events: Iterable[StateEvent]) -> int:
    """Write states and tombstones in the order of the topic; returns how many rows of states changed or went.

    A tombstone takes away the station's rows that began before it; what follows it in the batch stays. An event of an
    older poll than the station's own before it, or than the row's, came again and changes nothing.
    """
    states: dict[str, dict[datetime, StateEvent]] = {}
    absences: dict[str, dict[datetime, datetime | None]] = {}
    left: list[Left] = []
    newest: dict[str, str] = {}
    for item in events:
        event, code = item.event, item.event.station_code
        if item.poll is not None:
            if item.poll < newest.get(code, ""):
                continue
            newest[code] = item.poll
        if isinstance(event, Left):
            left.append(event)
            _forget(states, event)
            _forget(absences, event)
            continue
        states.setdefault(code, {})[event.since] = item
        if event.absent_since is not None:
            absences.setdefault(code, {})[event.absent_since] = event.absent_until
    rows = (_state_row(item) for by_since in states.values() for item in by_since.values())
    with connection.transaction():
        gone = [
            connection.execute(
                sql.SQL(
                    "DELETE FROM {} AS s USING"
                    " unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS l (code, at, after)"
                    " WHERE s.station_code = l.code AND s.since < l.at AND (l.after IS NULL OR s.since > l.after)"
                ).format(sql.Identifier(table)),
                ([one.station_code for one in left], [one.at for one in left], [one.after for one in left]),
            ).rowcount
            for table in ("station_states", "absences")
        ]
        _stage(connection, "station_states", STATE_COLUMNS, rows)
        written = connection.execute(
            _upsert(
                "station_states",
                STATE_COLUMNS,
                key=("station_code", "since"),
                condition="coalesce(excluded.poll >= station_states.poll, true)",
            )
        ).rowcount
        _upsert_absences(connection, absences)
        return gone[0] + written


def _forget(by_since: dict[str, dict[datetime, T]], event: Left) -> None:
    """Take away what a tombstone does: all of the station, or what began after a time."""
    kept = by_since.pop(event.station_code, {})
    if event.after is not None:
        by_since[event.station_code] = {since: kept[since] for since in kept if since <= event.after}


def _state_row(item: StateEvent) -> Row:
    return (*(getattr(item.event, name) for name in StationState.__struct_fields__), item.poll)


def _upsert_absences(connection: Connection, absences: dict[str, dict[datetime, datetime | None]]) -> None:
    """Write when stations were absent; a state that began later ends an absence whose own end was compacted away."""
    rows = ((code, since, until) for code, by_since in absences.items() for since, until in by_since.items())
    _stage(connection, "absences", ABSENCE_COLUMNS, rows)
    connection.execute(
        "INSERT INTO absences SELECT * FROM staged_absences"
        " ON CONFLICT (station_code, since) DO UPDATE SET until = coalesce(excluded.until, absences.until)"
    )
    connection.execute(
        "UPDATE absences AS a SET until = s.next FROM"
        " (SELECT a.station_code, a.since, min(s.since) AS next FROM absences AS a JOIN staged_station_states AS s"
        "  USING (station_code) WHERE a.until IS NULL AND s.since > a.since GROUP BY 1, 2) AS s"
        " WHERE a.station_code = s.station_code AND a.since = s.since"
    )


def upsert_polls(connection: Connection, polls: Iterable[PollRecord]) -> int:
    """Write poll records; returns how many rows changed.

    Of several of a snapshot the last one with the latest cut counts: one that came again knows of no cut since. A
    record that says since when a clock was ahead takes away the earlier polls of those times, which never were.
    """
    newest: dict[str, PollRecord] = {}
    for poll in polls:
        before = newest.get(poll.snapshot)
        if (
            before is None
            or before.last_cut is None
            or (poll.last_cut is not None and poll.last_cut >= before.last_cut)
        ):
            newest[poll.snapshot] = poll
    for poll in list(newest.values()):
        if (void := _void_found_by(poll)) is not None:
            newest = {name: one for name, one in newest.items() if name >= poll.snapshot or one.time <= void.after}
    rows = ([_plain(value) for value in msgspec.structs.astuple(poll)] for poll in newest.values())
    with connection.transaction():
        for poll in newest.values():
            if (void := _void_found_by(poll)) is not None:
                connection.execute("DELETE FROM polls WHERE snapshot < %s AND time > %s", (poll.snapshot, void.after))
        for poll in newest.values():
            if poll.frozen_since is not None:
                connection.execute(
                    "INSERT INTO frozen_spans AS kept (since, until) VALUES (%s, %s) ON CONFLICT (since)"
                    " DO UPDATE SET until = excluded.until WHERE excluded.until > kept.until",
                    (poll.frozen_since, poll.time),
                )
        _stage(connection, "polls", POLL_COLUMNS, rows)
        return connection.execute(
            _upsert(
                "polls",
                POLL_COLUMNS,
                key=("snapshot",),
                condition="polls.last_cut IS NULL OR excluded.last_cut >= polls.last_cut",
            )
        ).rowcount


def _void_found_by(poll: PollRecord) -> Void | None:
    """What this poll, and none before it, found to be void."""
    newest = poll.voids[-1] if poll.voids else None
    return newest if newest is not None and newest.after == poll.time else None


def upsert_progress(connection: Connection, progress: Progress) -> None:
    """Write where a query is, and that it lives now."""
    names = [sql.Identifier(column.name) for column in PROGRESS_COLUMNS]
    values = [_plain(value) for value in msgspec.structs.astuple(progress)]
    statement = sql.SQL(
        "INSERT INTO stream_progress ({names}) VALUES ({values}, now())"
        " ON CONFLICT (query) DO UPDATE SET ({names}) = ROW (excluded.*)"
    ).format(names=sql.SQL(", ").join(names), values=sql.SQL(", ").join([sql.Placeholder()] * len(values)))
    with connection.transaction():
        connection.execute(statement, values)


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct | dict | tuple):
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return str(value) if isinstance(value, str) else value


def _stage(connection: Connection, table: str, described: Sequence[Column], rows: Iterable[Row]) -> None:
    """Copy rows into a temporary table, made anew; it lives no longer than the transaction."""
    types = [_SQL_TYPES.get(column.type, "text") for column in described]
    names = [sql.Identifier(column.name) for column in described]
    fields = [sql.SQL("{} {}").format(name, sql.SQL(kind)) for name, kind in zip(names, types, strict=True)]
    staged = sql.Identifier(f"staged_{table}")
    connection.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS pg_temp.{staged}; CREATE TEMPORARY TABLE {staged} ({fields}) ON COMMIT DROP"
        ).format(staged=staged, fields=sql.SQL(", ").join(fields))
    )
    copy_in = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(staged)
    with connection.cursor() as cursor, cursor.copy(copy_in) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _upsert(
    table: str,
    described: Sequence[Column],
    *,
    key: tuple[str, ...],
    newest: str | None = None,
    condition: str = "true",
) -> sql.Composed:
    """INSERT … ON CONFLICT from the staged rows; rows that would change nothing are left alone.

    With `newest`, of several staged rows of one key the one with the largest such value counts.
    """
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in described)
    values = sql.SQL(", ").join(
        sql.SQL("{}" if column.type in _SQL_TYPES or issubclass(column.type, str) else "{}::jsonb").format(
            sql.Identifier(column.name)
        )
        for column in described
    )
    keys = sql.SQL(", ").join(sql.Identifier(name) for name in key)
    rest = [sql.Identifier(column.name) for column in described if column.name not in key]
    order = sql.SQL(" ORDER BY {}, {} DESC").format(keys, sql.Identifier(newest)) if newest else sql.SQL("")
    once = sql.SQL("DISTINCT ON ({}) ").format(keys) if newest else sql.SQL("")
    target = sql.Identifier(table)
    return sql.SQL(
        "INSERT INTO {target} ({names}) SELECT {once}{values} FROM {staged}{order}"
        " ON CONFLICT ({keys}) DO UPDATE SET ({rest}) = ROW ({new})"
        " WHERE ({condition}) AND ({old}) IS DISTINCT FROM ({new})"
    ).format(
        target=target,
        names=names,
        once=once,
        values=values,
        staged=sql.Identifier(f"staged_{table}"),
        order=order,
        keys=keys,
        rest=sql.SQL(", ").join(rest),
        new=sql.SQL(", ").join(sql.SQL("excluded.{}").format(name) for name in rest),
        old=sql.SQL(", ").join(sql.SQL("{}.{}").format(target, name) for name in rest),
        condition=sql.SQL(condition),  # a constant of this module
    )
