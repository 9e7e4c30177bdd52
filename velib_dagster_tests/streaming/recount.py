"""An independent recount of the windows, by DuckDB, from the spells themselves."""

from collections.abc import Sequence

import duckdb
import msgspec
import pandas as pd

from velib_dagster.events.records import Spell
from velib_dagster.store.columns import WINDOW_COLUMNS

EXACT = [column.name for column in WINDOW_COLUMNS if column.name != "occupancy_seconds"]

_RECOUNT = """
WITH s AS (
    SELECT *, is_installed AND is_renting AND is_returning AS served,
        time_bucket(INTERVAL 10 MINUTES, since) AS window_start
    FROM spells
)
SELECT station_code, window_start, window_start + INTERVAL 10 MINUTES AS window_end, name, zone, cell,
    sum(seconds) AS seconds,
    coalesce(sum(seconds) FILTER (served), 0) AS seconds_in_service,
    coalesce(sum(seconds) FILTER (served AND bikes = 0), 0) AS seconds_empty,
    coalesce(sum(seconds) FILTER (served AND docks = 0), 0) AS seconds_full,
    coalesce(sum(seconds) FILTER (served AND docks IS NOT NULL), 0) AS seconds_docks_known,
    coalesce(sum(seconds) FILTER (served AND mechanical IS NOT NULL AND ebike IS NOT NULL), 0) AS seconds_split_known,
    coalesce(sum(seconds) FILTER (served AND capacity > 0), 0) AS seconds_occupancy_known,
    coalesce(sum(seconds * bikes) FILTER (served), 0) AS bikes_seconds,
    coalesce(sum(seconds * mechanical) FILTER (served AND mechanical + ebike IS NOT NULL), 0) AS mechanical_seconds,
    coalesce(sum(seconds * ebike) FILTER (served AND mechanical + ebike IS NOT NULL), 0) AS ebike_seconds,
    coalesce(sum(seconds * docks) FILTER (served), 0) AS docks_seconds,
    coalesce(sum(seconds * bikes::DOUBLE / capacity) FILTER (served AND capacity > 0), 0) AS occupancy_seconds,
    min(bikes) FILTER (served) AS bikes_min, max(bikes) FILTER (served) AS bikes_max,
    min(mechanical) FILTER (served) AS mechanical_min, max(mechanical) FILTER (served) AS mechanical_max,
    min(ebike) FILTER (served) AS ebike_min, max(ebike) FILTER (served) AS ebike_max,
    min(docks) FILTER (served) AS docks_min, max(docks) FILTER (served) AS docks_max,
    max(since) AS newest_since
FROM s GROUP BY ALL ORDER BY station_code, window_start, name, zone, cell
"""


def recount(spells: Sequence[Spell]) -> pd.DataFrame:
    """One row per station, window, name and place, with the columns of `windows`; times as UTC without zone."""
    frame = pd.DataFrame([msgspec.structs.asdict(spell) for spell in spells])
    for name in ("since", "until"):
        frame[name] = frame[name].dt.tz_convert(None)
    for name in ("capacity", "mechanical", "ebike", "docks"):
        frame[name] = frame[name].astype("Int64")
    with duckdb.connect() as connection:
        connection.register("spells", frame)
        return connection.execute(_RECOUNT).df()[[column.name for column in WINDOW_COLUMNS]]


def assert_same_windows(found: pd.DataFrame, spells: Sequence[Spell]) -> None:
    """Whether window rows are those of a recount: exact, occupancy to 1e-9 of the value."""
    expected = recount(spells)
    found = found.sort_values(["station_code", "window_start", "name", "zone", "cell"], ignore_index=True)
    assert len(found) == len(expected)
    for name in EXACT:
        ours = found[name].astype(object).where(found[name].notna(), None).tolist()
        theirs = expected[name].astype(object).where(expected[name].notna(), None).tolist()
        assert ours == theirs, name
    difference = (found["occupancy_seconds"] - expected["occupancy_seconds"]).abs()
    assert (difference <= 1e-9 * expected["occupancy_seconds"].clip(lower=1)).all()
