"""Values of environment variables that must have a form: each is checked where it is read, and its words name it.

Called by `settings.py`, which says which variables there are.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from velib_dagster.errors import SettingsError
from velib_dagster.feed_address import address_trouble


def time_zone(variable: str, default: str) -> str:
    """A time zone by its name in the IANA's data, which Spark and PostgreSQL know as well.

    Raises:
        SettingsError: there is none of that name.
    """
    text = os.environ.get(variable) or default
    try:
        known = ZoneInfo(text).key == text and text not in {"localtime", "posixrules", "Factory"}
    except (KeyError, ValueError, OSError):
        known = False
    if not known:
        near = get_close_matches(text.title(), available_timezones(), n=1, cutoff=0.5)
        hint = f", as {near[0]}" if near else ", as Europe/Paris"
        msg = f"{variable}={text!r} is no time zone: it must be a name of the IANA's data{hint}"
        raise SettingsError(msg)
    return text


def address(variable: str) -> str | None:
    """An http(s) address, or None where the variable is not set.

    Raises:
        SettingsError: it is none.
    """
    text = os.environ.get(variable) or None
    if text is not None and (trouble := address_trouble(text)) is not None:
        msg = f"{variable} is no address: {trouble}"
        raise SettingsError(msg)
    return text


def bootstrap_servers(variable: str) -> str | None:
    """Kafka's `host:port[,host:port]`, or None where the variable is not set.

    Raises:
        SettingsError: it is none.
    """
    text = os.environ.get(variable) or None
    server = r"\s*(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}\s*"
    if text is not None and re.fullmatch(rf"{server}(?:,{server})*", text) is None:
        msg = f"{variable}={text!r} must be host:port, several with commas between"
        raise SettingsError(msg)
    return text


def postgres_address(variable: str) -> str | None:
    """PostgreSQL's address without database, or None where the variable is not set.

    Raises:
        SettingsError: it is none.
    """
    text = os.environ.get(variable) or None
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"postgresql", "postgres"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:  # its text may hold a password
        msg = f"{variable} must be postgresql://user@host:port, with a port of 1 to 65535"
        raise SettingsError(msg)
    return text


def public_addresses(variable: str) -> tuple[str, ...]:
    """Addresses of a server's page, `https://name[:port]` or `name[:port]`, several with commas between; no path.

    Raises:
        SettingsError: one is none.
    """
    found = []
    for item in filter(None, (part.strip().rstrip("/") for part in os.environ.get(variable, "").split(","))):
        if not re.fullmatch(r"(https?://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", item):
            msg = f"{variable}: {item!r} must be https://name, http://name:port or a name, several with commas between"
            raise SettingsError(msg)
        found.append(item.lower())
    return tuple(found)


def expanded(path: Path | str, variable: str) -> Path:
    """The path with ~ put in full.

    Raises:
        SettingsError: ~name of nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        msg = f"{variable}={str(path)!r} can't be a path: {error}"
        raise SettingsError(msg) from error
