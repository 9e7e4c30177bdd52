"""A new home of a GBFS system cuts its days where the system is."""

from dataclasses import replace

import pytest

from velib_dagster.runtime.new_home import in_the_systems_zone
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.feed.local_feed import LocalFeed, json_reply


@pytest.fixture
def settings(tmp_path):
    with LocalFeed({}) as feed:
        names = ("station_status", "system_information")
        feeds = [{"name": name, "url": f"{name}.json"} for name in names]
        feed.replies = {
            "/gbfs.json": [json_reply({"data": {"en": {"feeds": feeds}}})],
            "/station_status.json": [json_reply({"data": {"stations": []}})],
            "/system_information.json": [json_reply({"data": {"timezone": "Asia/Tokyo"}})],
        }
        yield Settings(home=tmp_path, feed=Feed("test", feed.address + "/gbfs.json")), feed


def test_a_new_home_takes_the_systems_zone_and_keeps_it(settings) -> None:
    given, _ = settings
    found = in_the_systems_zone(given)
    found.save()
    assert found.feed.timezone == Settings.load(found.home).feed.timezone == "Asia/Tokyo"


def test_a_zone_that_was_chosen_stays(settings, monkeypatch) -> None:
    given, feed = settings
    monkeypatch.setenv("VELIB_TIMEZONE", "Europe/Paris")
    assert in_the_systems_zone(given) == given
    assert feed.asked == []


@pytest.mark.parametrize("zone", [None, "", "nowhere", "../../etc/passwd", 5, "a\x00b"])
def test_a_zone_that_is_none_is_not_taken(settings, zone) -> None:
    given, feed = settings
    feed.replies["/system_information.json"] = [json_reply({"data": {"timezone": zone}})]
    assert in_the_systems_zone(given) == given


def test_a_simulated_home_asks_nobody(settings) -> None:
    given, feed = settings
    assert in_the_systems_zone(replace(given, feed=replace(given.feed, simulated=True))).feed.timezone == "Europe/Paris"
    assert feed.asked == []
