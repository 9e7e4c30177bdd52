"""One platform to a home: who holds it, and whether one runs.

Commands ask `running_platform`; what starts parts holds the home by `held`.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from velib_dagster.runtime.errors import PlatformError, in_words
from velib_dagster.settings import Settings

PATIENCE_SECONDS: Final = 1.0
"""Somebody who only looks takes the lock for a moment."""


def _path(home: Path) -> Path:
    return home / "run" / "lock"


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the home while parts run there; the system lets go when this process ends, however it ends.

    Raises:
        PlatformError: another process holds it (its id is named), or the home can't be written.
    """
    path = _path(home)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise in_words(error, f"using the home {home}") from error
    with file:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    msg = (
                        f"a platform already runs in {home} (process {_holder(path)}): "
                        "use it, or stop it first with Ctrl-C where it was started"
                    )
                    raise PlatformError(msg) from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def _holder(path: Path) -> str:
    return path.read_text().strip() or "unknown"


def running_platform(settings: Settings) -> int | None:
    """Process id of the supervisor that holds the settings' home, or None where none runs."""
    return running_platform_in(settings.home)


def running_platform_in(home: Path) -> int | None:
    """Process id of the supervisor that holds a home, or None where none runs."""
    path = _path(home)
    try:
        file = path.open("r")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(path)
            return int(holder) if holder.isdigit() else None
    return None
