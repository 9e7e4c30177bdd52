import threading
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from velib_dagster.events.records import PollRecord, StationState, columns
from velib_dagster.settings import Settings
from velib_dagster.store.columns import RELATIONS
from velib_dagster.store.connect import StoreError, StoreUnreachableError, connect, dsn
from velib_dagster.store.forecast_columns import FORECAST_FUNCTIONS, FORECASTS
from velib_dagster.store.migrate import Migration, migrate, migrations
from velib_dagster.store.statistics_columns import FUNCTIONS, STATISTICS
from velib_dagster.store.upsert import Connection

pytestmark = pytest.mark.postgres

EVERYTHING = (*RELATIONS, *STATISTICS, *FORECASTS)

SQL_TYPES = {
    "str": {"text"},
    "PollKind": {"text"},
    "int": {"integer", "bigint"},
    "float": {"double precision"},
    "bool": {"boolean"},
    "datetime": {"timestamp with time zone"},
    "date": {"date"},
    "list": {"double precision[]"},
    "dict": {"jsonb"},
    "NetworkTotals": {"jsonb"},
    "LastUsable": {"jsonb"},
    "Pace": {"jsonb"},
    "tuple": {"jsonb"},
}


def test_a_missing_database_is_made_and_migrating_again_changes_nothing(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    settings = fresh_feed(postgres_settings)
    newest = migrations()[-1].version
    assert migrate(settings) == newest
    assert migrate(settings) == newest
    with connect(settings) as connection:
        assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (len(migrations()),)
        # the order of text, and so every index on it, must not change with the C library
        collation = (
            "SELECT datlocprovider::text, datcollate, datctype FROM pg_database WHERE datname = current_database()"
        )
        assert connection.execute(collation).fetchone() == ("c", "C", "C")


def test_two_migrations_at_once_are_fine(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> None:
    settings = fresh_feed(postgres_settings)
    versions: list[int] = []
    threads = [threading.Thread(target=lambda: versions.append(migrate(settings))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [migrations()[-1].version] * 4


def test_a_number_that_comes_to_fill_a_gap_later_is_applied_then(database: Settings) -> None:
    ninth = Migration(9009, "9009_ninth.sql", "CREATE TABLE ninth (x integer)")
    eighth = Migration(9008, "9008_eighth.sql", "CREATE TABLE eighth (x integer)")
    assert migrate(database, (*migrations(), ninth)) == 9009
    assert migrate(database, (*migrations(), eighth, ninth)) == 9009
    with connect(database) as connection:
        assert connection.execute("SELECT to_regclass('eighth')::text, to_regclass('ninth')::text").fetchone() == (
            "eighth",
            "ninth",
        )


def test_a_newer_schema_is_refused(database: Settings) -> None:
    newer = Migration(9999, "9999_newer.sql", "CREATE TABLE newer (x integer)")
    migrate(database, (*migrations(), newer))
    with pytest.raises(StoreError, match="9999"):
        migrate(database)


def test_a_migration_that_fails_leaves_nothing_behind(database: Settings) -> None:
    broken = Migration(9999, "9999_broken.sql", "CREATE TABLE half (x integer); SELECT 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(database, (*migrations(), broken))
    with connect(database) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_windows_of_the_first_schema_are_kept_for_stations(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    settings = fresh_feed(postgres_settings)
    with connect(settings, database="postgres") as server:
        server.autocommit = True
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(settings.database)))
    sums = (
        "seconds_empty, seconds_full, seconds_docks_known, seconds_split_known, seconds_occupancy_known,"
        " bikes_seconds, mechanical_seconds, ebike_seconds, docks_seconds, occupancy_seconds, stations"
    )
    with connect(settings) as connection:
        connection.execute(migrations()[0].statements.encode())
        connection.execute(
            "CREATE TABLE schema_version (version integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("INSERT INTO schema_version (version, name) VALUES (1, '0001_live.sql')")
        for grain, key, name in (("station", "1", "A"), ("zone", "Paris 1er", None), ("cell", "c", None)):
            place = ("Paris 1er", "c") if name else (None, None)
            connection.execute(
                f"INSERT INTO windows (grain, key, name, zone, cell, window_start, window_end, seconds,"
                f" seconds_in_service, {sums}) VALUES (%s, %s, %s, %s, %s, '2024-11-07 12:00Z', '2024-11-07 12:10Z',"
                " 600, 600, 0, 0, 600, 0, 0, 1200, 0, 0, 0, 0, 1)",
                (grain, key, name, *place),
            )
    migrate(settings)
    with connect(settings) as connection:
        found = {
            grain: connection.execute(f"SELECT seconds, bikes_mean FROM {grain}_windows").fetchall()  # type: ignore[arg-type]
            for grain in ("station", "zone", "cell")
        }
    assert list(found.values()) == [[(600, 2.0)]] * 3


def test_every_table_and_column_has_the_one_definitions_order_type_and_comment(connection: Connection) -> None:
    found = connection.execute(
        "SELECT c.relname, obj_description(c.oid), a.attname, col_description(c.oid, a.attnum),"
        " format_type(a.atttypid, NULL), a.attnotnull, c.relkind"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname, a.attnum"
    ).fetchall()
    tables: dict[object, list[tuple[object, ...]]] = {}
    for row in found:
        tables.setdefault(row[0], []).append(row)
    assert set(tables) == {relation.name for relation in EVERYTHING}
    for relation in EVERYTHING:
        rows = tables[relation.name]
        assert {row[1] for row in rows} == {relation.description}
        assert [row[2] for row in rows] == [column.name for column in relation.columns], relation.name
        for row, column in zip(rows, relation.columns, strict=True):
            assert row[3] == column.description
            assert row[3]
            assert str(row[4]) in SQL_TYPES[column.type.__name__], (relation.name, column.name)
            if row[6] == "r":
                assert row[5] == (not column.nullable), (relation.name, column.name)
    by_name = {relation.name: relation for relation in EVERYTHING}
    assert by_name["station_states"].columns[:-1] == by_name["station_now"].columns == columns(StationState)
    assert by_name["polls"].columns == columns(PollRecord)


def test_every_function_has_its_comment_and_gives_the_columns_of_its_view(connection: Connection) -> None:
    found = connection.execute(
        "SELECT p.proname::text, obj_description(p.oid), p.proargnames[pronargs + 1:],"
        " (SELECT array_agg(format_type(t, NULL) ORDER BY n) FROM unnest(p.proallargtypes[pronargs + 1:])"
        "  WITH ORDINALITY AS u (t, n)),"
        " (SELECT array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum) FROM pg_attribute a"
        "  WHERE a.attrelid = to_regclass(p.proname::text) AND a.attnum > 0)"
        " FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
    ).fetchall()
    over_days = {relation.name: relation for relation in STATISTICS if relation.over_days}
    others = {function.name: function.description for function in (*FUNCTIONS, *FORECAST_FUNCTIONS)}
    assert {row[0] for row in found} == over_days.keys() | others.keys()
    for name, comment, columns_given, types, types_of_view in found:
        if name in others:
            assert comment == others[str(name)]
            continue
        relation = over_days[str(name)]
        assert comment == f"{relation.description}; over the days from_day to to_day, both included"
        assert columns_given == [column.name for column in relation.columns]
        assert types == types_of_view


def test_the_reader_reads_in_the_feeds_time_zone_and_writes_nothing(database: Settings, connection: Connection) -> None:
    connection.execute("CREATE TABLE made_later (x integer)")
    connection.commit()
    with psycopg.connect(dsn(database)) as reader:
        assert reader.execute("SHOW timezone").fetchone() == ("Europe/Paris",)
        assert reader.execute("SHOW search_path").fetchone() == ("public",)
        for relation in (*(relation.name for relation in EVERYTHING), "made_later"):
            reader.execute(f"SELECT * FROM {relation} LIMIT 1")  # type: ignore[arg-type]
        for relation in STATISTICS:
            if relation.over_days:
                reader.execute(f"SELECT * FROM {relation.name}('2024-11-06', '2024-11-07')")  # type: ignore[arg-type]
        reader.commit()
        reader.execute("SET default_transaction_read_only = off")
        reader.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM polls")
        reader.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM station_days")


def test_an_unreachable_server_is_named_without_the_password(tmp_path: object, database: Settings) -> None:
    away = replace(database, postgres_address="postgresql://platform:s3cretword@127.0.0.1:1")
    with pytest.raises(StoreUnreachableError, match=r"127\.0\.0\.1:1") as caught:
        connect(away)
    assert "s3cretword" not in str(caught.value)
    wrong = replace(database, postgres_address=f"postgresql://platform:wr0ngword@127.0.0.1:{database.port('postgres')}")
    with pytest.raises(StoreUnreachableError, match="password authentication failed") as caught:
        connect(wrong)
    assert "wr0ngword" not in str(caught.value)
