import logging
import threading
from dataclasses import replace

import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster.streaming.errors import StoppedError
from velib_dagster.streaming.sink import Writer

pytestmark = pytest.mark.postgres


def test_a_write_is_repeated_until_postgresql_answers_and_said_once(
    feed: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(feed)
    name = feed.database
    with connect(feed, database="postgres") as admin:
        admin.autocommit = True
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[call-overload]
        threading.Timer(
            2.5,
            admin.execute,
            [f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"],
        ).start()
        with caplog.at_level(logging.WARNING):
            found = Writer(feed, threading.Event(), "windows").write(
                lambda connection: connection.execute("SELECT 1").fetchone()
            )
    assert found == (1,)
    said = [record.message for record in caplog.records]
    assert [("is away" in words, "is back" in words) for words in said] == [(True, False), (False, True)]


def test_a_connection_that_the_server_ended_is_opened_again(feed: Settings) -> None:
    migrate(feed)
    writer = Writer(feed, threading.Event(), "windows")
    (pid,) = writer.write(lambda connection: connection.execute("SELECT pg_backend_pid()").fetchone()) or (0,)
    with connect(feed) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
    (again,) = writer.write(lambda connection: connection.execute("SELECT pg_backend_pid()").fetchone()) or (0,)
    assert again != pid


def test_a_job_that_is_to_stop_does_not_wait_for_postgresql(feed: Settings) -> None:
    away = replace(feed, postgres_address="postgresql://platform:x@127.0.0.1:1")
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    with pytest.raises(StoppedError):
        Writer(away, stop, "windows").write(lambda connection: connection.execute("SELECT 1"))
