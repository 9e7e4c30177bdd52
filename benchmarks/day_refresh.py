"""One more day's statistics with little and with much history behind it, beside rivals that recompute everything.

`python benchmarks/day_refresh.py --history 365`. A day of minute polls of the simulated network goes through the
platform. The same day is then refreshed, in turn, in a home whose archive and database have nothing else and in one
with so many days before it (copies of the day, moved). The rivals read all day files and compute one table only:
time-weighted means, least and most, shares of time empty and full of each station, by DuckDB and by Spark.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import psutil
from psycopg import sql

from velib_dagster.archive.commit import FileLength, read_commit, write_commit
from velib_dagster.runtime.java import java_home
from velib_dagster.runtime.ports import with_ports
from velib_dagster.runtime.postgres import server
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings
from velib_dagster.simulator.days import write_days
from velib_dagster.statistics.refresh import refresh as refresh_days
from velib_dagster.statistics.session import SETTINGS, local_session
from velib_dagster.statistics.turns import turn
from velib_dagster.store.connect import connect
from velib_dagster.store.days import COLUMNS, settle

PARIS = ZoneInfo("Europe/Paris")
RIVAL = """
SELECT station_code, sum(seconds * bikes) / sum(seconds) AS bikes_mean, min(bikes) AS bikes_min,
  max(bikes) AS bikes_max, sum(seconds * docks) / sum(seconds) AS docks_mean, min(docks) AS docks_min,
  max(docks) AS docks_max, sum(CASE WHEN bikes = 0 THEN seconds ELSE 0 END) / sum(seconds) AS empty_share,
  sum(CASE WHEN docks = 0 THEN seconds ELSE 0 END) / sum(seconds) AS full_share
FROM spells WHERE is_installed AND is_renting AND is_returning GROUP BY station_code"""
"""What the rivals compute: a small part of one of the six tables that a refresh computes and proves."""


def told(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def cpu_seconds() -> float:
    """Processor seconds of this process and all that it started, ended ones among them once they were waited for."""
    me = psutil.Process()
    used = 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    began, used = time.monotonic(), cpu_seconds()
    work()
    return time.monotonic() - began, cpu_seconds() - used


def simulated_day(folder: Path, stations: int) -> tuple[Path, date]:
    """The archive of one day of minute polls, and the day of which it has most."""
    answers, home = folder / "answers", folder / "source"
    velib = (sys.executable, "-m", "velib_dagster.cli")
    # The whole of yesterday in Paris, and not a minute more: a day of the archive.
    midnight = datetime.combine(datetime.now(PARIS).date(), datetime.min.time(), PARIS)
    write_days(answers, days=1, every_seconds=60, stations=stations, end=midnight)
    told("a day of minute polls is simulated; it goes through the platform")
    environment = {**os.environ, "VELIB_FEED": "simulated"}
    backfill = ("backfill", str(answers), "--no-statistics", "--home", str(home))
    subprocess.run([*velib, *backfill], check=True, stdout=subprocess.DEVNULL, env=environment)
    archive = Settings.load(home).archive
    commit = read_commit(archive)
    day = max(commit.files, key=lambda one: commit.files[one].rows)
    told(f"{commit.files[day].rows} spells of {day}")
    return archive, day


def moved(content: bytes, day: date, back: int) -> bytes:
    """A day file so many days earlier: its texts begin on the day before the local day."""
    for old in (day - timedelta(days=1), day, day + timedelta(days=1)):
        content = content.replace(f"{old}T".encode(), f"{old - timedelta(days=back)}T".encode())
    return content


def archive_with(source: Path, target: Path, day: date, history: int) -> None:
    """An archive of the day and so many days before it."""
    target.mkdir(parents=True)
    commit = read_commit(source)
    content = (source / f"{day}.csv").read_bytes()[: commit.files[day].bytes]
    files = {}
    for back in range(history + 1):
        earlier = day - timedelta(days=back)
        (target / f"{earlier}.csv").write_bytes(moved(content, day, back))
        files[earlier] = FileLength(len(content), commit.files[day].rows)
    write_commit(target, msgspec.structs.replace(commit, files=files))


def refresh(settings: Settings, day: date) -> None:
    """As `velib backfill` ends: its Spark starts with it and ends with it."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - as in by_spark

    os.environ["JAVA_HOME"] = str(java_home())
    with turn(settings, 0, told) as ours:
        (outcome,) = refresh_days(ours, [day], local_session, lambda _: None)
    if not outcome.is_written:
        sys.exit(f"{day} is in doubt: {outcome.wrong}")
    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()


def copy_history(settings: Settings, day: date, history: int) -> None:
    """The day's rows once more for each day before it."""
    with connect(settings) as connection:
        for table in (*COLUMNS, "computed_days"):
            found = connection.execute(
                "SELECT attname, atttypid::regtype::text FROM pg_attribute"
                " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                (table,),
            ).fetchall()
            moves = {"date": "{} - back", "timestamp with time zone": "{} - make_interval(days => back)"}
            names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in found)
            values = sql.SQL(", ").join(
                sql.SQL(moves.get(kind, "{}")).format(sql.Identifier(name)) for name, kind in found
            )
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}, generate_series(1, %s) AS back WHERE day = %s").format(
                    sql.Identifier(table), names, values, sql.Identifier(table)
                ),
                (history, day),
            )
        connection.commit()
        settle(connection)
        connection.autocommit = True
        connection.execute("CHECKPOINT")  # history was written long ago: its pages are on disk


def read_stations(settings: Settings) -> int:
    with connect(settings) as connection:
        return len(connection.execute("SELECT * FROM station_stats").fetchall())


def by_duckdb(archive: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute(f"CREATE VIEW spells AS FROM read_csv('{archive}/*.csv', header = true)")
        connection.execute(RIVAL).fetchall()


def by_spark(archive: Path) -> None:
    """A process of its own, with the Java that a newcomer gets."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - takes a second, and the JVM its own

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()

    def work() -> None:
        files = sorted(str(path) for path in archive.glob("*.csv"))
        schema = session.read.csv(files[0], header=True, inferSchema=True).schema
        session.read.csv(files, header=True, schema=schema).createOrReplaceTempView("spells")
        session.sql(RIVAL).collect()

    print(*timed(work))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, default=365, help="days before the one that is refreshed")
    parser.add_argument("--stations", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3, help="refreshes of each home, after one that does not count")
    parser.add_argument("--spark-rival", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.spark_rival:
        by_spark(options.spark_rival)
        return
    with tempfile.TemporaryDirectory(prefix="velib-refresh-") as folder:
        source, day = simulated_day(Path(folder), options.stations)
        short = with_ports(Settings(home=Path(folder) / "short", feed=Feed("short", "", timezone="Europe/Paris")))
        short.save()
        with running(server(short), short.home):
            long = replace(short, home=Path(folder) / "long", feed=replace(short.feed, name="long"))
            long.save()
            shutil.copytree(short.home / "secrets", long.home / "secrets")
            homes = {"1 day": short, f"{options.history + 1} days": long}
            for settings, history in zip(homes.values(), (0, options.history), strict=True):
                archive_with(source, settings.archive, day, history)
                refresh(settings, day)
            copy_history(long, day, options.history)
            told("both homes are ready")
            measured = {name: [] for name in homes}
            for _ in range(options.rounds):
                for name, settings in homes.items():
                    measured[name].append(timed(lambda settings=settings: refresh(settings, day)))
                    told(f"refresh with {name}: {measured[name][-1][0]:.1f} s, {measured[name][-1][1]:.1f} CPU s")
            reads = [timed(lambda: read_stations(long))[0] for _ in range(5)]
            report(measured, reads, long, day)


def report(measured: dict[str, list[tuple[float, float]]], reads: list[float], long: Settings, day: date) -> None:
    """The table: medians, and their ratio to the refresh with one day behind it."""
    rows = {
        f"refresh of {day}, {name} archived": tuple(statistics.median(column) for column in zip(*runs, strict=True))
        for name, runs in measured.items()
    }
    rows["everything again from the CSV, DuckDB"] = timed(lambda: by_duckdb(long.archive))
    words = (sys.executable, __file__, "--spark-rival", str(long.archive))
    told_by = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    rows["everything again from the CSV, Spark"] = (float(told_by[-2]), float(told_by[-1]))
    base_wall, base_cpu = next(iter(rows.values()))
    print("\n| | wall, s | ratio | CPU, s | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (wall, cpu) in rows.items():
        print(f"| {name} | {wall:.1f} | {wall / base_wall:.2f} | {cpu:.1f} | {cpu / base_cpu:.2f} |")
    print(f"\nView `station_stats` over all days read in {statistics.median(reads):.2f} s (median of {len(reads)})")


if __name__ == "__main__":
    main()
