"""The standby poller: keeps the minutes while Dagster can't (it lives in PostgreSQL, which may be down).

It polls by the same function, only when nobody else did. A child of the supervisor, a service on a server;
`velib poll --standby`.
"""

import logging
import threading
import time
from typing import Final

from velib_dagster.feed.errors import NotPolledError, SnapshotError
from velib_dagster.feed.poll import poll_once
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Settings

PATIENCE: Final = 1.5
"""Polls are late, and the standby steps in, when the newest is older than so many intervals: 90 s at a minute."""

_LOOK_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)


def stand_by(settings: Settings, stop: threading.Event) -> None:
    """Poll whenever no snapshot is newer than 1.5 intervals, then each interval until another's comes, until `stop`.

    A home without any snapshot gets that long before the first one. A full disk is said, and tried again.

    Raises:
        NotPolledError: the feed has no address.
    """
    if not settings.feed.is_polled:
        raise NotPolledError(settings.feed.name)
    store = SnapshotStore(settings.raw)
    patience = PATIENCE * settings.feed.every_seconds
    started = time.time()
    own = None
    while not stop.wait(_LOOK_SECONDS):
        newest = store.newest()
        fetched = store.fetched_at(newest).timestamp() if newest else started
        # One kept by a clock that was ahead must not keep this one from polling until that time has come.
        if -patience <= time.time() - fetched < (settings.feed.every_seconds if newest and newest == own else patience):
            continue
        try:
            snapshot = poll_once(settings, store=store)
        except SnapshotError as error:
            _log.error("%s", error)
            stop.wait(patience)
        else:
            own = snapshot.name
            _log.warning("no poll for %.0f s: polled in Dagster's stead, %s", patience, snapshot.name)
