"""Where a platform lives, which feed it serves and where its parts answer.

Every command, Dagster run, streaming job and service reads its settings here, once, from the environment and
the home's own file; nothing else reads environment variables. It must not start, connect to or import any part.
"""

import json
import os
import re
import secrets
import stat
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from velib_dagster.errors import SettingsError as SettingsError  # noqa: PLC0414 - everybody takes it from here
from velib_dagster.errors import VelibError as VelibError  # noqa: PLC0414
from velib_dagster.feed_address import address_trouble, has_credentials, identity, name_of, name_trouble
from velib_dagster.files import write_atomically
from velib_dagster.masking import masked
from velib_dagster.variables import address, bootstrap_servers, expanded, postgres_address, public_addresses, time_zone

LAYOUT_VERSION: Final = 1
"""Version of the home folder's layout; a home of another version is refused."""

VELIB_URL: Final = (
    "https://opendata.paris.fr/api/explore/v2.1/catalog/datasets/velib-disponibilite-en-temps-reel/exports/json"
)
LOOPBACK: Final = "127.0.0.1"
CREDIT: Final = "Data: Vélib' Métropole / Smovengo, Ville de Paris open data, ODbL 1.0"

PORT_NAMES: Final = ("kafka", "kafka_controller", "postgres", "mlflow", "dagster", "dagster_code", "simulator")


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


def cache_root() -> Path:
    """The folder for what can be fetched again (Kafka's jars); shared by all homes of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "velib-dagster"


@dataclass(frozen=True)
class Settings:
    """All that a part needs to know; `Settings.load` makes one from the environment and the home's file.

    An address (`VELIB_KAFKA`, `VELIB_POSTGRES`, `VELIB_MLFLOW`) given in the environment stands for a part that
    runs elsewhere: the platform then uses it and starts none of its own.
    """

    home: Path
    feed: Feed
    ports: dict[str, int] = field(default_factory=dict)
    kafka_address: str | None = None
    kafka_security: Path | None = None
    postgres_address: str | None = None
    mlflow_address: str | None = None
    mlflow_public: str | None = None
    dagster_public: tuple[str, ...] = ()
    """Addresses or names under which people open Dagster's page; under others, but those of loopback, it refuses."""
    zones_file: Path | None = None
    dagster_files: Path | None = None
    host: str = LOOPBACK
    own_feed: Feed | None = field(default=None, compare=False)
    """The feed as the home's file has it, where the environment says otherwise; `feed` is the one in force."""

    @classmethod
    def load(cls, home: Path | str | None = None, feed: str | None = None, name: str | None = None) -> Self:
        """Settings of the home (argument, else `VELIB_HOME`, else the one that serves the feed, else a new one).

        A home that exists names its own feed, under the name it began with, since topics, checkpoints and tables are
        bound to it; asking for another feed or name there is an error, since one platform serves one feed.

        Raises:
            SettingsError: a home of another layout version or feed, an unreadable file, a value that can't be.
        """
        env = os.environ
        asked = feed or env.get("VELIB_FEED") or None
        chosen = name or env.get("VELIB_FEED_NAME") or None
        if asked is not None and chosen is None and has_home(asked):
            asked, chosen = None, asked
        given_home = home or env.get("VELIB_HOME")
        home_path = expanded(given_home, "VELIB_HOME").absolute() if given_home else home_of(asked, chosen)
        stored = read_home_file(home_path)
        if stored is None:
            feed_settings = feed_named(asked or (SIMULATED if home_path.name == SIMULATED else "live"), chosen)
            ports: dict[str, int] = {}
        else:
            feed_settings = _agreed(home_path, stored.feed, asked, chosen, address("VELIB_FEED_URL"))
            ports = stored.ports
        # Days of the archive are days there: it stays as it began, once it is in the home's file.
        own_feed = replace(feed_settings, timezone=time_zone("VELIB_TIMEZONE", feed_settings.timezone))
        every = _whole_number("VELIB_EVERY_SECONDS", feed_settings.every_seconds, 10, 86_400)
        feed_settings = replace(
            own_feed,
            url=address("VELIB_FEED_URL") or own_feed.url,
            every_seconds=every,
            max_hold_seconds=_max_hold(every, feed_settings.max_hold_seconds),
        )
        zones, dagster_files = env.get("VELIB_ZONES"), env.get("VELIB_DAGSTER_FILES")
        kafka_security = env.get("VELIB_KAFKA_SECURITY")
        return cls(
            home=home_path,
            feed=feed_settings,
            ports={**ports, **_ports(env.get("VELIB_PORTS", ""))},
            kafka_address=bootstrap_servers("VELIB_KAFKA"),
            kafka_security=expanded(kafka_security, "VELIB_KAFKA_SECURITY").absolute() if kafka_security else None,
            postgres_address=postgres_address("VELIB_POSTGRES"),
            mlflow_address=address("VELIB_MLFLOW"),
            mlflow_public=address("VELIB_MLFLOW_PUBLIC"),
            dagster_public=public_addresses("VELIB_DAGSTER_PUBLIC"),
            zones_file=expanded(zones, "VELIB_ZONES") if zones else None,
            dagster_files=expanded(dagster_files, "VELIB_DAGSTER_FILES") if dagster_files else None,
            host=env.get("VELIB_HOST") or LOOPBACK,
            own_feed=own_feed,
        )

    def save(self) -> None:
        """Write the home's file, atomically; makes the home. What the environment changes is in force, and not kept."""
        self.home.mkdir(parents=True, exist_ok=True)
        feed = self.own_feed or self.feed
        content = {
            "layout": LAYOUT_VERSION,
            "feed": {
                "name": feed.name,
                "url": feed.url,
                "simulated": feed.simulated,
                "every_seconds": feed.every_seconds,
                "max_hold_seconds": feed.max_hold_seconds,
                "timezone": feed.timezone,
            },
            "ports": self.ports,
            "id": self.home_id or uuid.uuid4().hex,
        }
        # The address of a feed may have a key in it.
        write_atomically(self.home / HOME_FILE, json.dumps(content, indent=1).encode(), mode=0o600)

    @property
    def home_id(self) -> str:
        """What tells this home from every other, wherever it lies; empty before its file is written.

        A database and topics remember the home that writes them.
        """
        stored = read_home_file(self.home)
        return stored.id if stored else ""

    @property
    def raw(self) -> Path:
        """Folder of the raw snapshots."""
        return self.home / "raw"

    @property
    def archive(self) -> Path:
        """Folder of the CSV archive, one file a day."""
        return self.home / "archive"

    @property
    def checkpoints(self) -> Path:
        """Folder of Spark's checkpoints, one below it for each query."""
        return self.home / "checkpoints"

    @property
    def logs(self) -> Path:
        """Folder of the parts' logs."""
        return self.home / "logs"

    @property
    def kafka(self) -> str:
        """Bootstrap servers of Kafka, `host:port[,host:port]`."""
        return self.kafka_address or f"{LOOPBACK}:{self.port('kafka')}"

    @property
    def mlflow(self) -> str:
        """Address of the MLflow server."""
        return self.mlflow_address or f"http://{LOOPBACK}:{self.port('mlflow')}"

    @property
    def mlflow_page(self) -> str:
        """Address of the MLflow server for people: links lead there, also where its name is known only to the parts."""
        return self.mlflow_public or self.mlflow

    @property
    def database(self) -> str:
        """Name of the feed's database."""
        return self.feed.name

    def postgres(self, database: str | None = None) -> str:
        """libpq address of a database (the feed's own unless named), as its owner, **with the password**.

        Never print it and never put it on a command line. `VELIB_POSTGRES` is an address without database and may
        leave out the password, which then comes from `VELIB_POSTGRES_PASSWORD` (or libpq's own password file).
        """
        name = database or self.database
        if self.postgres_address is None:
            password = quote(self.secret("postgres"), safe="")
            return f"postgresql://platform:{password}@{LOOPBACK}:{self.port('postgres')}/{name}"
        parts = urlsplit(self.postgres_address)
        # One from the variable is as somebody typed it; one in an address is encoded already.
        password = parts.password or quote(os.environ.get("VELIB_POSTGRES_PASSWORD", ""), safe="")
        user = parts.username or "platform"
        login = f"{user}:{password}" if password else user
        query = f"?{parts.query}" if parts.query else ""
        return f"postgresql://{login}@{parts.hostname}:{parts.port or 5432}/{name}{query}"

    def port(self, name: str) -> int:
        """The port of a part of this home.

        Raises:
            SettingsError: the home has none yet, since nothing was started in it.
        """
        try:
            return self.ports[name]
        except KeyError:
            msg = f"{self.home} has no port for {name} yet: start the platform there once (velib up)"
            raise SettingsError(msg) from None

    def topic(self, name: str) -> str:
        """The feed's topic: `states`, `spells` or `polls` behind the feed's name."""
        return f"{self.feed.name}.{name}"

    def secret(self, name: str) -> str:
        """A generated password, kept in a file of mode 0600 in the home; made at the first call."""
        path = self.home / "secrets" / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(stat.S_IRWXU)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24))
            return path.read_text().strip()


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


def with_address(settings: Settings, url: str) -> Settings:
    """The home's feed at another address from now on, under its own name; written to the home's file.

    Raises:
        SettingsError: there is no such home, its feed has no address or makes its own, or another home polls that one.
    """
    trouble = address_trouble(url)
    stored = read_home_file(settings.home)
    other = None if trouble else home_serving(url)
    if trouble is not None:
        msg = f"{masked(url)} is no address of a feed: {trouble}"
    elif stored is None:
        msg = f"there is no platform in {settings.home} yet: velib up --feed {masked(url)!r}"
    elif stored.feed.simulated or not stored.feed.url:
        msg = f"the feed {stored.feed.name!r} of {settings.home} is polled at no address of other people's"
    elif other is not None and other[0] != settings.home:
        msg = f"{masked(url)} is the feed {other[1].name!r} of {other[0]}: two homes would poll one feed"
    else:
        own = replace(settings.own_feed or stored.feed, url=url)
        moved = replace(settings, own_feed=own, feed=replace(settings.feed, url=address("VELIB_FEED_URL") or url))
        moved.save()
        return moved
    raise SettingsError(msg)


def _polls(feed: Feed, url: str) -> bool:
    if feed.simulated or address_trouble(feed.url) is not None:
        return False
    return identity(feed.url) == identity(url)


def _agreed(home: Path, stored: Feed, asked: str | None, name: str | None, other_address: str | None) -> Feed:
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


def _ports(text: str) -> dict[str, int]:
    """Ports by name from `name=port,name=port`."""
    found: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, port = item.partition("=")
        if name not in PORT_NAMES or re.fullmatch(r"[0-9]{1,5}", port) is None or not 0 < int(port) < 65_536:
            msg = f"VELIB_PORTS: {item!r} must be name=port, with a name of {', '.join(PORT_NAMES)}"
            raise SettingsError(msg)
        found[name] = int(port)
    return found


def _max_hold(every: int, usual: int) -> int:
    """How long a state holds, seconds: as asked for, else as usual, longer where polls are too rare for that.

    One late poll must not end a state: two intervals and a minute.

    Raises:
        SettingsError: shorter than the interval; each state would end before the next poll.
    """
    asked = _whole_number("VELIB_MAX_HOLD_SECONDS", 0, 60, 604_800)
    if not asked:
        return max(usual, 2 * every + 60)
    if asked < every:
        msg = (
            f"VELIB_MAX_HOLD_SECONDS={asked} is shorter than the {every} s between two polls (VELIB_EVERY_SECONDS): "
            f"states would end before the next poll; leave it out, or set at least {2 * every + 60}"
        )
        raise SettingsError(msg)
    return asked


def _whole_number(variable: str, default: int, least: int, most: int) -> int:
    text = os.environ.get(variable)
    if not text:
        return default
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not least <= int(text) <= most:
        msg = f"{variable}={text!r} must be a whole number from {least} to {most}"
        raise SettingsError(msg)
    return int(text)
