"""What `velib check-feed` finds out with one call."""

from velib_dagster.feed.check import check_feed
from velib_dagster.feed.reports import PollKind, Refusal
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply, json_reply
from velib_dagster_tests.feed.test_client import discovery
from velib_dagster_tests.feed.test_decode import INFORMATION, OTHER, ROW, STATUS


def checked(tmp_path, url):
    return check_feed(Settings(home=tmp_path, feed=Feed("test", url)))


def test_a_check_says_what_was_recognised_missing_refused_and_left(tmp_path):
    rows = [ROW, OTHER | {"capacity": None, "is_renting": "NON"}, ROW]
    with LocalFeed({"/": [json_reply(rows, headers={"X-RateLimit-Remaining": "4711"})]}) as feed:
        check = checked(tmp_path, feed.address)
    assert check.usable
    assert (check.format, check.stations, check.in_service, check.rows) == ("Explore v2.1 export", 2, 1, 2)
    assert (check.missing, check.refused) == ({"capacity": 1}, {Refusal.DUPLICATE_STATION: 1})
    assert (check.quota_left, check.unknown_keys) == (4711, ["code_insee_commune"])
    for words in (
        "Explore v2.1 export",
        "2 stations (1 in service)",
        "duplicate_station 1",
        "capacity 1",
        "4711",
        "usable",
    ):
        assert words in check.text()
    assert list(tmp_path.iterdir()) == []


def test_a_check_of_gbfs_names_both_documents(tmp_path):
    with LocalFeed({}) as feed:
        feed.replies = {
            "/gbfs.json": [json_reply(discovery(feed.address, 3))],
            "/station_status.json": [json_reply({"data": {"stations": [STATUS]}})],
            "/station_information.json": [json_reply({"data": {"stations": [INFORMATION | {"address": "x"}]}})],
        }
        check = checked(tmp_path, feed.address + "/gbfs.json")
    assert check.format == "GBFS station_status with GBFS station_information"
    assert check.unknown_keys == ["address"]
    assert check.missing == {"commune": 1, "mechanical": 1, "ebike": 1}


def test_a_check_of_a_v1_record_looks_into_its_fields(tmp_path):
    with LocalFeed({"/": [json_reply({"nhits": 1, "records": [{"recordid": "x", "fields": ROW}]})]}) as feed:
        check = checked(tmp_path, feed.address)
    assert (check.format, check.total_count) == ("Explore v1.0 page of records", 1)
    assert check.unknown_keys == ["code_insee_commune"]


def test_a_check_that_fails_says_why(tmp_path):
    with LocalFeed({"/": [Reply(b"<html>", headers={"Content-Type": "text/html"})]}) as feed:
        check = checked(tmp_path, feed.address)
    assert (check.usable, check.failure) == (False, PollKind.NOT_JSON)
    assert "not usable: not_json" in check.text()


def test_a_check_without_an_address_says_so(tmp_path):
    check = checked(tmp_path, "")
    assert (check.usable, check.http_status, check.format) == (False, None, "no answer")
    assert "answer        none" in check.text()
