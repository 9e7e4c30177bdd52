"""A migrated database of its own for each test that asks for one."""

from collections.abc import Callable, Iterator

import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster.store.upsert import Connection


@pytest.fixture
def database(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    return settings


@pytest.fixture
def connection(database: Settings) -> Iterator[Connection]:
    with connect(database) as opened:
        yield opened
