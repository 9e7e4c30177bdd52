"""Starts Kafka and PostgreSQL in the home given and says so; run by a test as another user."""

import os
import sys
from pathlib import Path

import psycopg

from velib_dagster.runtime.kafka import broker, is_ready
from velib_dagster.runtime.new_home import set_up
from velib_dagster.runtime.postgres import server
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings

settings = set_up(Settings(home=Path(sys.argv[1]), feed=Feed("some_feed", "")))
with running(broker(settings), settings.home), running(server(settings), settings.home) as postgres:
    assert is_ready(settings)
    with psycopg.connect(settings.postgres("postgres")) as connection:
        connection.execute("select 1")
    assert postgres.part.user is None
    print(f"both run as {os.geteuid()}")
