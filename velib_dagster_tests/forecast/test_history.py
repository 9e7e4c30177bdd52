"""Parquet months: the lags are polls with their ages, the target the next poll, gaps drop rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from velib_dagster.forecast.errors import ForecastError
from velib_dagster.forecast.history import month_rows, read_months

pytestmark = pytest.mark.spark
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def poll(minutes: int, docks: int, code: str = "16107", **changes: Any) -> dict[str, Any]:
    return {
        "ts_utc": NOON + timedelta(minutes=minutes), "stationCode": code, "capacity": 30,
        "num_bikes_available": 30 - docks, "num_docks_available": docks, "is_installed": 1, "is_renting": 1,
        "is_returning": 1, **changes,
    }  # fmt: skip


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def rows_of(spark: SparkSession, *files: Path) -> list[dict[str, Any]]:
    return sorted(month_rows(read_months(spark, files)).toArrow().to_pylist(), key=lambda row: row["at"])


def test_lags_are_the_last_three_polls_and_their_ages_reach_to_the_next(small: SparkSession, tmp_path: Path) -> None:
    polls = [poll(0, 9), poll(60, 8), poll(125, 5), poll(185, 0), poll(190, 3)]
    found = rows_of(small, written(tmp_path / "a.parquet", polls))
    assert [(row["docks_lag1"], row["docks_lag2"], row["docks_lag3"], row["docks_after_0"]) for row in found] == [
        (5, 8, 9, 0),
        (0, 5, 8, 3),
    ]
    assert [(row["age_lag1"], row["age_lag2"], row["age_lag3"]) for row in found] == [(60, 125, 185), (5, 65, 130)]
    assert found[0]["at_after"] == (NOON + timedelta(minutes=185)).timestamp()


def test_a_gap_of_more_than_two_hours_drops_every_row_that_spans_it(small: SparkSession, tmp_path: Path) -> None:
    minutes = [0, 60, 120, 180, 301, 360, 420, 480]
    found = rows_of(small, written(tmp_path / "a.parquet", [poll(m, 5) for m in minutes]))
    assert [int(row["at"] - NOON.timestamp()) // 60 for row in found] == [120, 420]


def test_a_closed_station_is_no_poll_and_a_poll_in_two_files_counts_once(small: SparkSession, tmp_path: Path) -> None:
    polls = [poll(60 * n, n) for n in range(4)]
    one = written(tmp_path / "a.parquet", [*polls, poll(30, 200, is_renting=0)])
    two = written(tmp_path / "b.parquet", polls[2:])
    assert [row["docks_lag1"] for row in rows_of(small, one, two)] == [2]


def test_an_outage_of_the_capacity_is_unknown_and_zones_come_from_the_code(small: SparkSession, tmp_path: Path) -> None:
    polls = [poll(60 * n, n, capacity=0) for n in range(4)] + [poll(60 * n, n, code="31705") for n in range(4)]
    months = read_months(small, [written(tmp_path / "a.parquet", polls)])
    assert [(station.code, station.zone) for station in months.stations.known] == [
        ("16107", "Paris 16e"),
        ("31705", "unknown"),
    ]
    found = {row["station"]: row["capacity"] for row in month_rows(months).toArrow().to_pylist()}
    assert found == {0: None, 1: 30}


def test_fifteen_minute_bins_without_flags_are_read_too(small: SparkSession, tmp_path: Path) -> None:
    bins = [
        {"tbin_utc": (NOON + timedelta(minutes=15 * n)).replace(tzinfo=None), "stationcode": "10003", "nb_velos_bin": n,
         "nb_bornes_bin": 9 - n, "capacity_bin": 9, "lat": 48.87, "lon": 2.35}
        for n in range(5)
    ]  # fmt: skip
    found = rows_of(small, written(tmp_path / "bins.parquet", bins))
    assert [(row["bikes_lag1"], row["docks_after_0"], row["age_lag3"]) for row in found] == [(2, 6, 45), (3, 5, 45)]
    assert found[0]["at"] == (NOON + timedelta(minutes=30)).timestamp()


def test_a_file_without_a_column_is_named_with_what_it_lacks(small: SparkSession, tmp_path: Path) -> None:
    file = written(tmp_path / "odd.parquet", [{"ts_utc": NOON, "stationCode": "1"}])
    with pytest.raises(ForecastError, match=r"odd\.parquet has no column for bikes: one of num_bikes_available"):
        read_months(small, [file])
