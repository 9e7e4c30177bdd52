"""One home writes a database."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreError, connect
from velib_dagster.store.migrate import migrate

pytestmark = pytest.mark.postgres


@pytest.fixture
def homes(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings], tmp_path: Path
) -> tuple[Settings, Settings]:
    """Two homes whose feeds have one name, on one server that is given by address."""
    own = fresh_feed(postgres_settings)
    shared = replace(own, postgres_address=own.postgres().rpartition("/")[0])
    second = replace(shared, home=tmp_path / "second")
    second.save()
    return shared, second


def written_by(settings: Settings) -> list[tuple[object, ...]]:
    with connect(settings) as connection:
        return connection.execute("SELECT id, folder FROM home").fetchall()


def test_a_second_home_is_refused_in_words_and_the_first_goes_on(homes: tuple[Settings, Settings]) -> None:
    first, second = homes
    migrate(first)
    with pytest.raises(StoreError, match="written by another home") as caught:
        migrate(second)
    for words in (str(first.home), second.home_id, "--name", "velib adopt"):
        assert words in str(caught.value)
    migrate(first)
    assert written_by(first) == [(first.home_id, str(first.home))]


def test_a_home_that_was_moved_is_the_same(homes: tuple[Settings, Settings], tmp_path: Path) -> None:
    first, _ = homes
    migrate(first)
    first.home.rename(tmp_path / "moved")
    moved = replace(first, home=tmp_path / "moved")
    migrate(moved)
    assert written_by(moved) == [(moved.home_id, str(tmp_path / "moved"))]


def test_a_database_is_adopted_from_a_home_that_is_gone(homes: tuple[Settings, Settings]) -> None:
    first, second = homes
    migrate(first)
    migrate(second, adopt=True)
    migrate(second)
    assert written_by(second) == [(second.home_id, str(second.home))]
    with pytest.raises(StoreError, match="written by another home"):
        migrate(first)


def test_a_server_in_the_home_is_its_own_also_when_its_file_was_lost(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    (settings.home / "home.json").unlink()
    settings.save()
    migrate(settings)
    assert written_by(settings) == [(settings.home_id, str(settings.home))]
