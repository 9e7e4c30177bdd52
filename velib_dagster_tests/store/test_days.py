import threading
from datetime import timedelta

import psycopg
import pyarrow as pa
import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreError, connect
from velib_dagster.store.days import COLUMNS, replace_day, settle
from velib_dagster.store.statistics_reads import Days, computed_days
from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import DAY, NEXT, at, episode, hour_of, station_day, write, zone_day

pytestmark = pytest.mark.postgres
COST = {"day_seconds": 86_400, "network_seconds": 86_000, "spells": 10, "archived_bytes": 1000}


def test_a_day_written_again_replaces_itself_and_no_other_day(connection: Connection) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(seconds=1), station_day(code="gone")])
    write(connection, "station_stats", NEXT, station_days=[station_day(NEXT, seconds=2)])
    hours = [hour_of("station_hours", DAY, 8, station_code="16107")]
    counts = write(connection, "station_stats", DAY, station_days=[station_day(seconds=3)], station_hours=hours)
    assert counts == {"station_days": 1, "station_hours": 1}
    rows = connection.execute("SELECT station_code, day, seconds FROM station_days ORDER BY day").fetchall()
    assert rows == [("16107", DAY, 3), ("16107", NEXT, 2)]
    assert connection.execute("SELECT hour_start, hour FROM station_hours").fetchall() == [(at(DAY, 8), 8)]


def test_a_day_without_spells_leaves_no_row_and_counts_as_computed(connection: Connection) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(seconds=1)])
    write(connection, "station_stats", DAY, network_seconds=0)
    assert connection.execute("SELECT count(*) FROM station_days").fetchone() == (0,)
    (computed,) = computed_days(connection)
    assert (computed.asset, computed.day, computed.network_seconds, computed.spells) == ("station_stats", DAY, 0, 10)


def test_each_asset_replaces_its_own_kinds_of_episodes(connection: Connection) -> None:
    write(connection, "empty_stations", episodes=[episode("empty", at(DAY, 8), at(DAY, 9))])
    write(connection, "full_stations", episodes=[episode("full", at(DAY, 10), at(DAY, 11))])
    write(connection, "empty_stations", episodes=[episode("cluster_empty", at(DAY, 8), at(DAY, 9))])
    kinds = connection.execute("SELECT kind FROM episodes ORDER BY kind").fetchall()
    assert kinds == [("cluster_empty",), ("full",)]


def test_an_arrow_table_is_written_by_the_names_of_its_columns(connection: Connection) -> None:
    zone = dict(zip((c.name for c in COLUMNS["zone_days"]), zone_day(bikes_min=None, bikes_max=7), strict=True))
    moved = dict(reversed(zone.items()))
    hours = pa.table({column.name: [] for column in COLUMNS["zone_hours"]})
    tables = {"zone_days": pa.Table.from_pylist([moved]), "zone_hours": hours, "cell_days": []}
    assert replace_day(connection, "zone_stats", DAY, tables, **COST)["zone_days"] == 1
    assert connection.execute("SELECT zone, bikes_min, bikes_max FROM zone_days").fetchall() == [("Paris 16e", None, 7)]
    tables["zone_days"] = pa.Table.from_pylist([moved]).drop_columns(["seconds"])
    with pytest.raises(StoreError, match=r"columns missing \['seconds'\]"):
        replace_day(connection, "zone_stats", DAY, tables, **COST)


@pytest.mark.parametrize(
    ("asset", "tables", "told"),
    [
        ("station_stats", {"station_days": [station_day(NEXT)], "station_hours": []}, "another day"),
        ("station_stats", {"station_days": [station_day()[:-1]], "station_hours": []}, "length"),
        ("station_stats", {"station_days": []}, "station_hours"),
        ("nothing", {}, "nothing"),
        ("empty_stations", {"episodes": [episode("full", at(DAY, 8), at(DAY, 9))]}, "kind"),
    ],
)
def test_rows_that_do_not_belong_leave_the_old_day_as_it_was(
    connection: Connection, asset: str, tables: dict[str, list[object]], told: str
) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(seconds=5)])
    with pytest.raises(StoreError, match=told):
        replace_day(connection, asset, DAY, tables, **COST)  # type: ignore[arg-type]
    assert connection.execute("SELECT seconds FROM station_days").fetchall() == [(5,)]
    assert len(computed_days(connection)) == 1


def test_a_day_that_fails_half_way_leaves_the_old_one(connection: Connection) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(seconds=5)])
    twice = [hour_of("station_hours", DAY, 8, station_code="1")] * 2
    with pytest.raises(psycopg.errors.UniqueViolation):
        write(connection, "station_stats", DAY, station_days=[station_day(seconds=6)], station_hours=twice)
    assert connection.execute("SELECT seconds FROM station_days").fetchall() == [(5,)]


def test_two_writers_of_a_day_do_not_collide_and_readers_see_one_whole_day(
    database: Settings, connection: Connection
) -> None:
    stations = [f"{code}" for code in range(50)]
    failed: list[Exception] = []
    seen: set[tuple[object, ...]] = set()
    write(connection, "station_stats", DAY, station_days=[station_day(code=c, seconds=1) for c in stations])

    def rewrite(seconds: int) -> None:
        try:
            with connect(database) as own:
                for _ in range(10):
                    rows = [station_day(code=c, seconds=seconds) for c in stations]
                    write(own, "station_stats", DAY, station_days=rows)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    writers = [threading.Thread(target=rewrite, args=(seconds,)) for seconds in (1, 2)]
    for writer in writers:
        writer.start()
    with connect(database, readonly=True) as reader:
        while any(writer.is_alive() for writer in writers):
            seen |= set(reader.execute("SELECT count(*), count(DISTINCT seconds) FROM station_days").fetchall())
            reader.rollback()
    assert failed == []
    assert seen == {(50, 1)}


def test_computed_days_are_read_by_asset_and_range(connection: Connection) -> None:
    for n in range(3):
        write(connection, "station_stats", DAY + timedelta(days=n))
    write(connection, "zone_stats", DAY)
    assert [c.asset for c in computed_days(connection, days=Days(DAY, DAY))] == ["station_stats", "zone_stats"]
    assert [c.day for c in computed_days(connection, "station_stats", Days(NEXT, NEXT))] == [NEXT]
    assert len(computed_days(connection, "station_stats")) == 3


def test_settled_tables_are_known_to_the_planner(connection: Connection) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(code=str(n)) for n in range(100)])
    connection.commit()
    settle(connection)
    known = connection.execute(
        "SELECT reltuples, relallvisible FROM pg_class WHERE relname = 'station_days'"
    ).fetchone()
    assert known is not None
    assert known[0] == 100
    assert known[1] > 0  # type: ignore[operator]
    assert not connection.autocommit
