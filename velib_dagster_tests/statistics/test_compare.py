from datetime import UTC, datetime

import pyarrow as pa

from velib_dagster.statistics.compare import differences

KEY = ("station_code",)


def table(codes: list[str], **columns: list[object]) -> pa.Table:
    return pa.table({"station_code": codes, **columns})


def test_the_same_rows_in_another_order_are_equal() -> None:
    assert differences(table(["1", "2"], bikes=[3, 4]), table(["2", "1"], bikes=[4, 3]), KEY) == []


def test_a_row_that_one_side_lacks_is_named() -> None:
    both = table(["1", "2"], bikes=[3, 4])
    assert differences(both, both.slice(0, 1), KEY) == ["second has no row for station_code 2"]
    assert differences(both.slice(0, 1), both, KEY) == ["first has no row for station_code 2"]


def test_a_value_that_differs_is_named_with_both_sides() -> None:
    found = differences(table(["1"], bikes=[3]), table(["1"], bikes=[4]), KEY, names=("Spark", "DuckDB"))
    assert found == ["station_code 1: bikes is 3 in Spark, 4 in DuckDB"]


def test_a_row_that_comes_twice_is_no_equal_result() -> None:
    twice = table(["1", "1"], bikes=[3, 3])
    assert differences(twice, twice, KEY) == [
        "first has more than one row for station_code 1",
        "second has more than one row for station_code 1",
    ]


def test_null_is_not_0_and_equals_null() -> None:
    null = table(["1"], bikes=pa.array([None], pa.int64()))
    assert differences(null, null, KEY) == []
    assert len(differences(null, table(["1"], bikes=[0]), KEY)) == 1
    assert len(differences(table(["1"], bikes=[0]), null, KEY)) == 1


def test_numbers_are_equal_within_1e_9_of_their_size() -> None:
    def differ(left: float, right: float) -> bool:
        return bool(differences(table(["1"], x=[left]), table(["1"], x=[right]), KEY))

    assert not differ(1e6, 1e6 + 1e-4)
    assert differ(1e6, 1e6 + 1e-2)
    assert not differ(0.0, 1e-10)
    assert differ(0.0, 1e-8)
    assert differ(float("nan"), 0.0)


def test_large_whole_numbers_beside_nulls_are_not_rounded() -> None:
    code = 2**53
    left, right = table(["1", "2"], x=[code, None]), table(["1", "2"], x=[code, None])
    assert differences(left, right, KEY) == []


def test_instants_are_compared_as_instants() -> None:
    at = datetime(2024, 11, 7, 8, tzinfo=UTC)
    left = table(["1"], at=pa.array([at], pa.timestamp("s", "UTC")))
    right = table(["1"], at=pa.array([at], pa.timestamp("us", "Europe/Paris")))
    assert differences(left, right, KEY) == []
    assert differences(left, right, ("station_code", "at")) == []


def test_truth_values_and_texts_are_compared() -> None:
    left = table(["1"], open=[True], zone=["Paris 1er"])
    assert differences(left, left, KEY) == []
    assert len(differences(left, table(["1"], open=[False], zone=["Paris"]), KEY)) == 2


def test_a_column_that_is_missing_is_named() -> None:
    assert differences(table(["1"], x=[1]), table(["1"], y=[1]), KEY) == ["second has no column x"]


def test_many_differences_are_counted_and_not_all_told() -> None:
    codes = [str(number) for number in range(30)]
    found = differences(table(codes, x=[0] * 30), table(codes, x=[1] * 30), KEY, at_most=3)
    assert len(found) == 4
    assert found[-1] == "and 27 more"


def test_empty_results_are_equal() -> None:
    nothing = table(["1"], x=[1]).slice(0, 0)
    assert differences(nothing, nothing, KEY) == []
