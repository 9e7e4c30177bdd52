"""Settings: what the environment, the home's file and the defaults say, in that order."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from velib_dagster.settings import (
    HOME_FILE,
    VELIB_URL,
    Settings,
    SettingsError,
    feed_named,
    usual_home,
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path


def test_the_default_is_the_live_feed_in_its_home(own_home: Path) -> None:
    settings = Settings.load()
    assert settings.feed.url == VELIB_URL
    assert settings.home == own_home / ".local/share/velib-dagster/velib"
    assert (settings.topic("spells"), settings.database) == ("velib.spells", "velib")


def test_a_saved_home_is_read_back(own_home: Path) -> None:
    settings = Settings(home=own_home / "h", feed=feed_named("simulated"), ports={"kafka": 20001})
    settings.save()
    assert Settings.load(own_home / "h") == settings
    assert Settings.load(own_home / "h").kafka == "127.0.0.1:20001"


def test_what_the_environment_says_is_in_force_and_not_kept_but_for_the_days_of_the_archive(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "VELIB_FEED_URL": "https://slow.example.org/feed",
        "VELIB_EVERY_SECONDS": "300",
        "VELIB_MAX_HOLD_SECONDS": "900",
        "VELIB_TIMEZONE": "Europe/Oslo",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    first = Settings.load(own_home / "h")
    assert (first.feed.url, first.feed.every_seconds) == (said["VELIB_FEED_URL"], 300)
    first.save()
    for name in said:
        monkeypatch.delenv(name)
    assert Settings.load(own_home / "h").feed == replace(feed_named("live"), timezone="Europe/Oslo")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://gbfs.example.org/gbfs.json", "gbfs_example_org"),
        ("http://127.0.0.1:8000/gbfs/gbfs.json", "feed_127_0_0_1"),
    ],
)
def test_a_feed_given_by_url_is_named_after_its_host(url: str, name: str) -> None:
    assert feed_named(url).name == name


def test_addresses_in_the_environment_stand_for_parts_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_KAFKA", "broker:9092")
    monkeypatch.setenv("VELIB_POSTGRES", "postgresql://bob@db:5433")
    monkeypatch.setenv("VELIB_POSTGRES_PASSWORD", "s3cret")
    monkeypatch.setenv("VELIB_MLFLOW", "http://mlflow:5000")
    settings = Settings.load()
    assert (settings.kafka, settings.mlflow) == ("broker:9092", "http://mlflow:5000")
    assert settings.postgres("dagster") == "postgresql://bob:s3cret@db:5433/dagster"


def test_a_part_without_port_says_how_to_get_one() -> None:
    with pytest.raises(SettingsError, match="velib up"):
        _ = Settings.load().kafka


@pytest.mark.parametrize("value", ["0", "soon", "-5"])
def test_a_number_out_of_range_names_its_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_EVERY_SECONDS", value)
    with pytest.raises(SettingsError, match="VELIB_EVERY_SECONDS"):
        Settings.load()


@pytest.mark.parametrize("content", ["", "[]", '{"layout": 1}', '{"layout": 1, "feed": {"colour": 1}, "ports": {}}'])
def test_a_damaged_home_file_is_named(content: str, own_home: Path) -> None:
    home = own_home / "h"
    home.mkdir()
    (home / HOME_FILE).write_text(content)
    with pytest.raises(SettingsError, match=r"home\.json"):
        Settings.load(home)


def test_the_only_home_there_is_is_meant_where_none_is_named(own_home: Path) -> None:
    settings = Settings(home=own_home / ".local/share/velib-dagster/simulated", feed=feed_named("simulated"))
    settings.save()
    assert usual_home() == settings.home
    assert Settings.load().feed.simulated


def test_a_secret_is_made_once_and_only_its_owner_reads_it(own_home: Path) -> None:
    settings = Settings(home=own_home / "h", feed=feed_named("simulated"))
    settings.save()
    secret = settings.secret("postgres")
    assert len(secret) >= 24
    assert settings.secret("postgres") == secret
    assert stat.S_IMODE((settings.home / "secrets" / "postgres").stat().st_mode) == 0o600
