"""Which home serves which feed: a feed is its address, and a home keeps the name that it began with."""

import json
from pathlib import Path

import pytest

from velib_dagster.homes import VELIB_URL
from velib_dagster.settings import (
    HOME_FILE,
    LAYOUT_VERSION,
    Settings,
    SettingsError,
    data_root,
    feed_named,
    with_address,
)

BRUSSELS = "https://feeds.example/contracts/bruxelles/gbfs/gbfs.json"
LYON = "https://feeds.example/contracts/lyon/gbfs/gbfs.json"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path


def made_before(name: str, url: str, folder: Path | None = None) -> Path:
    """A home as programs before this one made it: named after the host alone."""
    home = folder or data_root() / name
    home.mkdir(parents=True)
    feed = {"name": name, "url": url, "simulated": False}
    (home / HOME_FILE).write_text(json.dumps({"layout": LAYOUT_VERSION, "feed": feed, "ports": {}}))
    return home


def test_two_systems_of_one_host_have_all_of_their_own() -> None:
    brussels = Settings.load(feed=BRUSSELS)
    brussels.save()
    lyon = Settings.load(feed=LYON)
    assert lyon.feed.url == LYON
    assert lyon.home != brussels.home
    assert lyon.topic("spells") != brussels.topic("spells")
    assert lyon.database != brussels.database
    assert Settings.load(feed=BRUSSELS).home == brussels.home


def test_a_home_of_the_old_naming_goes_on_under_its_name_and_the_other_city_gets_its_own() -> None:
    home = made_before("feeds_example", BRUSSELS)
    old = Settings.load(feed=BRUSSELS.replace("https", "http") + "/")
    assert (old.home, old.feed.name, old.topic("states")) == (home, "feeds_example", "feeds_example.states")
    assert Settings.load(feed=LYON).home == data_root() / feed_named(LYON).name


def test_the_live_feed_by_its_address_is_the_live_feed() -> None:
    assert Settings.load(feed=VELIB_URL).home == Settings.load(feed="live").home == data_root() / "velib"
    home = made_before("opendata_paris_fr", VELIB_URL)
    assert Settings.load(feed=VELIB_URL).home == Settings.load(feed="live").home == home


def test_another_address_in_a_home_is_refused_in_words(tmp_path: Path) -> None:
    home = made_before("feeds_example", f"{BRUSSELS}?key=s3cret", tmp_path / "h")
    with pytest.raises(SettingsError, match="lyon") as caught:
        Settings.load(home, f"{LYON}?key=s3cret")
    for words in ("bruxelles", "one home serves one feed", "velib feed-url", "VELIB_FEED_URL"):
        assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
    for other in ("live", "simulated", "recordings"):
        with pytest.raises(SettingsError, match="one home serves one feed"):
            Settings.load(home, other)


def test_the_variable_makes_another_address_the_same_feed_for_as_long_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = made_before("feeds_example", BRUSSELS, tmp_path / "h")
    monkeypatch.setenv("VELIB_FEED_URL", LYON)
    for asked in (None, LYON, BRUSSELS):
        settings = Settings.load(home, asked)
        assert (settings.feed.name, settings.feed.url) == ("feeds_example", LYON)
    settings.save()
    monkeypatch.delenv("VELIB_FEED_URL")
    assert Settings.load(home).feed.url == BRUSSELS


def test_the_command_moves_the_feed_for_good() -> None:
    settings = Settings.load(made_before("feeds_example", BRUSSELS))
    moved = with_address(settings, LYON)
    assert Settings.load(feed=LYON) == moved
    assert (moved.home, moved.feed.name, moved.feed.url) == (settings.home, "feeds_example", LYON)
    assert Settings.load(feed=BRUSSELS).home != settings.home


def test_an_address_that_another_home_polls_is_not_taken() -> None:
    brussels = Settings.load(made_before("brussels", BRUSSELS))
    made_before("lyon", LYON)
    with pytest.raises(SettingsError, match="two homes would poll one feed"):
        with_address(brussels, LYON)
    with pytest.raises(SettingsError, match="no address of a feed"):
        with_address(brussels, "lyon")


@pytest.mark.parametrize("feed", ["simulated", "recordings"])
def test_a_feed_without_an_address_of_other_people_s_moves_nowhere(feed: str) -> None:
    settings = Settings.load(feed=feed)
    with pytest.raises(SettingsError, match="no platform"):
        with_address(settings, LYON)
    settings.save()
    with pytest.raises(SettingsError, match="at no address"):
        with_address(settings, LYON)


def test_a_new_key_is_used_and_kept_and_is_no_other_feed() -> None:
    Settings.load(feed=f"{LYON}?key=old").save()
    settings = Settings.load(feed=f"{LYON}?key=new")
    assert settings.feed.url == f"{LYON}?key=new"
    settings.save()
    assert Settings.load(settings.home).feed.url == f"{LYON}?key=new"
    assert Settings.load(feed=LYON).feed.url == f"{LYON}?key=new"


def test_a_chosen_name_is_the_feed_s_and_its_home_s(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(feed=LYON, name="lyon")
    assert (settings.home, settings.feed.name, settings.topic("polls")) == (data_root() / "lyon", "lyon", "lyon.polls")
    settings.save()
    assert Settings.load(feed=LYON).feed.name == "lyon"
    monkeypatch.setenv("VELIB_FEED_NAME", "lyon")
    assert Settings.load().home == settings.home
    assert Settings.load(feed=LYON).home == settings.home


def test_a_home_keeps_the_name_that_it_began_with(tmp_path: Path) -> None:
    home = made_before("feeds_example", LYON)
    with pytest.raises(SettingsError, match="keeps it"):
        Settings.load(home, name="lyon")
    with pytest.raises(SettingsError, match="under the name feeds_example"):
        Settings.load(feed=LYON, name="lyon")
    assert Settings.load(tmp_path / "second", LYON, "lyon").feed.name == "lyon"


@pytest.mark.parametrize("name", ["Lyon", "velib", "simulated", "postgres", "a" * 56, "x_dagster"])
def test_a_name_that_can_t_be_is_refused_in_words(name: str) -> None:
    with pytest.raises(SettingsError, match="VELIB_FEED_NAME"):
        Settings.load(feed=LYON, name=name)


def test_a_damaged_home_beside_does_not_stand_in_the_way() -> None:
    made_before("damaged", LYON)
    (data_root() / "damaged" / HOME_FILE).write_text("{")
    assert Settings.load(feed=LYON).feed.name == feed_named(LYON).name


def test_a_feed_that_has_a_home_is_meant_by_its_name(tmp_path: Path) -> None:
    home = made_before("feeds_example", BRUSSELS)
    assert Settings.load(feed="feeds_example").home == home
    with pytest.raises(SettingsError, match="none of live"):
        Settings.load(feed="feeds_elsewhere")
    with pytest.raises(SettingsError, match="keeps it"):
        Settings.load(made_before("lyon", LYON, tmp_path / "h"), "feeds_example")


def test_the_shared_case_of_two_cities_on_one_host() -> None:
    path = Path(__file__).resolve().parents[2] / "shared" / "feed-cases" / "27-two-cities-on-one-host.json"
    if not path.exists():
        pytest.skip(f"no shared cases: {path} does not exist")
    case = json.loads(path.read_bytes())
    first, second = (Settings.load(feed=url) for url in case["input"]["addresses"])
    first.save()
    assert second.feed.url in {right.get("feed") for right in case["right"]["one_of"]}
    assert Settings.load(feed=second.feed.url).home == second.home != first.home
