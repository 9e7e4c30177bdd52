"""Which feed and home `velib up` is to serve, and what must be there before the first part starts.

It looks at the network once (is the live feed there?) and writes the home's file; it starts nothing.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import requests

from velib_dagster.feed.addresses import RefusedAddressError
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.session import FeedSession
from velib_dagster.homes import VELIB_URL
from velib_dagster.runtime.errors import in_words
from velib_dagster.runtime.ports import with_ports
from velib_dagster.settings import LIVE, LOOPBACK, Settings, data_root, feed_named, read_home_file

_ZONE_SECONDS: Final = 10.0


def is_new(home: Path) -> bool:
    """Whether no platform was ever set up in the home."""
    return read_home_file(home) is None


def unreachable(url: str) -> str | None:
    """Why the feed can't be reached, in words; None where it answers."""
    try:
        with FeedSession(url) as session, session.get(url, stream=True, timeout=(4.0, 8.0)) as answer:
            if answer.ok:
                return None
            return f"it answers {answer.status_code} {answer.reason}"
    except requests.Timeout:
        return "it does not answer in time"
    except RefusedAddressError as error:
        return str(error)
    except requests.RequestException as error:
        return f"no connection ({type(error).__name__})"


def simulated_instead(settings: Settings) -> Settings:
    """Settings for the simulated feed: in its own home, or in the one that was asked for, under the name chosen."""
    feed = feed_named("simulated", None if settings.feed.name == LIVE else settings.feed.name)
    if settings.home != data_root() / LIVE:
        return replace(settings, feed=feed, own_feed=feed)
    home = data_root() / feed.name
    stored = read_home_file(home)
    if stored is None:
        return replace(settings, home=home, feed=feed, own_feed=feed, ports={})
    return replace(settings, home=home, feed=stored.feed, own_feed=stored.feed, ports=stored.ports)


def in_the_systems_zone(settings: Settings) -> Settings:
    """The settings with the time zone that the feed's system names, where no other was chosen and it names one.

    Days of the archive are days there, and a home keeps its zone once it has one.
    """
    feed = settings.feed
    if "VELIB_TIMEZONE" in os.environ or feed.simulated or not feed.url or feed.url == VELIB_URL:
        return settings
    client = FeedClient(feed, budget_seconds=_ZONE_SECONDS)
    client.poll()
    zone = client.system_timezone()
    if zone is None:
        return settings
    own = replace(settings.own_feed or feed, timezone=zone)
    return replace(settings, feed=replace(feed, timezone=zone), own_feed=own)


def set_up(settings: Settings) -> Settings:
    """The settings with ports and the simulated feed's address, written to the home's file.

    Raises:
        PlatformError: the home can't be written, or no port is free.
    """
    complete = with_ports(settings)
    if complete.feed.simulated:
        from velib_dagster.simulator.server import EXPLORE  # noqa: PLC0415 - only a simulated feed needs it

        url = f"http://{LOOPBACK}:{complete.port('simulator')}{EXPLORE}/exports/json"
        own = replace(complete.own_feed or complete.feed, url=url)
        complete = replace(complete, feed=replace(complete.feed, url=url), own_feed=own)
    try:
        complete.save()
        (complete.home / "run").mkdir(exist_ok=True)
        complete.logs.mkdir(exist_ok=True)
    except OSError as error:
        raise in_words(error, f"setting up the home {complete.home}") from error
    return complete
