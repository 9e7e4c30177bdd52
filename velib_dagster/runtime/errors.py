"""The one error that parts of a platform raise; the command line prints it as it is, without a traceback.

No logic belongs here, but for putting the system's own errors into words.
"""

import errno

from velib_dagster.settings import VelibError


class PlatformError(VelibError):
    """A part can't be had, started or stopped; the message says which, why, and what to do."""


def in_words(error: OSError, doing: str) -> PlatformError:
    """A system error met while `doing` something (a phrase such as "writing /x/y"), with what to do about it."""
    advice = {
        errno.ENOSPC: "the disk is full: free some space, or choose another --home",
        errno.EDQUOT: "the disk quota is used up: free some space, or choose another --home",
        errno.EACCES: "no permission: give this user write access, or choose another --home",
        errno.EPERM: "not permitted: give this user write access, or choose another --home",
        errno.EROFS: "the file system is read-only: choose another --home",
    }
    reason = advice.get(error.errno or 0, error.strerror or str(error))
    where = f" ({error.filename})" if error.filename and str(error.filename) not in doing else ""
    return PlatformError(f"{doing} failed{where}: {reason}")
