"""Feeds, and the homes that serve them: what a home's file says, and which home is meant.

A feed is its address; a home keeps the name that its feed began with. Reads homes' files and writes nothing. Called by
`settings.py`, from which everybody takes these names.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from velib_dagster.errors import SettingsError
from velib_dagster.feed_address import address_trouble, has_credentials, identity, name_of, name_trouble
from velib_dagster.masking import masked

LAYOUT_VERSION: Final = 1
"""Version of the home folder's layout; a home of another version is refused."""

VELIB_URL: Final = (
    "https://opendata.paris.fr/api/explore/v2.1/catalog/datasets/velib-disponibilite-en-temps-reel/exports/json"
)


@dataclass(frozen=True)
class Feed:
    """One source of answers: a name that topics and the database carry, and how it is polled."""

    name: str
    url: str
    simulated: bool = False
    every_seconds: int = 60
    max_hold_seconds: int = 660
    timezone: str = "Europe/Paris"

    @property
    def is_polled(self) -> bool:
        """Whether the feed answers at an address; a folder of recordings doesn't."""
        return bool(self.url) or self.simulated

    @property
    def zone_info(self) -> ZoneInfo:
        """The feed's own time zone: days of the archive and of statistics are days there."""
        return ZoneInfo(self.timezone)


LIVE: Final = "velib"
"""Name of the live feed; like the next ones, no other feed's."""
SIMULATED: Final = "simulated"
RECORDINGS: Final = "recordings"


def feed_named(text: str, name: str | None = None) -> Feed:
    """The feed that `--feed` names: live, simulated, recordings, or a URL; under the name that is chosen, if one is.

    A URL gives a feed that is named after it, so that its topics and database tell whose they are.

    Raises:
        SettingsError: it is none of them, or nothing can carry the name.
    """
    match text:
        case "live" | "velib":
            feed = Feed(LIVE, VELIB_URL)
        case "simulated":
            feed = Feed(SIMULATED, "", simulated=True)
        case "recordings":
            feed = Feed(RECORDINGS, "")
        case _:
            trouble = address_trouble(text)
            if trouble is not None:
                msg = f"feed {masked(text)!r} is none of live, simulated, recordings, http(s)://… ({trouble})"
                raise SettingsError(msg)
            feed = Feed(LIVE if identity(text) == identity(VELIB_URL) else name_of(text), text)
    if name is None or name == feed.name:
        return feed
    trouble = name_trouble(name)
    if trouble is None and name in {LIVE, SIMULATED, RECORDINGS}:
        trouble = "that feed has it"
    if trouble is not None:
        msg = f"the feed's name {name!r} (--name, VELIB_FEED_NAME) can't be: {trouble}"
        raise SettingsError(msg)
    return replace(feed, name=name)


def data_root() -> Path:
    """The folder that holds the homes of all feeds of this user."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "velib-dagster"


HOME_FILE: Final = "home.json"


@dataclass(frozen=True)
class HomeFile:
    """What a home says of itself."""

    feed: Feed
    ports: dict[str, int]
    id: str = ""


def read_home_file(home: Path) -> HomeFile | None:
    """The home's file, or None where there is none yet.

    Raises:
        SettingsError: it can't be read, or is of another layout version.
    """
    path = home / HOME_FILE
    try:
        content = json.loads(path.read_bytes())
        layout = content["layout"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} can't be read ({error}): restore it, or start a new home with --home"
        raise SettingsError(msg) from error
    if layout != LAYOUT_VERSION:
        msg = (
            f"{home} has layout version {layout}, and this program knows version {LAYOUT_VERSION}: "
            "use the program that made it, or another --home"
        )
        raise SettingsError(msg)
    try:
        ports = {str(name): int(port) for name, port in content["ports"].items()}
        return HomeFile(Feed(**content["feed"]), ports, str(content.get("id", "")))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is damaged ({error}): restore it, or start a new home with --home"
        raise SettingsError(msg) from error


def home_of(asked: str | None, name: str | None) -> Path:
    """The home meant where none is named: the one that serves the feed asked for, else where a new one would be.

    Raises:
        SettingsError: a name is chosen for an address that a home serves under another.
    """
    if asked is None and name is None:
        return usual_home()
    feed = feed_named(asked or "live", name)
    own = data_root() / feed.name
    if not feed.url or (own / HOME_FILE).exists():
        return own
    serving = home_serving(feed.url)
    if serving is None:
        return own
    if name is not None:
        msg = (
            f"{masked(feed.url)} is served by {serving[0]}, under the name {serving[1].name}, which stays: "
            "leave out --name (VELIB_FEED_NAME), or name a --home of its own"
        )
        raise SettingsError(msg)
    return serving[0]


def has_home(text: str) -> bool:
    """Whether what is asked for as a feed is the name of one that has a home, rather than a word or a URL."""
    named = text not in {"live", LIVE, SIMULATED, RECORDINGS} and name_trouble(text) is None
    return named and (data_root() / text / HOME_FILE).exists()


def home_serving(url: str) -> tuple[Path, Feed] | None:
    """The home of this user that polls the address, and its feed; None where none does."""
    for path in sorted(data_root().glob(f"*/{HOME_FILE}")):
        try:
            stored = read_home_file(path.parent)
        except SettingsError:  # a damaged home, or one of another version, is said where it is used
            continue
        if stored is not None and _polls(stored.feed, url):
            return path.parent, stored.feed
    return None


def _polls(feed: Feed, url: str) -> bool:
    if feed.simulated or address_trouble(feed.url) is not None:
        return False
    return identity(feed.url) == identity(url)


def agreed(home: Path, stored: Feed, asked: str | None, name: str | None, other_address: str | None) -> Feed:
    """The home's own feed, where what is asked for is that feed; with the address as it is spelled now.

    Raises:
        SettingsError: another feed, or another name, is asked for.
    """
    if name is not None and name != stored.name:
        msg = (
            f"the feed of {home} has the name {stored.name!r}, and keeps it, since its topics and tables carry it: "
            f"leave out --name (VELIB_FEED_NAME) {name!r}, or give another --home"
        )
        raise SettingsError(msg)
    if asked is None:
        return stored
    feed = feed_named(asked)
    if feed.simulated or stored.simulated or not feed.url:
        same = feed.simulated == stored.simulated and bool(feed.url) == (bool(stored.url) and not stored.simulated)
    elif _polls(stored, feed.url):
        # A key may have changed, or http become https; whoever leaves the key out means the one there is.
        kept = asked in {"live", LIVE} or (has_credentials(stored.url) and not has_credentials(feed.url))
        return stored if kept else replace(stored, url=feed.url)
    else:
        moved = other_address is not None and identity(other_address) == identity(feed.url)
        same = moved or (asked in {"live", LIVE} and stored.name == LIVE)
    if same:
        return stored
    msg = (
        f"{home} serves the feed {_described(stored)}, not {_described(feed)}: one home serves one feed; give another "
        "--home, or none"
    )
    if feed.url and stored.url and not stored.simulated:
        msg += (
            f". Where it is a new address of the same feed: velib feed-url {masked(feed.url)!r} --home {home}, "
            "or VELIB_FEED_URL"
        )
    raise SettingsError(msg)


def _described(feed: Feed) -> str:
    return f"{feed.name!r}, {masked(feed.url)}" if feed.url and not feed.simulated else repr(feed.name)


def usual_home() -> Path:
    """The home meant where none is named: the live feed's, or the only one there is where that one doesn't exist."""
    live = data_root() / "velib"
    if (live / HOME_FILE).exists() or not data_root().is_dir():
        return live
    homes = [path for path in data_root().iterdir() if (path / HOME_FILE).exists()]
    return homes[0] if len(homes) == 1 else live
