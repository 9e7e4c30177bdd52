"""Table `days_in_doubt`: days whose statistics could not be proved, and how often that was tried.

When such a day is tried again stands in `statistics/due_days.py`; what a proof is, in `statistics/proof.py`.
"""

from collections.abc import Collection
from datetime import date, datetime

import msgspec
from psycopg.rows import dict_row

from velib_dagster.store.upsert import Connection


class DayInDoubt(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `days_in_doubt`: `tries` failed on these bytes by this program, the newest at `tried_at`."""

    day: date
    since: datetime
    tried_at: datetime
    tries: int
    archived_bytes: int
    program: str
    reason: str


def days_in_doubt(connection: Connection) -> list[DayInDoubt]:
    """All of them, oldest first."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM days_in_doubt ORDER BY day").fetchall()
    return [msgspec.convert(row, DayInDoubt) for row in rows]


def put_in_doubt(connection: Connection, day: date, archived_bytes: int, program: str, reason: str) -> DayInDoubt:
    """Note one more failed try of a day; tries count anew where its file has grown or the program has changed."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "INSERT INTO days_in_doubt (day, since, tried_at, tries, archived_bytes, program, reason)"
            " VALUES (%s, now(), now(), 1, %s, %s, %s) ON CONFLICT (day) DO UPDATE SET"
            " tries = CASE WHEN (days_in_doubt.archived_bytes, days_in_doubt.program)"
            " = (excluded.archived_bytes, excluded.program) THEN days_in_doubt.tries + 1 ELSE 1 END,"
            " (tried_at, archived_bytes, program, reason)"
            " = ROW (excluded.tried_at, excluded.archived_bytes, excluded.program, excluded.reason)"
            " RETURNING *",
            (day, archived_bytes, program, reason),
        ).fetchone()
    return msgspec.convert(row, DayInDoubt)


def clear_doubts(connection: Connection, days: Collection[date]) -> None:
    """Forget the doubt about days that are proved now."""
    if days:
        connection.execute("DELETE FROM days_in_doubt WHERE day = ANY (%s)", (list(days),))
