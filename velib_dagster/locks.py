"""One process at a time: a file that is held while something is done.

The kernel lets go of it when the process ends, however it ends. Whose process that is stands in the file.
"""

import fcntl
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO


class HeldError(Exception):
    """Another process holds the file; the message names it, for a sentence."""


def hold(path: Path, patience: float = 0) -> IO[str]:
    """The file, held for this process alone until it is closed; made with its folder where it is missing.

    `patience` is how many seconds to wait for another process that holds it only for a moment.

    Raises:
        HeldError: another process holds it.
        OSError: it can't be made or opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.seek(0)
                holder = file.read().strip()
                file.close()
                raise HeldError(holder or "a process that has just begun") from None
            time.sleep(0.1)
    with suppress(OSError):  # a courtesy: on a full disk, what is done here may be what frees space
        os.truncate(file.fileno(), 0)
        os.write(file.fileno(), f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode())
    return file


def holder(path: Path) -> int | None:
    """Id of the process that holds the file now; None where none does, or it has just begun."""
    try:
        file = path.open("r")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            words = file.read().split()
            return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    return None
