"""The cases of `../shared/feed-cases` about time: clocks that jump, days of many zones, recordings of another zone."""

import json
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from velib_dagster.events.advance import advance
from velib_dagster.events.known import Memory, Rules
from velib_dagster.feed.answers import ANSWER
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.recordings import list_recordings
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Feed
from velib_dagster.statistics.days import Days
from velib_dagster_tests.feed import shared_cases
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply
from velib_dagster_tests.feed.shared_cases import Case, poll_of

if not shared_cases.FOLDER.is_dir():
    pytest.skip(f"no cases: {shared_cases.FOLDER} does not exist", allow_module_level=True)

CASES = shared_cases.cases()


def of(number: str) -> list[Case]:
    return [case for case in CASES if case.number == number]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("case", of("21"), ids=str)
def test_a_clock_that_jumped_is_right_again_within_minutes(case: Case, tmp_path) -> None:
    store, memory, records, states = SnapshotStore(tmp_path), Memory(), [], {}
    start = instant("2026-11-20T08:00:00Z")
    status = case.input["station_status"]
    with LocalFeed({}) as server:
        for minute, poll in enumerate(case.input["polls"]):
            time = start + timedelta(minutes=minute)
            for row in status["data"]["stations"]:
                row |= {"num_bikes_available": poll["bikes"], "num_docks_available": 10 - poll["bikes"]}
                row["last_reported"] = int(time.timestamp()) - 30
            status["last_updated"] = int(time.timestamp())
            said = instant(f"{poll['local_clock']}")
            date_header = time if poll["date"] else None
            roles = ("station_status", "station_information")
            feeds = [{"name": role, "url": f"{server.address}/{role}.json"} for role in roles]
            bodies = {"/gbfs.json": {"data": {"en": {"feeds": feeds}}}}
            bodies |= {f"/{role}.json": case.input[role] for role in roles}
            server.replies = {
                path: [Reply(json.dumps(body).encode(), date=date_header)] for path, body in bodies.items()
            }
            client = FeedClient(Feed("case", f"{server.address}/gbfs.json"), now=lambda said=said: said)
            kept = store.add(client.poll(before=store.history()))
            step = advance(memory, poll_of(kept), Rules())
            memory = step.memory
            records.append(step.record)
            states |= {state.station_code: state for state in step.states}
    assert str(records[-1].kind) == case.right["last_kind"]
    assert {code: {"bikes": states[code].bikes} for code in case.right["stations"]} == case.right["stations"]
    for number, text in case.right.get("poll_times", {}).items():
        assert records[int(number) - 1].time == instant(text)
    assert any("clock" in record.reason for record in records)


@pytest.mark.parametrize("given", of("23")[0].right["days"], ids=lambda given: f"{given['zone']} {given['day']}")
def test_a_day_begins_and_ends_where_the_zone_says(given: dict) -> None:
    day = date.fromisoformat(given["day"])
    days = Days(day, day, given["zone"])
    assert (days.start, days.end) == (instant(given["start"]), instant(given["end"]))
    assert (days.end - days.start).total_seconds() == given["seconds"]


def test_recordings_without_a_zone_in_their_names_take_the_feeds(tmp_path) -> None:
    (case,) = of("24")
    for name, text in case.input["files"].items():
        (tmp_path / name).write_text(text)
    found = list_recordings(tmp_path, ZoneInfo(case.input["feed_timezone"]))
    assert {one.parts[ANSWER].name: one.time for one in found} == {
        name: instant(text) for name, text in case.right["recordings"].items()
    }
