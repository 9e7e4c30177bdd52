"""One value in every form that feeds give it: what it certainly means, or None, never the station."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velib_dagster.feed import values
from velib_dagster.feed.values import RowRefusedError

THEN = datetime(2026, 11, 20, 7, 59, 30, tzinfo=UTC)
EPOCH = int(THEN.timestamp())
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize(
    "value",
    [
        EPOCH,
        float(EPOCH) + 0.4,
        EPOCH * 1000,
        EPOCH * 1_000_000,
        EPOCH * 1_000_000_000,
        str(EPOCH),
        f" {EPOCH}000 ",
        "2026-11-20T07:59:30Z",
        "2026-11-20T08:59:30+01:00",
        "2026-11-20T07:59:30Z[UTC]",
        "2026-11-20T08:59:30+01:00[Europe/Paris]",
        "2026-11-20 07:59:30",
        "2026-11-20 07:59:30 UTC",
        "Fri, 20 Nov 2026 07:59:30 GMT",
    ],
)
def test_a_time_is_read_in_every_unit_and_form(value) -> None:
    assert values.time_of(value, Counter()) == THEN


@pytest.mark.parametrize(
    ("value", "mended"),
    [
        (None, 0), (0, 0), ("", 0), (" ", 0), ("0", 0), ("null", 0),
        ("N/A", 1), (True, 1), (-1, 1), ("-5", 1), (12, 1), (10**30, 1), ("9" * 400, 1), (EPOCH * 10**12, 1),
        ("2999-01-01T00:00:00Z", 1), ("1970-01-01T00:00:00Z", 1), ("20/11/2026 08:00", 1), ([], 1), ({}, 1),
    ],
)  # fmt: skip
def test_a_time_that_says_nothing_is_none_and_told_where_it_is_odd(value, mended) -> None:
    mends: Counter[str] = Counter()
    assert values.time_of(value, mends) is None
    assert mends == ({"last_reported_unreadable": 1} if mended else {})


@pytest.mark.parametrize(
    ("value", "count", "mended"),
    [
        (10, 10, None), (0, 0, None), (None, None, None), ("", None, None),
        ("10", 10, "docks_as_text"), (" 10.0 ", 10, "docks_as_text"), (10.0, 10, "docks_with_decimals"),
        (10.5, None, "docks_unreadable"), ("N/A", None, "docks_unreadable"), (True, None, "docks_unreadable"),
        ("1,000", None, "docks_unreadable"), ("١٠", None, "docks_unreadable"), (float("inf"), None, "docks_unreadable"),
        (-1, None, "docks_negative"), ("-1", None, "docks_negative"), (999_999, None, "docks_out_of_range"),
        (2**70, None, "docks_out_of_range"), ({}, None, "docks_unreadable"),
    ],
)  # fmt: skip
def test_a_count_is_a_whole_number_in_range_or_none(value, count, mended) -> None:
    mends: Counter[str] = Counter()
    assert values.count_of(value, "docks", mends) == count
    assert set(mends) == ({mended} if mended else set())


@pytest.mark.parametrize(
    ("lat", "lon", "place"),
    [
        (48.8, 2.3, (48.8, 2.3)), ("48.8", "2.3", (48.8, 2.3)), ("48,8", "2,3", (48.8, 2.3)), (48, 2, (48, 2)),
        (48.8, 0.0, (48.8, 0.0)), (0, 0, (None, None)), ("0", "0", (None, None)), (91, 2, (None, None)),
        (48.8, None, (None, None)), ("x", 2.3, (None, None)), (float("nan"), 2.3, (None, None)),
        (True, 2.3, (None, None)),
    ],
)  # fmt: skip
def test_a_place_is_both_degrees_or_none(lat, lon, place) -> None:
    assert values.place_of(lat, lon, Counter()) == place


def test_a_station_without_is_installed_is_on_the_street_and_that_is_told() -> None:
    mends: Counter[str] = Counter()
    assert values.flags_of(None, 1, "NON", mends) == (True, True, False)
    assert mends == {"is_installed_missing": 1}


@pytest.mark.parametrize("flags", [(1, None, 1), (1, 1, ""), ("perhaps", 1, 1), (1, 2, 1), (None, None, None)])
def test_a_flag_that_says_nothing_refuses_the_row(flags) -> None:
    with pytest.raises(RowRefusedError):
        values.flags_of(*flags, Counter())


@pytest.mark.parametrize(("value", "meant"), [(1.0, True), ("1.0", True), ("Yes", True), ("f", False), (False, False)])
def test_a_flag_is_read_as_text_number_and_truth_value(value, meant) -> None:
    assert values.flags_of(value, value, value, Counter()) == (meant, meant, meant)


@given(anything, anything, anything)
def test_no_value_raises_but_a_refusal(one, two, three) -> None:
    mends: Counter[str] = Counter()
    values.time_of(one, mends)
    values.count_of(one, "x", mends)
    values.place_of(one, two, mends)
    values.text_of(one, "x", mends)
    values.split_of(3, one, two, mends)
    for call in (
        lambda: values.code_of(one),
        lambda: values.flags_of(one, two, three, mends),
        lambda: values.bikes_of((one, two), mends),
    ):
        try:
            call()
        except RowRefusedError:
            continue


@pytest.mark.parametrize(
    ("mechanical", "ebike", "split"),
    [
        (1, 2, (1, 2)), ("1", 2.0, (1, 2)), (-1, 4, (None, None)), (1, 3, (None, None)), (None, 2, (None, 2)),
        (None, 4, (None, None)), ("x", 2, (None, None)), (None, None, (None, None)),
    ],
)  # fmt: skip
def test_a_split_holds_only_where_it_adds_up(mechanical, ebike, split) -> None:
    assert values.split_of(3, mechanical, ebike, Counter()) == split
