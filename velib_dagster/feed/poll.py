"""One poll: ask the feed, keep verbatim what came. The same for the schedule, the standby poller and the commands.

Nothing is decoded here. Recordings take the same way, through a replay server on this machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from velib_dagster.feed.answers import Fetched, Snapshot
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.clocks import boot_clock, local_now, reading_of
from velib_dagster.feed.documents import Documents
from velib_dagster.feed.errors import CorruptSnapshotError, NotPolledError, RecordingError
from velib_dagster.feed.poll_time import believed_now, time_of_poll
from velib_dagster.feed.quota import LONGEST
from velib_dagster.feed.recordings import Recording
from velib_dagster.feed.replay import ReplayServer
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Settings


def poll_once(settings: Settings, *, store: SnapshotStore | None = None, client: FeedClient | None = None) -> Snapshot:
    """Poll the feed once and keep what came, answered or not; takes at most 45 s.

    While the quota is spent, by what an earlier poll was told, the feed isn't asked, and the snapshot says so.

    Raises:
        NotPolledError: the feed has no address.
        SnapshotError: it can't be kept.
    """
    if not settings.feed.is_polled:
        raise NotPolledError(settings.feed.name)
    store = store or SnapshotStore(settings.raw)
    client = client or FeedClient(settings.feed, documents=Documents(settings.home / "feed"))
    before = store.history()
    reset = quota_spent_until(store)
    if reset is None:
        return store.add(client.poll(before=before))
    reading = reading_of(None, local_now(), boot_clock())
    told = time_of_poll(reading, before)
    return store.add(
        Fetched(
            poll_time=told.time,
            fetched_at=reading.local,
            answers=(),
            error=f"not asked: the feed's quota is spent until {reset:%Y-%m-%d %H:%M:%S} UTC",
            quota_reset=reset,
            reading=reading,
            told=told,
        )
    )


def now_by_polls(store: SnapshotStore) -> datetime:
    """What time it is: the local clock, unless the boot clock and the newest polls tell that it has jumped."""
    return believed_now(reading_of(None, local_now(), boot_clock()), store.history())


def quota_spent_until(store: SnapshotStore) -> datetime | None:
    """Until when the feed isn't asked, by what the newest poll was told; None if it may be asked."""
    newest = store.newest()
    if newest is None:
        return None
    try:
        reset = store.quota_reset(newest)
    except CorruptSnapshotError:  # its reader says so; a poll must not be lost for it
        return None
    if reset is None:
        return None
    now = now_by_polls(store)
    # One further away was reckoned from a clock that was ahead: obeyed, it would silence the feed for years.
    return reset if now < reset <= now + LONGEST else None


def poll_recordings(
    settings: Settings,
    recordings: Sequence[Recording],
    on_snapshot: Callable[[Snapshot], None],
    *,
    store: SnapshotStore | None = None,
) -> None:
    """Poll every recording, in order, over HTTP from a replay server, and keep it; `on_snapshot` gets each kept one.

    Nothing is skipped: what is kept already is the caller's to leave out.

    Raises:
        RecordingError: one can't be read or served; those before it are kept.
        SnapshotError: one can't be kept.
    """
    store = store or SnapshotStore(settings.raw)
    with ReplayServer(recordings) as server:
        client = FeedClient(replace(settings.feed, url=server.address), trust_date=True)
        for number, recording in enumerate(recordings):
            fetched = client.poll(server.url(number))
            if fetched.error is not None or not fetched.answers:
                msg = f"{recording.name} can't be replayed: {server.trouble or fetched.error}"
                raise RecordingError(msg)
            on_snapshot(store.add(fetched))
