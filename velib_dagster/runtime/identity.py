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
_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
LINUX: Final = sys.platform.startswith("linux")


@dataclass(frozen=True)
class User:
    """A user to run as; `capability` is the one privilege kept when root becomes that user, or None."""

    uid: int
    gid: int
    capability: int | None = None


def is_root() -> bool:
    """Whether this process runs as root, which PostgreSQL refuses."""
    return os.geteuid() == 0


def held_capability() -> int | None:
    """The weakest privilege this process could keep that lets another user pass folders closed to it, or None.

    A home made by root (mktemp -d: mode 0700) is closed to the user PostgreSQL must run as, and opening its parents
    is not ours to do.
    """
    if not LINUX:
        return None
    with open("/proc/self/status") as file:  # noqa: PTH123 - a proc file
        permitted = next((int(line.split()[1], 16) for line in file if line.startswith("CapPrm:")), 0)
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if permitted & (1 << capability):
            return capability
    return None


def unprivileged_user() -> User:
    """The user that parts which refuse root run as."""
    entry = pwd.getpwnam("nobody")
    return User(entry.pw_uid, entry.pw_gid, held_capability())


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


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
            _become(libc, user)
        # After the change of user, which clears it.
        if LINUX and death_signal is not None:
            libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return run


def _become(libc: ctypes.CDLL, user: User) -> None:
    if user.capability is not None:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(user.gid)
    os.setuid(user.uid)
    if user.capability is not None:
        bit = 1 << user.capability
        header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
        data = (_CapabilityData * 2)(_CapabilityData(bit, bit, bit), _CapabilityData(0, 0, 0))
        if libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
            os._exit(1)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, user.capability, 0, 0)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
