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

from velib_dagster.errors import SettingsError, VelibError
from velib_dagster.feed_address import address_trouble
from velib_dagster.files import write_atomically
from velib_dagster.homes import (
    HOME_FILE,
    LAYOUT_VERSION,
    LIVE,
    SIMULATED,
    Feed,
    agreed,
    data_root,
    feed_named,
    has_home,
    home_of,
    home_serving,
    read_home_file,
)
from velib_dagster.masking import masked
from velib_dagster.variables import address, bootstrap_servers, expanded, postgres_address, public_addresses, time_zone

__all__ = [
    "CREDIT",
    "HOME_FILE",
    "LAYOUT_VERSION",
    "LIVE",
    "LOOPBACK",
    "PORT_NAMES",
    "Feed",
    "Settings",
    "SettingsError",
    "VelibError",
    "cache_root",
    "data_root",
    "feed_named",
    "read_home_file",
    "with_address",
]

LOOPBACK: Final = "127.0.0.1"
CREDIT: Final = "Data: Vélib' Métropole / Smovengo, Ville de Paris open data, ODbL 1.0"

PORT_NAMES: Final = ("kafka", "kafka_controller", "postgres", "mlflow", "dagster", "dagster_code", "simulator")


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
            feed_settings = agreed(home_path, stored.feed, asked, chosen, address("VELIB_FEED_URL"))
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
