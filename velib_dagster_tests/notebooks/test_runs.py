"""A whole run of the notebook on classic Spark and one through Spark Connect: their tables, held to `statistics/`."""

from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from velib_dagster.archive.reader import SCHEMA
from velib_dagster.events.records import Spell
from velib_dagster.statistics.days import day_seconds, day_start
from velib_dagster.statistics.schemas import SPELLS
from velib_dagster.statistics.tables import statistics
from velib_dagster_tests.notebooks.conftest import Run
from velib_dagster_tests.notebooks.make import DAYS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.long]  # minutes, and the notebook imports nothing of the package

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module", params=["classic", "connect"])
def run(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


@pytest.fixture(scope="module")
def ours(spark: "SparkSession", archived: list[Spell]) -> Tables:
    """The tables of `statistics/` over the same spells."""
    frame = spark.createDataFrame(_arrow(archived), SPELLS)
    names = ("station_days", "station_hours", "zone_days", "zone_hours", "episodes")
    return {name: table.toPandas() for name, table in statistics(frame, DAYS, names).items()}


def _arrow(spells: list[Spell]) -> pa.Table:
    return pa.Table.from_pylist([msgspec.structs.asdict(spell) for spell in spells], schema=SCHEMA)


def _same(found: pd.DataFrame, wanted: pd.DataFrame, key: list[str]) -> None:
    """The columns that are wanted, row by row, to 1e-9."""
    left, right = (frame.sort_values(key, ignore_index=True)[list(wanted.columns)] for frame in (found, wanted))
    assert len(left) > 0
    pd.testing.assert_frame_equal(left, right, check_dtype=False, rtol=1e-9, atol=0)


def _share(part: pd.Series, whole: pd.Series) -> pd.Series:
    return part.astype(float) / whole.astype(float).replace(0, np.nan)


def _figures(sums: pd.DataFrame) -> pd.DataFrame:
    """The notebook's figures from sums of `statistics/`, as far as these give them."""
    values: dict[str, Any] = {
        "seconds_known": sums["seconds"],
        "seconds_in_service": sums["seconds_in_service"],
        "seconds_full": sums["seconds_full"],
        "bikes_mean": _share(sums["bikes_seconds"], sums["seconds_in_service"]),
        "mechanical_mean": _share(sums["mechanical_seconds"], sums["seconds_split_known"]),
        "ebike_mean": _share(sums["ebike_seconds"], sums["seconds_split_known"]),
        "docks_mean": _share(sums["docks_seconds"], sums["seconds_docks_known"]),
        "occupancy_mean": _share(sums["occupancy_seconds"], sums["seconds_occupancy_known"]),
        "unusable_docks_mean": _share(sums["unusable_docks_seconds"], sums["seconds_balance_known"]),
        "empty_share": _share(sums["seconds_empty"], sums["seconds_in_service"]),
        "full_share": _share(sums["seconds_full"], sums["seconds_docks_known"]),
    }
    extremes = [name for name in sums.columns if name.endswith(("_min", "_max"))]
    assert len(extremes) == 8
    return pd.concat([pd.DataFrame(values), sums[extremes]], axis=1)


def _total(days: pd.DataFrame, key: str) -> pd.DataFrame:
    """Rows of days as one row a key, with the place of the last day."""
    how = {
        name: "min" if name.endswith("_min") else "max" if name.endswith("_max") else "sum"
        for name in days.columns
        if name.endswith(("_min", "_max", "seconds", "rentals", "returns", "changes")) or name.startswith("seconds")
    }
    return days.sort_values("day").groupby(key, as_index=False).agg(how)


def test_stations_are_those_of_the_statistics(run: Run, ours: Tables) -> None:
    total = _total(ours["station_days"], "station_code")
    newest = ours["station_days"].sort_values("day").groupby("station_code").tail(1).set_index("station_code")
    place = newest.loc[total["station_code"], ["name", "zone", "lat", "lon", "capacity"]].reset_index()
    _same(run.tables["stations"], pd.concat([place, _figures(total)], axis=1), ["station_code"])


def test_zones_are_those_of_the_statistics(run: Run, ours: Tables) -> None:
    total = _total(ours["zone_days"], "zone")
    _same(run.tables["zones"], pd.concat([total[["zone"]], _figures(total)], axis=1), ["zone"])


def test_shares_that_only_the_notebook_has_equal_a_recount(run: Run, archived: list[Spell]) -> None:
    recount = duckdb.connect().register("spells", _arrow(archived))
    for table, key in (("stations", "station_code"), ("zones", "zone")):
        wanted = recount.sql(f"""
            WITH s AS (SELECT *, is_installed AND is_renting AND is_returning AS served,
                              is_installed AND is_renting AND is_returning AND mechanical + ebike IS NOT NULL AS split
                       FROM spells)
            SELECT {key}, count(DISTINCT station_code) AS stations,
                sum(seconds * (ebike = 0)::INT) FILTER (split) / sum(seconds) FILTER (split) AS no_ebike_share,
                sum(seconds * (mechanical = 0)::INT) FILTER (split) / sum(seconds) FILTER (split)
                    AS no_mechanical_share,
                coalesce(sum(seconds) FILTER (served AND docks = 0 AND capacity > bikes), 0) AS seconds_full_unusable
            FROM s GROUP BY {key}
        """).df()
        columns = [key, "no_ebike_share", "no_mechanical_share", "seconds_full_unusable"]
        _same(run.tables[table], wanted[columns + (["stations"] if key == "zone" else [])], [key])


def test_days_have_their_known_time_and_their_length(run: Run, ours: Tables) -> None:
    known = ours["station_days"].groupby("day", as_index=False).agg(
        stations=("station_code", "size"), known_seconds=("seconds", "max")
    )  # fmt: skip
    known["day_seconds"] = [day_seconds(day, DAYS.timezone) for day in DAYS]
    assert known["day_seconds"].tolist() == [86_400, 90_000, 86_400]
    _same(run.tables["days"], known, ["day"])


@pytest.mark.parametrize(
    ("table", "seconds", "known"),
    [
        ("empty_stations", "seconds_empty", "seconds_in_service"),
        ("full_stations", "seconds_full", "seconds_docks_known"),
    ],
)
def test_lists_are_those_of_the_statistics_and_the_longest_stands_first(
    run: Run, ours: Tables, table: str, seconds: str, known: str
) -> None:
    hours = ours["station_hours"].groupby(["station_code", "hour"], as_index=False)[[seconds, known]].sum()
    hours["share"] = _share(hours[seconds], hours[known])
    worst = (
        hours.sort_values(["share", seconds, "hour"], ascending=[False, False, True]).groupby("station_code").head(1)
    )
    total = hours.groupby("station_code", as_index=False)[[seconds, known]].sum()
    wanted = (
        total[total[seconds] > 0]
        .rename(columns={seconds: "seconds", known: "seconds_in_service"})
        .merge(worst[["station_code", "hour", "share"]].rename(columns={"hour": "worst_hour", "share": "worst_share"}))
    )
    wanted["share"] = _share(wanted["seconds"], wanted["seconds_in_service"])
    found = run.tables[table]
    _same(found, wanted, ["station_code"])
    assert found["station_code"].tolist() == wanted.sort_values(
        ["seconds", "station_code"], ascending=[False, True]
    )["station_code"].tolist()  # fmt: skip
    assert "40123" not in set(found["station_code"])  # never in service


def test_hours_are_those_of_the_statistics(run: Run, ours: Tables) -> None:
    of = ours["station_hours"].assign(
        empty=lambda rows: rows["station_code"].where(rows["seconds_empty"] > 0),
        full=lambda rows: rows["station_code"].where(rows["seconds_full"] > 0),
    )
    groups = of.groupby(["weekend", "hour"])
    sums = groups.sum(numeric_only=True).reset_index()
    wanted = sums[["weekend", "hour"]].assign(
        days=groups["day"].nunique().to_numpy(),
        seconds_known=sums["seconds"],
        seconds_in_service=sums["seconds_in_service"],
        bikes_mean=_share(sums["bikes_seconds"], sums["seconds_in_service"]),
        docks_mean=_share(sums["docks_seconds"], sums["seconds_docks_known"]),
        empty_share=_share(sums["seconds_empty"], sums["seconds_in_service"]),
        full_share=_share(sums["seconds_full"], sums["seconds_docks_known"]),
        stations_empty=groups["empty"].nunique().to_numpy(),
        stations_full=groups["full"].nunique().to_numpy(),
    )
    _same(run.tables["hours"], wanted, ["weekend", "hour"])


def test_movements_are_those_of_the_statistics(run: Run, ours: Tables) -> None:
    columns = ["rentals", "returns", "changes", "waking_seconds", "waking_changes"]
    stations = _total(ours["station_days"], "station_code")[["station_code", *columns]]
    _same(run.tables["station_moves"], stations, ["station_code"])
    zones = _total(ours["zone_days"], "zone")[["zone", "rentals", "returns"]]
    _same(run.tables["zone_moves"], zones, ["zone"])
    hours = ours["station_hours"].groupby(["weekend", "hour"], as_index=False)[["rentals", "returns"]].sum()
    _same(run.tables["hour_moves"], hours, ["weekend", "hour"])
    assert stations["rentals"].sum() > 0
    split = run.tables["station_moves"]
    assert (split["mechanical_rentals"] + split["ebike_rentals"] <= split["rentals"]).all()


def test_episodes_are_those_of_the_statistics_joined_over_midnight(run: Run, ours: Tables) -> None:
    pieces = ours["episodes"][ours["episodes"]["kind"].isin(["empty", "full"])].sort_values("since")
    wanted: list[dict[str, Any]] = []
    for (kind, code), rows in pieces.groupby(["kind", "station_code"]):
        last: dict[str, Any] | None = None
        for row in rows.to_dict("records"):
            if last is not None and last["until"] == row["since"] and last["open_end"] and row["open_start"]:
                last |= {"until": row["until"], "open_end": row["open_end"]}
                last["seconds"] += row["seconds"]
            else:
                last = {"kind": kind, "station_code": code, **{
                    name: row[name] for name in ("since", "until", "seconds", "open_start", "open_end")
                }}  # fmt: skip
                wanted.append(last)
    assert len(wanted) < len(pieces)  # some do cross midnight
    instants = pd.DataFrame(wanted)
    found = run.tables["episodes"].copy()
    for name in ("since", "until"):
        instants[name] = instants[name].dt.tz_localize("UTC")
        found[name] = pd.to_datetime(found[name], utc=True).astype(instants[name].dtype)
    key = ["kind", "station_code", "since"]
    _same(found, instants.drop(columns="open_end"), key)
    # A day doesn't know the next one: an end at midnight sharp is open there, and seen by the notebook.
    midnights = {pd.Timestamp(day_start(day, DAYS.timezone)) for day in DAYS}
    assert instants["until"].isin(midnights).sum() < 5
    _same(found[~found["until"].isin(midnights)], instants[~instants["until"].isin(midnights)], key)
    lengths = instants.groupby("kind", as_index=False)["seconds"].agg(
        episodes="size", median_seconds="median", p90_seconds=lambda seconds: seconds.quantile(0.9)
    )
    _same(run.tables["recovery"], lengths, ["kind"])


def test_the_errors_of_others_equal_a_recount_and_are_errors(run: Run, archived: list[Spell]) -> None:
    recount = duckdb.connect().register("spells", _arrow(archived))
    wanted = recount.sql("""
        WITH s AS (SELECT *, is_installed AND is_renting AND is_returning AS served,
                          coalesce(bikes = capacity AND capacity > 0, false) AS at_capacity FROM spells)
        SELECT avg(bikes) FILTER (served) AS bikes_plain_average,
            sum(seconds * bikes) FILTER (served) / sum(seconds) FILTER (served) AS bikes_mean,
            sum(seconds) FILTER (served AND docks = 0) / 3600 AS full_hours,
            sum(seconds) FILTER (served AND at_capacity) / 3600 AS at_capacity_hours,
            sum(seconds) FILTER (served AND docks = 0 AND NOT at_capacity) / 3600 AS full_hours_missed,
            sum(seconds) FILTER (served AND at_capacity AND docks IS DISTINCT FROM 0) / 3600
                AS at_capacity_hours_not_full,
            sum(seconds) FILTER (served AND bikes = 0) / 3600 AS empty_hours,
            sum(seconds) FILTER (bikes = 0) / 3600 AS no_bike_hours,
            count(DISTINCT station_code) FILTER (served AND bikes = 0) AS stations_empty,
            count(DISTINCT station_code) FILTER (bikes = 0) AS stations_no_bike
        FROM s
    """).df()
    _same(run.tables["errors"], wanted, ["stations_empty"])
    errors = wanted.iloc[0]
    assert errors.bikes_plain_average != pytest.approx(errors.bikes_mean, rel=1e-6)
    assert errors.full_hours_missed > 0
    assert errors.at_capacity_hours_not_full > 0
    assert errors.no_bike_hours > errors.empty_hours
    assert errors.stations_no_bike > errors.stations_empty


def test_findings_are_numbers_of_the_statistics(run: Run, ours: Tables) -> None:
    zones, stations = _figures(_total(ours["zone_days"], "zone")), _total(ours["station_days"], "station_code")
    figures, findings = _figures(stations), run.findings
    assert len(findings) >= 5
    assert all(np.isfinite(number) for number in findings.values())
    assert findings["zone_most_empty_share"] == pytest.approx(zones["empty_share"].max(), rel=1e-9)
    assert findings["out_of_service_share"] == pytest.approx(
        1 - stations["seconds_in_service"].sum() / stations["seconds"].sum(), rel=1e-9
    )
    empty = stations["seconds_empty"].sort_values(ascending=False)
    few = int(findings["stations_for_half_of_empty_time"])
    assert empty.head(few).sum() * 2 >= empty.sum() > empty.head(few - 1).sum() * 2
    seen = figures["seconds_in_service"] >= 4 * 3600
    both = (figures["empty_share"] >= 0.05) & (figures["full_share"] >= 0.05) & seen
    assert findings["stations_too_small"] == both.sum() > 0
    signs = run.tables["signs"].set_index("sign")["stations"]
    assert signs["too_little_known"] == (~seen).sum() > 0
    assert signs.sum() == len(stations)
    long = run.tables["episodes"].query("kind == 'empty'")["seconds"]
    assert findings["empty_time_in_episodes_over_an_hour"] == pytest.approx(long[long > 3600].sum() / long.sum())


def test_partitions_are_as_asked_and_only_repartitioning_adds_an_exchange(run: Run, archived: list[Spell]) -> None:
    assert sum(run.partitions) == len(archived)
    partitions = run.tables["timings"].set_index("variant")["partitions"]
    assert partitions["1: coalesce(1)"] == partitions["1: repartition(1)"] == 1
    assert partitions["2: repartition(2)"] == 2
    exchanges = {name: plan.count("Exchange") for name, plan in run.plans.items()}
    assert exchanges["1: coalesce(1)"] == 0
    assert exchanges["1: repartition(1)"] == 1
    assert exchanges["2: repartition(2)"] == exchanges["défaut · default"] + 1
    assert (run.tables["timings"]["median_seconds"] > 0).all()
    assert not any("file:" in plan for plan in run.plans.values())


def test_the_proof_fails_where_results_differ_and_reading_where_a_row_or_the_header_is_wrong(run: Run) -> None:
    for what in ("bikes_mean", "rows", "columns", "key"):
        assert run.failed[what] == "AssertionError", what
    assert run.failed["shifted.csv"] != ""
    assert run.failed["broken.csv"] != ""
    assert run.failed["sound.csv"] == ""


def test_both_runs_give_the_same_and_each_on_its_own_api(runs: dict[str, Run]) -> None:
    classic, connect = runs["classic"], runs["connect"]
    assert not classic.session.startswith("pyspark.sql.connect")
    assert connect.session.startswith("pyspark.sql.connect")
    assert classic.tables.keys() == connect.tables.keys()
    for name in classic.tables.keys() - {"timings"}:
        key = classic.tables[name].columns[:3].tolist()
        left, right = (one.tables[name].sort_values(key, ignore_index=True) for one in (classic, connect))
        pd.testing.assert_frame_equal(left, right, check_dtype=False, rtol=1e-9, atol=0)
    assert classic.findings == pytest.approx(connect.findings, rel=1e-9)
