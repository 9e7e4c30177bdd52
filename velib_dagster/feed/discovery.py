"""GBFS's discovery document, in the shapes of versions 1 to 3: which documents a system names, and where they are.

Knows no HTTP; `client.py` follows what it finds, `decode.py` says what a document without a status names instead.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from velib_dagster.feed.answers import STATION_STATUS
from velib_dagster.feed.bodies import json_text
from velib_dagster.feed.lenient import remade
from velib_dagster.feed.rows import UNDECODABLE

LANGUAGES: Final = ("fr", "en")
"""Of several languages these are taken first, in this order."""


class _Discovery(msgspec.Struct):
    data: object = None


def discovered(body: bytes, headers: Mapping[str, str]) -> dict[str, str] | None:
    """The address of each document by name (`station_status`, …), None where the body is no discovery document.

    Of several languages French, then English, then the first is taken among those that name a station_status; GBFS 3
    has one list for all. An entry without a name or an address is passed by; of two with one name the first counts.
    """
    text, _ = json_text(body, headers, Counter())
    try:
        data = msgspec.json.decode(text, type=_Discovery).data
    except UNDECODABLE:
        try:
            data = msgspec.json.decode(remade(text) or b"", type=_Discovery).data
        except UNDECODABLE:
            return None
    if not isinstance(data, dict):
        return None
    lists = [("", data.get("feeds"))]
    lists += [(str(name), one.get("feeds")) for name, one in data.items() if isinstance(one, dict)]
    found = [(language, urls) for language, feeds in lists if (urls := _urls(feeds)) is not None]
    if not found:
        return None
    return min(found, key=lambda pair: (STATION_STATUS not in pair[1], _rank(pair[0])))[1]


def _urls(feeds: object) -> dict[str, str] | None:
    """Addresses by name, None where it is no list at all."""
    if not isinstance(feeds, list):
        return None
    urls: dict[str, str] = {}
    for feed in feeds:
        if not isinstance(feed, dict):
            continue
        name, url = feed.get("name"), feed.get("url")
        if isinstance(name, str) and isinstance(url, str) and name.strip() and url.strip():
            urls.setdefault(name.strip().removesuffix(".json"), url.strip())
    return urls


def _rank(language: str) -> int:
    short = language.lower().replace("_", "-").partition("-")[0]
    return LANGUAGES.index(short) if short in LANGUAGES else len(LANGUAGES)
