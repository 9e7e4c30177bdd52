from datetime import timedelta

import pandas as pd
import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.columns import WINDOW_COLUMNS
from velib_dagster.store.connect import connect
from velib_dagster.store.reads import newest_polls, progress, stations_now
from velib_dagster.streaming.position import caught_up, ends
from velib_dagster_tests.streaming.conftest import Sender, has_tables, rows, run_until_idle, running_job, wait_for
from velib_dagster_tests.streaming.make import START, poll, spells, state
from velib_dagster_tests.streaming.recount import assert_same_windows

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.spark]


def windows_frame(settings: Settings) -> pd.DataFrame:
    frame = pd.DataFrame(
        rows(settings, "SELECT * FROM windows"), columns=[column.name for column in WINDOW_COLUMNS], dtype=object
    )
    for name in ("window_start", "window_end", "newest_since"):
        frame[name] = pd.to_datetime(frame[name]).dt.tz_convert(None)
    return frame


def test_all_that_is_committed_is_written_and_equals_a_recount(feed: Settings, sender: Sender) -> None:
    sent = spells(stations=30, minutes=60)
    polls = [poll(START + timedelta(minutes=10 * n)) for n in range(7)]
    sender.send(spells=sent[:500], states=[state("1", START), state("2", START)], polls=polls[:3])
    sender.send(spells=spells(5, 10, seed=9), commit=False)
    sender.abort()
    sender.send(
        spells=sent[500:],
        states=[state("1", START + timedelta(minutes=5), bikes=4)],
        left=[("2", START + timedelta(hours=24))],
        polls=polls[3:],
    )
    to_reach = ends(feed)
    run_until_idle(feed)
    assert_same_windows(windows_frame(feed), sent)
    with connect(feed) as connection:
        assert newest_polls(connection) == polls[::-1]
        assert [(row.station_code, row.bikes) for row in stations_now(connection)] == [("1", 4)]
        assert rows(feed, "SELECT count(*) FROM station_states") == [(2,)]
        found = progress(connection)
        assert caught_up(found, to_reach)
        assert {row.query for row in found} == {"windows", "states", "polls"}
    assert rows(feed, "SELECT bool_and(complete) FROM station_windows") == [(True,)]


def test_a_second_run_with_nothing_new_changes_nothing(feed: Settings, sender: Sender) -> None:
    sender.send(spells=spells(3, 20), states=[state("1", START)], polls=[poll(START)])
    run_until_idle(feed)
    before = {name: rows(feed, f"SELECT xmin::text, * FROM {name} ORDER BY 2, 3, 4") for name in ("windows", "polls")}
    run_until_idle(feed)
    assert before == {
        name: rows(feed, f"SELECT xmin::text, * FROM {name} ORDER BY 2, 3, 4") for name in ("windows", "polls")
    }


def test_a_running_job_writes_what_comes_and_stops_cleanly(feed: Settings, sender: Sender) -> None:
    with running_job(feed) as process:
        sender.send(spells=spells(3, 10), polls=[poll(START)])
        wait_for(lambda: has_tables(feed) and rows(feed, "SELECT count(*) FROM polls") == [(1,)], 120)
        sender.send(spells=spells(3, 20, seed=2), polls=[poll(START + timedelta(minutes=20))])
        wait_for(lambda: rows(feed, "SELECT count(*) FROM polls") == [(2,)], 120)
        process.terminate()
        assert process.wait(60) == 0
    assert rows(feed, "SELECT query FROM stream_progress ORDER BY 1") == [("polls",), ("states",), ("windows",)]
