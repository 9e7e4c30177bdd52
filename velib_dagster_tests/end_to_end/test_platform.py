"""A whole platform as a person meets it: started once by `velib up`, watched in the browser, broken, stopped.

The tests follow each other on one platform, the last one stops it. It takes some minutes: the feed has one a minute.
"""

import csv
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from velib_dagster.events.memory import committed_messages, committed_reader, newest_poll
from velib_dagster.events.records import PollRecord, decode_poll
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime.lock import running_platform_in
from velib_dagster.runtime.services import services
from velib_dagster.runtime.web import answers_ok
from velib_dagster.settings import LOOPBACK, Settings
from velib_dagster.store.connect import connect
from velib_dagster_tests.end_to_end.conftest import START_SECONDS, RunningPlatform, processes_of, velib

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.platform

COMPUTED = ("raw_snapshots", "station_events", "csv_archive", "storage")
LIVE = ("live_station_windows", "live_zone_windows", "live_cell_windows")
SCREENSHOTS = os.environ.get("VELIB_SCREENSHOTS")
"""Where the pictures of the documentation go; read on import, since fixtures hide a platform's variables."""
GROUPS = ("feed", "events", "archive", "live", "statistics", "models", "platform")


def test_without_the_live_feed_the_simulated_one_runs_and_every_address_answers(platform: RunningPlatform) -> None:
    said = platform.said.read_text()
    assert re.search(r"The live feed can't be reached \(no connection.*\): http://127.0.0.1:9/feed", said)
    assert "Running the SIMULATED feed instead" in said
    platform.wait("the first days", lambda: "the new home begins with 2 days" in platform.said.read_text())
    assert running_platform_in(platform.home) == platform.process.pid
    assert answers_ok(platform.dagster, within=20)
    assert answers_ok(platform.mlflow, within=20)


def test_a_second_platform_in_the_same_home_is_refused(platform: RunningPlatform) -> None:
    second = velib(platform.home, "up")
    assert second.returncode == 1
    assert f"(process {platform.process.pid} since " in second.stderr


@pytest.mark.browser
def test_mlflow_opens_where_models_are_compared(platform: RunningPlatform, browser: "BrowserContext") -> None:
    page = browser.new_page()
    page.goto(platform.mlflow)
    page.get_by_text("simulated.station-full").first.wait_for()
    page.get_by_text("15 min: which model is best").first.wait_for()
    page.get_by_text("test_pr_auc").first.wait_for()
    page.close()


def test_a_new_home_begins_with_two_days_complete_in_every_store(platform: RunningPlatform) -> None:
    platform.wait("everything up", lambda: "everything is up" in platform.said.read_text(), START_SECONDS)
    with connect(platform.settings) as connection:
        for grain in ("station", "zone", "cell"):
            row = connection.execute(
                f"SELECT count(DISTINCT window_start) FROM {grain}_windows WHERE complete"
            ).fetchone()
            assert row is not None
            assert int(str(row[0])) >= 2 * 24 * 6 - 2, f"{grain}: {row[0]} complete windows of two days"
    files = sorted((platform.home / "archive").glob("*.csv"))
    assert len(files) >= 2
    for path in files:
        with path.open(newline="") as file:
            assert next(csv.DictReader(file))["station_code"]


def test_the_minute_schedule_and_the_sensor_launch_green_runs(platform: RunningPlatform) -> None:
    polls = platform.wait("two polls", lambda: _two(platform.green("poll_feed", "every_minute")), 240)
    newest = max(run["endTime"] for run in polls)
    platform.wait("their events", lambda: _two(platform.green("producer", "new_snapshots")))
    platform.wait(
        "the events of the newest poll",
        lambda: any(run["endTime"] > newest for run in platform.green("producer", "new_snapshots")),
    )
    assert not [run for run in platform.runs() if run["status"] == "FAILURE"]


def _two(runs: list[dict]) -> list[dict]:
    return runs if len(runs) >= 2 else []


def test_the_commands_tell_of_the_running_platform(platform: RunningPlatform, tmp_path: Path) -> None:
    status = velib(platform.home, "status", "--json")
    assert status.returncode == 0, status.stdout
    assert json.loads(status.stdout)["healthy"]
    live = velib(platform.home, "live", "--once")
    assert live.returncode == 0, live.stderr
    assert "SIMULATED" in live.stdout
    assert live.stdout.count("Paris ") >= 10
    exported = velib(platform.home, "export", str(tmp_path / "spells.csv"))
    assert exported.returncode == 0, exported.stderr
    with (tmp_path / "spells.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) > 1000


@pytest.mark.browser
@pytest.mark.parametrize("asset", COMPUTED)
def test_materialize_pressed_in_the_browser_makes_a_green_run(
    asset: str, platform: RunningPlatform, browser: "BrowserContext"
) -> None:
    page = browser.new_page()
    page.goto(f"{platform.dagster}/assets/{asset}")
    pressed = _press_materialize(page)
    page.close()
    run = platform.wait(f"the run of {asset}", lambda: _ended_run(platform, asset, pressed), 90)
    assert run["status"] == "SUCCESS"


def _press_materialize(page: "Page") -> float:
    button = page.locator("button", has_text=re.compile("^Materialize$"))
    button.wait_for()
    pressed = time.time()
    button.click()
    page.get_by_text("Launched run").first.wait_for()
    return pressed


def _ended_run(platform: RunningPlatform, asset: str, since: float) -> dict | None:
    """The run of one asset that a person launched, once it has ended."""
    for run in platform.runs(since):
        by_itself = {"dagster/schedule_name", "dagster/sensor_name"} & set(run["tags"])
        selected = [key["path"] for key in run["assetSelection"] or []]
        if not by_itself and selected == [[asset]] and run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}:
            return run
    return None


@pytest.mark.browser
def test_the_browser_shows_the_lineage(platform: RunningPlatform, browser: "BrowserContext", tmp_path: Path) -> None:
    nodes = platform.ask("{ assetNodes { assetKey { path } dependencyKeys { path } } }")["assetNodes"]
    edges = {(above["path"][-1], node["assetKey"]["path"][-1]) for node in nodes for above in node["dependencyKeys"]}
    assert {("raw_snapshots", "station_events"), ("station_events", "csv_archive")} <= edges
    assert {("station_events", live) for live in LIVE} <= edges

    page = browser.new_page()
    groups = "%2C".join(f"global%40global%3A{group}" for group in GROUPS)
    page.goto(f"{platform.dagster}/asset-groups?expanded={groups}")
    for asset in (*COMPUTED, *LIVE):
        page.locator("svg foreignObject").get_by_text(asset, exact=True).first.wait_for()
    page.wait_for_timeout(3000)  # the graph moves into place, and each node asks for its state
    while SCREENSHOTS and re.search(r"(Loading|Materializing)(…|[.]{3})", page.inner_text("body")):
        page.wait_for_timeout(500)  # for the picture's sake: a minute's run may be going on at any time
    boxes = page.locator("svg foreignObject").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().toJSON())"
    )
    left, top = (min(box[side] for box in boxes) - 24 for side in ("left", "top"))
    right, bottom = (max(box[side] for box in boxes) + 24 for side in ("right", "bottom"))
    picture = Path(SCREENSHOTS or tmp_path) / "lineage.png"
    page.screenshot(path=picture, clip={"x": left, "y": top, "width": right - left, "height": bottom - top})
    page.close()
    assert 10_000 < picture.stat().st_size < 700_000


@contextmanager
def broker_away(platform: RunningPlatform) -> Iterator[None]:
    """The broker killed, and kept from coming back by somebody who listens on a port that it needs."""
    address = (LOOPBACK, platform.settings.port("kafka_controller"))
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        broker = psutil.Process(platform.pid("kafka"))
        broker.kill()
        broker.wait(10)
        thief.bind(address)
        thief.listen()
        yield


def test_with_the_broker_away_snapshots_wait_with_words_and_are_sent_in_order(platform: RunningPlatform) -> None:
    platform.wait("nothing to send", lambda: "nothing waits" in platform.skip_reason("new_snapshots"))
    store = SnapshotStore(platform.settings.raw)
    # not the newest snapshot: one of the last second may wait already
    before = _published(platform.settings)[-1]
    with broker_away(platform):
        since = _clock(platform.settings)
        for _ in range(2):
            assert velib(platform.home, "poll").returncode == 0
        pattern = r"Kafka unreachable since (\d\d:\d\d), (\d+) snapshots wait"
        told = platform.wait(
            "the sensor's words", lambda: re.search(pattern, platform.skip_reason("new_snapshots")), 90
        )
        assert since <= told[1] <= _clock(platform.settings)
        assert 2 <= int(told[2]) <= len(store.names_after(before))
        status = velib(platform.home, "status", "--json")
        assert status.returncode == 1
        assert any("Kafka" in problem for problem in json.loads(status.stdout)["problems"])
    platform.wait("Kafka again", lambda: "Kafka is up again" in platform.said.read_text(), 120)
    waited = store.names_after(before)
    platform.wait("what waited", lambda: set(waited) <= set(_published(platform.settings)), 120)
    names = list(dict.fromkeys(_published(platform.settings)))
    assert all(first < second for first, second in pairwise(names)), "sent out of order"


def _clock(settings: Settings) -> str:
    return datetime.now(settings.feed.zone_info).strftime("%H:%M")


def _published(settings: Settings) -> list[str]:
    """Names of the snapshots in the topic `polls`, in the order of their offsets."""
    with committed_reader(settings) as consumer:
        messages = list(committed_messages(consumer, settings, settings.topic("polls"), 0))
    return [decode_poll(message.value()).snapshot for message in messages]


def test_a_killed_postgresql_is_started_again_and_the_minutes_go_on(platform: RunningPlatform) -> None:
    os.kill(platform.pid("postgres"), signal.SIGKILL)
    killed = time.time()
    platform.wait("PostgreSQL again", lambda: "PostgreSQL is up again" in platform.said.read_text(), 60)
    platform.wait("Dagster's pages", lambda: answers_ok(f"{platform.dagster}/server_info"), 60)
    platform.wait("a poll after it", lambda: platform.green("poll_feed", "every_minute", killed), 180)
    platform.wait("its events", lambda: platform.green("producer", "new_snapshots", killed), 90)


def test_ctrl_c_stops_everything_within_20_seconds_and_cuts_the_running_spells(platform: RunningPlatform) -> None:
    begin = time.monotonic()
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(60) == 0
    seconds = time.monotonic() - begin
    said = platform.said.read_text()
    assert seconds <= 20, f"stopping took {seconds:.0f} s:\n{said}"
    assert processes_of(platform.home) == []
    assert not list((platform.home / "run").glob("*.json"))
    assert re.search(r"\d+ running spells cut at the last poll", said), said
    assert "all parts have stopped" in said
    last = _last_poll(platform.home)
    assert last.last_usable is not None
    assert last.last_cut == last.last_usable.time


def _last_poll(home: Path) -> PollRecord:
    with services(Settings.load(home), ("kafka",)) as settings:
        found = newest_poll(settings)
    assert found is not None
    return found
