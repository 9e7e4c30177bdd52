"""What checks need to know of past polls, from the feed's database.

Reads only; the streaming job writes them. Called by `csv_archive.py`.
"""

from datetime import UTC, datetime
from typing import Final

import psycopg

from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreError, connect

_USABLE: Final = """
SELECT time FROM polls WHERE kind IN ('usable', 'repaired') AND time >= %s AND time < %s ORDER BY time
"""


def usable_poll_times(settings: Settings, begin: datetime, end: datetime) -> list[datetime]:
    """Times (UTC) of the usable polls that PostgreSQL has from `begin` to `end`, in order.

    Raises:
        StoreError: PostgreSQL is away, or has no such table yet.
    """
    try:
        with connect(settings) as connection:
            rows = connection.execute(_USABLE, (begin, end)).fetchall()
    except psycopg.Error as error:
        msg = f"the polls of {settings.database} can't be read: {error}"
        raise StoreError(msg) from error
    return [time.astimezone(UTC) for (time,) in rows if isinstance(time, datetime)]
