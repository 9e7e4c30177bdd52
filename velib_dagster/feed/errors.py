"""Ways in which the feed, the raw store and recordings fail; the class decides whether trying again makes sense.

Raised inside `feed/`; only `NotPolledError` and the errors of the store and of recordings leave `poll_once` and
`poll_recordings`.
"""

from datetime import datetime
from pathlib import Path

from velib_dagster.feed.answers import Answer
from velib_dagster.masking import masked
from velib_dagster.settings import VelibError


class FeedError(VelibError):
    """The feed didn't give what was asked; `answer` is its verbatim error answer, None where none came.

    The message names addresses without their keys.
    """

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(masked(message))
        self.answer = answer


class TransientFeedError(FeedError):
    """May pass by itself: no connection, a time-out, a break-off, 429, 5xx. `wait_seconds` is the feed's own wish."""

    def __init__(self, message: str, answer: Answer | None = None, wait_seconds: float | None = None) -> None:
        super().__init__(message, answer)
        self.wait_seconds = wait_seconds


class PermanentFeedError(FeedError):
    """Asking the same again gives the same: a 4xx answer, an address that can't be one."""


class QuotaSpentError(FeedError):
    """The feed's quota is spent until `reset` (UTC); nothing is asked before."""

    def __init__(self, message: str, reset: datetime, answer: Answer | None = None) -> None:
        super().__init__(message, answer)
        self.reset = reset


class NotPolledError(VelibError):
    """The feed has no address: recordings are in the past, and come by `velib backfill`."""

    def __init__(self, feed: str) -> None:
        super().__init__(f"the feed {feed} has no address to poll: recordings come by velib backfill FOLDER")


class SnapshotError(VelibError):
    """A snapshot can't be kept or read; the message names the file and what to do."""


class CorruptSnapshotError(SnapshotError):
    """A file of the raw store is not what was written there."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path} is damaged ({found}): restore it from a copy, or move the snapshot's files away "
            "(its poll is then lost)"
        )
        self.path = path


class RecordingError(VelibError):
    """A recording can't be found or read; the message names the file."""
