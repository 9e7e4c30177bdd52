"""What a feed says rarely is kept for as long as it says: GBFS's discovery, names and places, vehicle types, regions.

Each minute's poll is a process of its own, so the documents lie in a folder of the home, one file each, verbatim. Files
only: `client.py` decides what is asked. A file that can't be read or written is no trouble: the document is asked for.
"""

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.feed.answers import Answer
from velib_dagster.feed.bodies import json_text
from velib_dagster.feed.rows import UNDECODABLE
from velib_dagster.feed.values import Mends
from velib_dagster.files import write_atomically

LONGEST_SECONDS: Final = 3600.0
"""A document without a `ttl` is kept for this long, and none for longer."""
AGAIN_AFTER: Final = timedelta(minutes=10)
"""How long a document isn't asked for again for the same unknown stations, or where it wasn't to be had."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it was answered at `kept_at`, and the stations for which it was asked again in vain, since when.

    `feed` is the address from which it was discovered.
    """

    feed: str
    kept_at: datetime
    answer: Answer
    missing: dict[str, datetime] = {}

    def is_fresh(self, now: datetime) -> bool:
        """Whether it may still be used; one from the future of this clock may not."""
        lasts = AGAIN_AFTER if self.answer.status >= 400 else timedelta(seconds=_seconds(self.answer))
        return timedelta() <= now - self.kept_at < lasts

    def is_worth_asking_for(self, stations: frozenset[str], now: datetime) -> bool:
        """Whether it is to be asked for again for stations that it lacks."""
        return any(
            station not in self.missing or not timedelta() <= now - self.missing[station] < AGAIN_AFTER
            for station in stations
        )


class Documents:
    """The documents kept for one feed; without a folder they are kept in memory alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._kept: dict[str, Document] = {}

    def find(self, role: str, feed: str, url: str | None = None) -> Document | None:
        """What was kept of that role, None where that is nothing, or of another feed or address."""
        found = self._kept.get(role) or self._read(role)
        if found is None or found.feed != feed or (url is not None and found.answer.url != url):
            return None
        self._kept[role] = found
        return found

    def keep(self, role: str, document: Document) -> None:
        """Keep it in the place of what was kept of that role."""
        self._kept[role] = document
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Addresses stand in it as they are asked, keys among them.
            write_atomically(self._folder / f"{role}.json", msgspec.json.encode(document), mode=0o600)
        except OSError:  # the poll goes on; its own snapshot tells of a full or closed disk
            return

    def drop(self, role: str) -> None:
        """Forget it, so that it is asked for at the next poll."""
        self._kept.pop(role, None)
        if self._folder is not None:
            try:
                (self._folder / f"{role}.json").unlink(missing_ok=True)
            except OSError:
                return

    def _read(self, role: str) -> Document | None:
        if self._folder is None:
            return None
        try:
            return _DOCUMENT.decode((self._folder / f"{role}.json").read_bytes())
        except (OSError, *UNDECODABLE):
            return None


class _Timed(msgspec.Struct):
    ttl: object = None


_DOCUMENT: Final = msgspec.json.Decoder(Document)
_TIMED: Final = msgspec.json.Decoder(_Timed)


def _seconds(answer: Answer) -> float:
    """How long the document may be kept by its own `ttl`."""
    try:
        ttl = _TIMED.decode(json_text(answer.body, answer.headers, Mends())[0]).ttl
        seconds = float(ttl) if isinstance(ttl, int | float | str) else math.nan
    except (ValueError, OverflowError, *UNDECODABLE):
        return LONGEST_SECONDS
    return min(seconds, LONGEST_SECONDS) if seconds >= 0 else LONGEST_SECONDS
