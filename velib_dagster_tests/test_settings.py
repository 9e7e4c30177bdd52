"""Settings: what the environment, the home's file and the defaults say, in that order."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from velib_dagster.homes import VELIB_URL, usual_home
from velib_dagster.settings import HOME_FILE, Settings, SettingsError, feed_named


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


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("VELIB_EVERY_SECONDS", value) for value in ("0", "soon", "-5", "60²", "9" * 30)),
        *(("VELIB_MAX_HOLD_SECONDS", value) for value in ("1", "660.5", "9" * 30)),
        *(("VELIB_TIMEZONE", value) for value in ("Paris", "Europe", "europe/paris", "../etc", "UTC+1", "é")),
        *(("VELIB_FEED_URL", value) for value in ("ftp://x.example/f", "x.example", "http://x:99999/", "http://[::1")),
        *(("VELIB_KAFKA", value) for value in ("broker", "broker:", "http://broker:9092", "a:1;b:2")),
        *(("VELIB_POSTGRES", value) for value in ("db:5432", "postgresql://db:port", "mysql://db")),
        *(("VELIB_MLFLOW", value) for value in ("mlflow:5000", "http://")),
        *(("VELIB_MLFLOW_PUBLIC", value) for value in ("localhost:5000",)),
        *(("VELIB_ZONES", value) for value in ("~no-such-user-here/zones.geojson",)),
    ],
)
def test_a_value_that_can_t_be_names_its_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        Settings.load()


def test_a_time_zone_near_the_one_meant_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_TIMEZONE", "europe/pariss")
    with pytest.raises(SettingsError, match="as Europe/Paris"):
        Settings.load()
    for usual in ("Europe/Oslo", "UTC", "America/Argentina/Buenos_Aires", ""):
        monkeypatch.setenv("VELIB_TIMEZONE", usual)
        assert Settings.load().feed.timezone == usual or not usual


def test_a_bad_address_of_postgresql_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_POSTGRES", "postgresql://bob:s3cret@db:x")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "s3cret" not in str(caught.value)


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


def test_a_home_has_an_id_that_stays_also_one_that_began_without(own_home: Path) -> None:
    settings = Settings(home=own_home / "h", feed=feed_named("simulated"))
    assert settings.home_id == ""
    settings.save()
    first = settings.home_id
    assert len(first) == 32
    settings.save()
    assert Settings.load(own_home / "h").home_id == first
    (own_home / "h").rename(own_home / "moved")
    assert Settings.load(own_home / "moved").home_id == first
    path = own_home / "moved" / HOME_FILE
    path.write_text(path.read_text().replace(f'"id": "{first}"', '"id": ""'))
    Settings.load(own_home / "moved").save()
    assert Settings.load(own_home / "moved").home_id not in {"", first}
