"""One computation of a home's statistics at a time, whoever asks for it: a command, or a run of Dagster.

`refresh.py` takes a turn as the proof that its caller waited for it. A second computation beside the first would
compute the same days, and a small machine has no memory for two.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from velib_dagster.locks import HeldError, hold, holder
from velib_dagster.settings import Settings
from velib_dagster.statistics.errors import StatisticsBusyError

GLANCE_SECONDS: Final = 1.0
"""Somebody who only looks takes the lock for a moment."""


@dataclass(frozen=True)
class Turn:
    """The right to compute the statistics of a home; `turn` gives it and takes it back."""

    settings: Settings


@contextmanager
def turn(settings: Settings, patience_seconds: float, waiting: Callable[[str], None]) -> Iterator[Turn]:
    """Hold the home's statistics; `waiting` is told once, in words, where another process has them.

    Raises:
        StatisticsBusyError: the other process still had them after `patience_seconds`.
    """
    try:
        lock = hold(_path(settings), GLANCE_SECONDS)
    except HeldError as other:
        words = f"the statistics of {settings.home} are being computed by another process ({other})"
        waiting(f"{words}: waiting until it ends")
        try:
            lock = hold(_path(settings), patience_seconds)
        except HeldError:
            msg = f"{words}, and were still after {patience_seconds:.0f} s: try again when it has ended"
            raise StatisticsBusyError(msg) from None
    with lock:
        yield Turn(settings)


def taken(settings: Settings) -> str | None:
    """Words while a process computes the statistics of this home; None where none does."""
    process = holder(_path(settings))
    return None if process is None else f"the statistics are being computed by process {process}"


def _path(settings: Settings) -> Path:
    return settings.home / "run" / "statistics.lock"
