"""One platform to a home: who holds it, and whether one runs.

Commands ask `running_platform`; what starts parts holds the home by `held`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from velib_dagster.locks import HeldError, hold, holder
from velib_dagster.runtime.errors import PlatformError, in_words
from velib_dagster.settings import Settings

PATIENCE_SECONDS: Final = 1.0
"""Somebody who only looks takes the lock for a moment."""


def _path(home: Path) -> Path:
    return home / "run" / "lock"


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the home while parts run there.

    Raises:
        PlatformError: another process holds it (its id is named), or the home can't be written.
    """
    try:
        lock = hold(_path(home), PATIENCE_SECONDS)
    except HeldError as error:
        msg = f"a platform already runs in {home} ({error}): use it, or stop it first with Ctrl-C where it was started"
        raise PlatformError(msg) from None
    except OSError as error:
        raise in_words(error, f"using the home {home}") from error
    with lock:
        yield


def running_platform(settings: Settings) -> int | None:
    """Process id of the supervisor that holds the settings' home, or None where none runs."""
    return running_platform_in(settings.home)


def running_platform_in(home: Path) -> int | None:
    """Process id of the supervisor that holds a home, or None where none runs."""
    return holder(_path(home))
