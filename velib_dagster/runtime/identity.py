"""What a child process does between fork and exec: ends with its parent, takes default signals, drops root.

Runs in the forked child, so it only makes system calls prepared before. `process.py` calls it; no part is known here.
"""

import contextlib
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
LINUX: Final = sys.platform.startswith("linux")


@dataclass(frozen=True)
class User:
    """A user to run as."""

    uid: int
    gid: int


def is_root() -> bool:
    """Whether this process runs as root, which PostgreSQL refuses."""
    return os.geteuid() == 0


def unprivileged_user() -> User:
    """The user that parts which refuse root run as."""
    entry = pwd.getpwnam("nobody")
    return User(entry.pw_uid, entry.pw_gid)


def before_exec(parent: int, user: User | None = None, death_signal: int | None = None) -> Callable[[], None]:
    """The function to run in the forked child of process `parent`.

    `death_signal` reaches the child when its parent dies (Linux). It fires when the *thread* that forked ends, so
    the caller must be the main thread.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def run() -> None:
        # A shell's `&` leaves SIGINT ignored; Dagster copies that on SIGTERM and could never be stopped.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if user is not None:
            os.setgroups([])
            os.setgid(user.gid)
            os.setuid(user.uid)
        # After the change of user, which clears it.
        if LINUX and death_signal is not None:
            libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return run


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
