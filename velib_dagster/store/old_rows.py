"""Deleting rows that are past their days, so that months of minutes fit the disk.

Which days are kept is the caller's affair (asset `storage`). Statistics are never deleted.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, LiteralString

import psycopg

from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreError, connect

# Days are counted back from the newest row, not from now: recorded days of another year would be gone at once. A row
# later than now is not believed.
_TABLES: Final[dict[str, LiteralString]] = {
    "station_states": """
        DELETE FROM station_states AS old
        WHERE since < least((SELECT max(since) FROM station_states), %s) - %s * interval '1 day'
        AND EXISTS (SELECT FROM station_states AS new
                    WHERE new.station_code = old.station_code AND new.since > old.since)
    """,
    "absences": """
        DELETE FROM absences
        WHERE until < least((SELECT max(since) FROM station_states), %s) - %s * interval '1 day'
    """,
    "windows": """
        DELETE FROM windows
        WHERE window_start < least((SELECT max(window_start) FROM windows), %s) - %s * interval '1 day'
    """,
    "polls": """
        DELETE FROM polls WHERE time < least((SELECT max(time) FROM polls), %s) - %s * interval '1 day'
        AND snapshot <> (SELECT max(snapshot) FROM polls)
    """,
    "forecast_models": """
        DELETE FROM forecast_models
        WHERE made_at < least((SELECT max(made_at) FROM station_forecasts), %s) - %s * interval '1 day'
    """,
    "station_forecasts": """
        DELETE FROM station_forecasts
        WHERE made_at < least((SELECT max(made_at) FROM station_forecasts), %s) - %s * interval '1 day'
    """,
}


def delete_old_rows(settings: Settings, days: Mapping[str, float], now: datetime) -> dict[str, int]:
    """Delete rows older than so many days before the newest row; returns how many, by table.

    The newest row of each station, and that of the newest poll, stay. `days` has tables and days to keep of each.
    A newest row later than `now` comes from a clock that was ahead: days are then counted back from `now`.

    Raises:
        StoreError: PostgreSQL is away, or lacks a table.
    """
    deleted: dict[str, int] = {}
    try:
        with connect(settings) as connection:
            for table, keep in days.items():
                deleted[table] = connection.execute(_TABLES[table], (now, keep)).rowcount
    except psycopg.Error as error:
        msg = f"old rows of {settings.database} can't be deleted: {error}"
        raise StoreError(msg) from error
    return deleted
