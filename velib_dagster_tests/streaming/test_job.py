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


def test_all_that_is_committed_is_written_equals_a_recount_and_a_second_run_changes_nothing(
    feed: Settings, sender: Sender
) -> None:
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

    def versions() -> list[list[tuple[object, ...]]]:
        return [rows(feed, f"SELECT xmin::text, * FROM {name} ORDER BY 2, 3, 4") for name in ("windows", "polls")]

    before = versions()
    run_until_idle(feed)
    assert versions() == before


def test_a_running_job_writes_what_comes_waits_for_postgresql_and_stops_cleanly(feed: Settings, sender: Sender) -> None:
    with running_job(feed) as process:
        sender.send(spells=spells(3, 10), polls=[poll(START)])
        wait_for(lambda: has_tables(feed) and polls_written(feed) == 1, 120)
        a_poll_is_written_only_after_its_spells(feed, sender)
        postgresql_away_for_some_seconds_is_waited_for(feed, sender)
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 0
    assert rows(feed, "SELECT query FROM stream_progress ORDER BY 1") == [("polls",), ("states",), ("windows",)]


def polls_written(feed: Settings) -> object:
    return rows(feed, "SELECT count(*) FROM polls")[0][0]


def a_poll_is_written_only_after_its_spells(feed: Settings, sender: Sender) -> None:
    """A lock holds the windows back; a poll that is committed meanwhile has to wait for them."""
    with connect(feed) as lock:
        lock.execute("LOCK TABLE windows IN SHARE MODE")
        sender.send(spells=spells(3, 20, seed=2)[6:], polls=[poll(START + timedelta(minutes=20))])
        blocked = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'windows'::regclass"
        wait_for(lambda: rows(feed, blocked), 60)
        wait_for(lambda: rows(feed, "SELECT pg_sleep(4)"), 60)
        assert polls_written(feed) == 1
        lock.rollback()
    wait_for(lambda: polls_written(feed) == 2, 60)


def postgresql_away_for_some_seconds_is_waited_for(feed: Settings, sender: Sender) -> None:
    name, log = feed.database, feed.home / "job.log"
    with connect(feed, database="postgres") as admin:
        admin.autocommit = True
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[call-overload]
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        sender.send(spells=spells(3, 30, seed=3)[60:], polls=[poll(START + timedelta(minutes=30))])
        wait_for(lambda: "PostgreSQL is away" in log.read_text(), 90)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[call-overload]
    wait_for(lambda: polls_written(feed) == 3, 90)
    assert "PostgreSQL is back" in log.read_text()
