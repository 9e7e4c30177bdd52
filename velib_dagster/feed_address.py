"""When two addresses are the same feed, and the name that an address gives a feed.

Pure text. A feed is its address: host, path and what the query asks for. Not which protocol carries it, and no key.
Called by `settings.py`.
"""

import hashlib
import re
import unicodedata
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

NAME_LENGTH: Final = 55
"""PostgreSQL cuts identifiers at 63 bytes: the longest that is derived from a name is `<name>_dagster`."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HASH_LENGTH: Final = 8
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN: Final = frozenset({"postgres", "template0", "template1", "dagster", "mlflow"})
_TAKEN_ENDINGS: Final = ("_dagster", "_mlflow", "_reader")

_CREDENTIAL: Final = re.compile(
    r"(?:.*(?:key|token|secret|password|passwd|pwd|signature|credentials?|authorization)|sig|auth)"
)
"""Names of query parameters that say who asks, without - and _, in lower case. What only may be one (client_id) tells
two feeds apart: taking two cities for one is worse than asking."""

_COMMON_WORDS: Final = frozenset(
    {"api", "catalog", "contracts", "datasets", "explore", "exports", "feed", "feeds", "gbfs", "json", "public"}
    | {"records", "rest", "station", "systems", "www"}
)
_VERSION: Final = re.compile(r"v?[0-9]+(?:[._][0-9]+)*")


def address_trouble(url: str) -> str | None:
    """What is wrong with an address, in words; None where it is http(s) with a host and a port that can be."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return "it must begin with http:// or https:// and a host"
    if port == 0 or re.search(r"[\s\x00-\x1f\x7f]", url):
        return "it has a port or a character that no address has"
    return None


def identity(url: str) -> str:
    """What makes the feed at a good address the one it is: equal for two spellings of one address.

    Protocol, its usual port, the case of the host, a slash at the end, the order of the query, keys and passwords
    don't count.
    """
    parts = urlsplit(url)
    path = "".join(f"/{quote(unquote(segment), safe='')}" for segment in parts.path.split("/") if segment)
    asked = sorted((name, value) for name, value in _query(parts) if not is_credential(name))
    return f"{_place(parts)}{path}" + (f"?{urlencode(asked)}" if asked else "")


def is_credential(parameter: str) -> bool:
    """Whether a query's parameter of this name says who asks, rather than what for."""
    return _CREDENTIAL.fullmatch(re.sub(r"[^a-z0-9]", "", parameter.lower())) is not None


def has_credentials(url: str) -> bool:
    """Whether the address says who asks: a key in its query, or a user."""
    parts = urlsplit(url)
    return "@" in parts.netloc or any(is_credential(name) for name, _ in _query(parts))


def name_of(url: str) -> str:
    """The name of the feed at a good address: its telling words and a hash of all of it.

    Different for different feeds, the same for ever for one; begins with a letter, and has room for what is derived.
    """
    key = identity(url)
    parts = urlsplit(f"//{key}")
    asked = [value for _, value in _query(parts)]
    found = [_slug(text) for text in (*unquote(parts.path).removesuffix(".json").split("/"), *asked)]
    telling = [word for word in found if word and word not in _COMMON_WORDS and not _VERSION.fullmatch(word)]
    host = _slug(_host(parts).removeprefix("www."))
    room = NAME_LENGTH - _HASH_LENGTH - 1
    while len(telling) > 1 and len("_".join((host, *telling))) > room:
        del telling[0]
    if telling and len(host) + 1 + len(telling[-1]) > room:
        host = host[: max(room // 2, room - 1 - len(telling[-1]))].rstrip("_")
    words = "_".join((host, *telling)) or "feed"
    if not words[0].isalpha():
        words = f"feed_{words}"
    return f"{words[:room].rstrip('_')}_{hashlib.sha256(key.encode()).hexdigest()[:_HASH_LENGTH]}"


def name_trouble(name: str) -> str | None:
    """What is wrong with a name that somebody chose, in words; None where topics and databases can carry it."""
    if not _NAME.fullmatch(name):
        return "small letters a to z, digits and underscores, a letter first"
    if len(name) > NAME_LENGTH:
        return f"at most {NAME_LENGTH} signs, since PostgreSQL cuts longer names"
    if name in _TAKEN or name.startswith("pg_") or name.endswith(_TAKEN_ENDINGS):
        return "databases of PostgreSQL, Dagster or MLflow have such names"
    return None


def _place(parts: SplitResult) -> str:
    usual = parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)}
    return _host(parts) if usual else f"{_host(parts)}:{parts.port}"


def _host(parts: SplitResult) -> str:
    """In small letters, as the network's names have it; an IPv6 address in its brackets."""
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        return f"[{host}]"
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # too long a label: no such host is, and its own text is as good
        return host


def _query(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
