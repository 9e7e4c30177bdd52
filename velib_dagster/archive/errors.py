"""What can go wrong with the archive, for all that calls it (commands, assets, services).

Messages say what happened, to what, and what to do; nothing here acts.
"""

import errno
from pathlib import Path
from typing import Final

from velib_dagster.settings import VelibError

NO_SPELL_YET: Final = "no finished spell yet: the first come with the second poll"
"""What an archive without a row says."""


class ArchiveError(VelibError):
    """The archive can't go on, or can't be read; nothing committed is lost."""


class EmptyArchiveError(ArchiveError):
    """The archive has no row yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: {NO_SPELL_YET}")


class ArchiveHeldError(ArchiveError):
    """Another process is writing this archive."""


class KafkaAwayError(ArchiveError):
    """Kafka does not answer: what is not archived yet waits there."""


def disk_trouble(doing: str, path: Path, error: OSError) -> ArchiveError:
    """The words for a failed write: what was being done, to which file, and what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            what = "the disk is full: free some space and run it again"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            what = "no permission to write: let this user write there, or give another folder"
        case _:
            what = f"{error.strerror or error}: set that right and run it again"
    return ArchiveError(f"{doing} {path}: {what}. Nothing committed is lost")
