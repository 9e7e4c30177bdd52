"""get_velib_data and get_station against an Explore server that pages as the real one does."""

import json
from urllib.parse import parse_qs

import pytest

from velib_dagster.feed import get_station, get_velib_data
from velib_dagster.feed.dataset import dataset_url
from velib_dagster.feed.errors import FeedError
from velib_dagster.homes import VELIB_URL
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply, json_reply
from velib_dagster_tests.feed.test_decode import ROW

PATH = "/api/explore/v2.1/catalog/datasets/velib-disponibilite-en-temps-reel"
CODES = sorted(str(1000 + number) for number in range(250))
STATIONS = [ROW | {"stationcode": code, "station_opening_hours": None} for code in CODES]


def records(query):
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    found = STATIONS
    if "where" in asked:
        found = [row for row in STATIONS if asked["where"] == f'stationcode="{row["stationcode"]}"']
    limit = int(asked.get("limit", 10))
    if limit > 100:
        return json_reply({"error_code": "InvalidRESTParameterError", "message": "limit"}, status=400)
    return json_reply({"total_count": len(found), "results": found[:limit]})


def export(query):
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    assert asked["order_by"] == "stationcode"
    return json_reply(STATIONS[: int(asked["limit"])])


@pytest.fixture
def explore():
    with LocalFeed({f"{PATH}/records": records, f"{PATH}/exports/json": export}) as feed:
        yield feed


@pytest.mark.parametrize(("nrows", "calls"), [(1, 1), (100, 1), (101, 2), (249, 2), (250, 2), (251, 2), (10_000, 2)])
def test_the_rows_come_whole_in_order_and_untouched(explore, nrows, calls):
    rows = get_velib_data(nrows, url=explore.address + PATH + "/exports/json?timezone=Europe/Berlin")
    assert rows == STATIONS[:nrows]
    assert len(explore.asked) == calls


@pytest.mark.parametrize("nrows", [0, -1])
def test_less_than_one_row_is_refused_before_anything_is_asked(explore, nrows):
    with pytest.raises(ValueError, match="at least 1"):
        get_velib_data(nrows, url=explore.address + PATH)
    assert explore.asked == []


@pytest.mark.parametrize("given", [150, 240])
def test_an_export_that_lacks_rows_is_an_error(explore, given):
    explore.replies[f"{PATH}/exports/json"] = [json_reply(STATIONS[:given])]
    with pytest.raises(FeedError, match=f"gave {given} rows of"):
        get_velib_data(1000, url=explore.address + PATH)


def test_an_export_that_breaks_off_is_an_error(explore):
    explore.replies[f"{PATH}/exports/json"] = [Reply(json.dumps(STATIONS).encode()[:-3])]
    with pytest.raises(FeedError, match="try again"):
        get_velib_data(1000, url=explore.address + PATH)


def test_a_page_that_lacks_rows_is_an_error(explore):
    explore.replies[f"{PATH}/records"] = [json_reply({"total_count": 250, "results": STATIONS[:7]})]
    with pytest.raises(FeedError, match="gave 7 rows of 10"):
        get_velib_data(10, url=explore.address + PATH)


def test_one_station_is_given_with_the_apis_own_fields(explore):
    assert get_station("1042", url=explore.address + PATH) == STATIONS[42]
    assert get_station(" 1042 ", url=explore.address + PATH) == STATIONS[42]


@pytest.mark.parametrize("code", ["99999", 'x" or "1"="1', "a\\", ""])
def test_an_unknown_code_is_named(explore, code):
    with pytest.raises(LookupError) as error:
        get_station(code, url=explore.address + PATH)
    assert repr(code) in str(error.value)


def test_the_dataset_is_that_of_the_settings_or_the_live_one(monkeypatch, tmp_path):
    monkeypatch.setenv("VELIB_HOME", str(tmp_path))
    assert dataset_url() == VELIB_URL.removesuffix("/exports/json")
    monkeypatch.setenv("VELIB_FEED_URL", f"http://127.0.0.1:9{PATH}/exports/json?x=1")
    assert dataset_url() == f"http://127.0.0.1:9{PATH}"
    monkeypatch.setenv("VELIB_FEED_URL", "http://127.0.0.1:9/gbfs.json")
    assert dataset_url() == VELIB_URL.removesuffix("/exports/json")
    with pytest.raises(ValueError, match="no address of an Explore"):
        dataset_url("http://127.0.0.1:9/gbfs.json")
