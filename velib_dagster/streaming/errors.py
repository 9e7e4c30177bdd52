"""What can go wrong in the streaming job, in words; no handling belongs here."""

from velib_dagster.settings import VelibError


class StreamError(VelibError):
    """The streaming job can't go on; the message says what happened, to which query, and what to do."""


class StoppedError(StreamError):
    """The job was asked to stop while a batch was being written: the batch runs again at the next start."""
