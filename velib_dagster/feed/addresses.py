"""Where a feed's redirects and documents may lead: which addresses are followed, and what is sent there.

Pure rules over addresses; `session.py` asks them before each request and at each connection. A feed is other people's
document: it must not have this machine ask servers that only this machine reaches, nor carry the feed's key elsewhere.
"""

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from velib_dagster.masking import keys_of, masked, secrets_of

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_METADATA: Final = frozenset({ipaddress.ip_address("168.63.129.16"), ipaddress.ip_address("192.0.0.192")})
"""A cloud's own servers at addresses that look public (Azure, Oracle)."""
_INSIDE: Final = (".internal", ".local", ".localdomain", ".lan", ".home.arpa", ".intranet", ".corp", ".home")
"""Endings of names that are no public ones."""


class RefusedAddressError(ValueError):
    """A redirect or a document of the feed leads where nothing is asked; the message says where and why."""


class Place(StrEnum):
    """Who reaches an IP address."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK = "link-local"
    OTHER = "reserved"


def place_of(ip: IP) -> Place:
    """Who reaches an address; one that carries an IPv4 address inside is where that one is."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return place_of(inner)
    if ip.is_loopback or ip.is_unspecified:  # to connect to 0.0.0.0 is to connect to this machine
        return Place.LOOPBACK
    if ip.is_link_local or ip in _METADATA:
        return Place.LINK
    if ip.is_global and not ip.is_multicast and not ip.is_reserved:
        return Place.PUBLIC
    return Place.PRIVATE if ip.is_private and not ip.is_reserved else Place.OTHER


def literal(host: str) -> IP | None:
    """The IP address that a host is written as, in the shortened and numeric forms too that resolvers take."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return ipaddress.ip_address("127.0.0.1") if _is_localhost(host) else None


@dataclass(frozen=True)
class Address:
    """Scheme, host (in small letters, no dot at the end) and port of an address."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """The place that an address names.

        Raises:
            RefusedAddressError: it is no address of HTTP.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            msg = f"{masked(url)} is no address: {error}"
            raise RefusedAddressError(msg) from error
        if parts.scheme not in _DEFAULT_PORTS or not host:
            msg = f"{masked(url)} is no address of HTTP"
            raise RefusedAddressError(msg)
        return cls(parts.scheme, host.rstrip("."), port or _DEFAULT_PORTS[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")

    def is_same_host(self, other: Self) -> bool:
        """Whether it is the same server, by https on its usual port in the place of http too, and the reverse."""
        if self.host != other.host:
            return False
        usual = all(one.port == _DEFAULT_PORTS[one.scheme] for one in (self, other))
        return usual or (self.scheme, self.port) == (other.scheme, other.port)

    def may_get_keys_of(self, feed: Self) -> bool:
        """Whether the feed's keys may go there: to the feed's own server, and in the clear only if they do anyway."""
        return self.is_same_host(feed) and not (feed.scheme == "https" and self.scheme == "http")


def without_keys(url: str, feed: str) -> str:
    """An address of another server as it is asked: without user, and without what the feed's own address has for keys.

    Raises:
        RefusedAddressError: a key of the feed's would still be in it.
    """
    keys, secrets = keys_of(feed), secrets_of(feed)
    own = {(name, value) for name, value in parse_qsl(urlsplit(feed).query) if value in keys}
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in asked if value not in secrets and (name, value) not in own]
    # An address that has none stays as it is to the byte: it may be signed.
    query = parts.query if kept == asked else urlencode(kept)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query).geturl()
    if any(secret in plain for secret in secrets):
        msg = f"{Address.of(url)} would be told the feed's key"
        raise RefusedAddressError(msg)
    return plain


def trouble_at(ip: IP, target: Address, feed: Address, connected: Collection[IP]) -> str | None:
    """Why nothing is asked at the IP address that the target's name led to; None where it may be.

    Public addresses are. Others are if the feed itself is there: at its own address, in the same private or loopback
    network where its address is written as an IP, or on a machine to which its name led before (`connected`). Not by
    its name alone: a name can be made to lead elsewhere between two requests.
    """
    place = place_of(ip)
    if place is Place.PUBLIC or ip in connected:
        return None
    own = literal(feed.host)
    if own is not None and (ip == own or (place in {Place.PRIVATE, Place.LOOPBACK} and place is place_of(own))):
        return None
    if target.is_same_host(feed) and not any(place_of(one) is Place.PUBLIC for one in connected):
        return None
    where = str(ip) if literal(target.host) else f"{target.host} leads to {ip}, which"
    return (
        f"{where} is a {place} address, and the feed {feed} is elsewhere: not asked. Where its documents lie in its "
        "own private network, give the feed by its IP address"
    )


def trouble_by_name(target: Address, feed: Address) -> str | None:
    """The same where a proxy looks the name up: what the name alone shows."""
    if target.is_same_host(feed):
        return None
    ip = literal(target.host)
    if ip is not None:
        return trouble_at(ip, target, feed, ())
    if "." not in target.host or target.host.endswith(_INSIDE):
        return f"{target.host} is a name inside a network, and the feed {feed} is elsewhere: not asked"
    return None


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith((".localhost", ".localhost."))
