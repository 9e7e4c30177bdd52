"""Addresses, and texts that quote them, as people may see them: without passwords and keys.

Pure text. Whatever shows or stores an address of a feed goes through `masked`: errors, snapshots' descriptions, poll
records, pages, what commands print.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK: Final = "***"

_EXPLORE: Final = """select where order_by group_by limit offset refine exclude include_links include_app_metas
use_labels delimiter epsg dataset q sort rows start facet geofilter.distance geofilter.polygon"""
_SYSTEMS: Final = """lang language timezone format version v city system system_id contract country region network id
name type page per_page count date day datetime from to"""
HARMLESS: Final = frozenset((*_EXPLORE.split(), *_SYSTEMS.split()))
"""Parameters of a query that name no secret: what isn't here may be a key, however it is called."""
COVERED_HEADERS: Final = frozenset(
    {
        "set-cookie",
        "set-cookie2",
        "cookie",
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "x-auth-token",
        "api-key",
    }
)
"""Headers whose whole value may be a key."""

_LEAST_LENGTH: Final = 6
"""A secret shorter than this is covered where it stands in an address, not wherever a text has the same signs."""
_USER: Final = re.compile(r"(?<=//)[^/?#\s\"'<>]*@")
_PARAMETER: Final = re.compile(r"(?P<name>(?<=[?&;#])[^=&;#?\s/\"'<>]+)=(?P<value>[^&#\s\"'<>]+)")


def masked(text: str, *addresses: str) -> str:
    """The text with users, passwords and keys of each address in it covered, and those of `addresses` anywhere."""
    for secret in sorted(secrets_of(*addresses), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _PARAMETER.sub(_covered, _USER.sub("", text))


def masked_header(name: str, value: str, *addresses: str) -> str:
    """An answer's header as it may be kept."""
    return MASK if name.lower() in COVERED_HEADERS else masked(value, *addresses)


def secrets_of(*addresses: str) -> frozenset[str]:
    """What of the addresses must not be seen, in each spelling that a text may have it in; short ones left out."""
    found: set[str] = set()
    for address in addresses:
        for plain in keys_of(address):
            found |= {plain, quote(plain), quote(plain, safe=""), quote_plus(plain)}
    return frozenset(secret for secret in found if len(secret) >= _LEAST_LENGTH)


def keys_of(address: str) -> frozenset[str]:
    """User, password and the values of the query that may be keys, decoded; none of an address that can't be read."""
    try:
        parts = urlsplit(address)
        user = {unquote(part) for part in (parts.username, parts.password) if part}
    except ValueError:
        return frozenset()
    asked = {value for name, value in parse_qsl(parts.query) if name.lower() not in HARMLESS and value != MASK}
    return frozenset(user | asked)


def _covered(found: "re.Match[str]") -> str:
    name = found["name"]
    return found[0] if unquote(name).lower() in HARMLESS else f"{name}={MASK}"
