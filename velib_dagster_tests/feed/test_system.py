"""What a GBFS system is asked for and how often, each poll as a process of its own; and where its documents are."""

from datetime import UTC, datetime, timedelta

import pytest

from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode
from velib_dagster.feed.discovery import discovered
from velib_dagster.feed.documents import Documents
from velib_dagster.settings import Feed
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply, json_reply
from velib_dagster_tests.feed.test_decode import INFORMATION, STATUS

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NAMES = ("station_status", "station_information", "vehicle_types", "system_regions")


class System:
    """A system on loopback, and polls of it, minutes after noon."""

    def __init__(self, feed: LocalFeed, folder) -> None:
        self.feed, self.folder = feed, folder
        urls = [{"name": name, "url": f"{name}.json"} for name in NAMES]
        self.say("gbfs", {"data": {"en": {"feeds": urls}}}, ttl=3600)
        self.stations("1")
        self.know("1")
        self.say("vehicle_types", {"data": {"vehicle_types": []}})
        self.say("system_regions", {"data": {"regions": [{"region_id": "r", "name": "Old town"}]}})

    def say(self, name: str, body: dict, **more) -> None:
        self.feed.replies[f"/{name}.json"] = [json_reply(body | more)]

    def stations(self, *ids: str) -> None:
        self.say("station_status", {"data": {"stations": [STATUS | {"station_id": code} for code in ids]}})

    def know(self, *ids: str, **more) -> None:
        rows = [INFORMATION | {"station_id": code, "region_id": "r"} for code in ids]
        self.say("station_information", {"data": {"stations": rows}}, **more)

    def poll(self, minute: float):
        client = FeedClient(
            Feed("test", self.feed.address + "/gbfs.json"),
            now=lambda: NOON + timedelta(minutes=minute),
            documents=Documents(self.folder),
            budget_seconds=2.5,
        )
        return client.poll()

    def asked(self, name: str) -> int:
        return self.feed.asked.count(f"/{name}.json")


@pytest.fixture
def system(tmp_path):
    with LocalFeed({}) as feed:
        yield System(feed, tmp_path / "feed")


def test_what_is_said_rarely_is_asked_for_once_an_hour_and_every_snapshot_decodes_alone(system) -> None:
    polls = [system.poll(minute) for minute in (0, 1, 2, 59, 60, 61)]
    assert [system.asked(name) for name in ("gbfs", *NAMES)] == [2, 6, 2, 2, 2]
    for poll in polls:
        (report,) = decode(poll.answers).reports
        assert (report.name, report.commune) == ("Victor Hugo", "Old town")
        assert poll.error is None


@pytest.mark.parametrize(("ttl", "times"), [(0, 3), (60, 3), ("120", 2), (300.0, 1), (99_999, 1), (-5, 1), ("x", 1)])
def test_a_document_is_kept_for_its_ttl(system, ttl, times) -> None:
    system.know("1", ttl=ttl)
    for minute in range(3):
        system.poll(minute)
    assert system.asked("station_information") == times


def test_a_clock_that_jumps_asks_again_rather_than_keep_for_ever(system) -> None:
    for minute in (0, 60 * 24, 1, 2):
        system.poll(minute)
    assert system.asked("station_information") == 3


def test_new_stations_are_asked_for_at_once_and_the_same_ones_every_ten_minutes(system) -> None:
    system.poll(0)
    system.stations("1", "2")
    for minute in range(1, 12):
        system.poll(minute)
    assert system.asked("station_information") == 3
    system.know("1", "2")
    assert decode(system.poll(21).answers).reports[1].name == "Victor Hugo"
    system.stations("1", "2", "3")
    system.poll(22)
    assert system.asked("station_information") == 5


def test_an_information_that_fails_when_asked_again_is_the_kept_one(system) -> None:
    system.poll(0)
    system.stations("1", "2")
    system.feed.replies["/station_information.json"] = [Reply(b"gone", status=404)]
    polls = [system.poll(minute) for minute in (1, 2)]
    assert [decode(poll.answers).reports[0].name for poll in polls] == ["Victor Hugo"] * 2
    assert system.asked("station_information") == 2


def test_a_document_beside_that_is_not_there_costs_nothing_and_is_asked_for_every_ten_minutes(system) -> None:
    system.feed.replies["/vehicle_types.json"] = [Reply(b"no", status=404)]
    polls = [system.poll(minute) for minute in range(11)]
    assert all(decode(poll.answers).failure is None for poll in polls)
    assert system.asked("vehicle_types") == 2
    assert "404" in polls[0].error
    assert polls[1].error is None


def test_regions_that_fail_later_stay_as_they_were(system) -> None:
    system.poll(0)
    system.feed.replies["/system_regions.json"] = [Reply(b"no", status=404)]
    assert decode(system.poll(61).answers).reports[0].commune == "Old town"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"feed": 1}', b"\xff" * 50])
def test_a_damaged_file_of_the_home_is_asked_for_anew(system, damage) -> None:
    system.poll(0)
    for path in system.folder.iterdir():
        path.write_bytes(damage)
    assert decode(system.poll(1).answers).reports[0].name == "Victor Hugo"
    assert system.asked("gbfs") == 2


def test_a_folder_that_cannot_be_written_costs_no_poll(system, tmp_path) -> None:
    system.folder = tmp_path / "file" / "below"
    (tmp_path / "file").write_bytes(b"")
    assert decode(system.poll(0).answers).failure is None


def test_limits_of_a_kept_document_are_old(system) -> None:
    reset = str(int((NOON + timedelta(hours=2)).timestamp()))
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    reply = system.feed.replies["/station_information.json"][0]
    reply.headers.update(headers)
    assert [system.poll(minute).quota_reset for minute in (0, 1)] == [None, None]


def test_relative_addresses_belong_to_the_address_that_answered(system) -> None:
    system.feed.replies["/old/gbfs.json"] = [Reply(b"", status=302, headers={"Location": "/gbfs.json"})]
    client = FeedClient(Feed("test", system.feed.address + "/old/gbfs.json"))
    assert decode(client.poll().answers).reports[0].name == "Victor Hugo"


def test_a_system_without_stations_is_told_what_it_names(system) -> None:
    system.say("gbfs", {"data": {"en": {"feeds": [{"name": "free_bike_status", "url": "x"}]}}})
    assert "no station_status (but free_bike_status)" in decode(system.poll(0).answers).reason


def entries(language="x"):
    return [{"name": "station_status", "url": f"https://a.test/{language}"}]


@pytest.mark.parametrize(
    ("data", "url"),
    [
        ({"feeds": entries()}, "x"),
        ({"en": {"feeds": entries("en")}, "fr": {"feeds": entries("fr")}}, "fr"),
        ({"nl": {"feeds": entries("nl")}, "en-GB": {"feeds": entries("en")}}, "en"),
        ({"fr": {"feeds": []}, "nl": {"feeds": entries("nl")}}, "nl"),
        ({"fr": {"feeds": None}, "nl": {"feeds": entries("nl")}}, "nl"),
        ({"fr": None, "x": 1, "nl": {"feeds": entries("nl")}}, "nl"),
        ({"feeds": [None, 1, {}, {"name": "station_status"}, {"url": "y"}, {"name": 1, "url": 2}, *entries()]}, "x"),
        ({"feeds": [{"name": "station_status", "url": " "}, *entries(), *entries("second")]}, "x"),
        ({"feeds": [{"name": " station_status.json ", "url": " https://a.test/x "}]}, "x"),
    ],
)
def test_a_discovery_document_is_read_past_what_is_useless_in_it(data, url) -> None:
    body = json_reply({"data": data}).body
    assert discovered(body, {}) == {"station_status": f"https://a.test/{url}"}
    assert discovered(b"\xef\xbb\xbf" + body, {}) == discovered(body, {})


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": []}', b'{"data": {"stations": []}}', b"<html>", b"\xff\xff"])
def test_what_is_no_discovery_document_is_none(body) -> None:
    assert discovered(body, {}) is None
