"""Kafka and PostgreSQL start, answer, survive a kill and stop; both are the real ones."""

import psycopg
import pytest
from confluent_kafka import Producer

from velib_dagster.runtime.postgres import ensure_database
from velib_dagster.settings import Settings


@pytest.mark.kafka
def test_the_broker_answers(kafka_settings: Settings) -> None:
    from velib_dagster.runtime.kafka import is_ready

    assert is_ready(kafka_settings)


@pytest.mark.postgres
def test_postgres_lets_its_owner_in_and_nobody_without_the_password(postgres_settings: Settings) -> None:
    ensure_database(postgres_settings.postgres("postgres"), "some_feed")
    assert not ensure_database(postgres_settings.postgres("postgres"), "some_feed")
    with psycopg.connect(postgres_settings.postgres("some_feed")) as connection:
        assert connection.execute("show server_encoding").fetchone() == ("UTF8",)
    wrong = postgres_settings.postgres("some_feed").replace(postgres_settings.secret("postgres"), "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
