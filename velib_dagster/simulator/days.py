"""Days of the simulated feed as recordings: one compressed answer a poll in a folder.

It must not know how they are read; `velib simulate` and a platform's first start call it.
"""

import gzip
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.files import sync_folder
from velib_dagster.simulator.answers import explore_export
from velib_dagster.simulator.network import DEFAULT_SEED, DEFAULT_STATIONS, Network
from velib_dagster.simulator.simulation import Simulation

NAME_FORMAT: Final = "%Y%m%dT%H%M%SZ.json.gz"
"""Names of recordings carry their poll time, UTC."""

DAY_SECONDS: Final = 86_400


def write_days(
    folder: Path,
    *,
    days: int,
    every_seconds: int = 300,
    stations: int = DEFAULT_STATIONS,
    seed: int = DEFAULT_SEED,
    end: datetime | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the answers of `days` days, one each `every_seconds`, up to `end` (now unless given) floored to the step.

    A day is 24 hours here, and the last answer is of that floored moment. Files appear whole or not at all, and
    the same call writes the same bytes again.

    Args:
        on_progress: called after each file with how many are written, and how many there will be.

    Returns:
        How many recordings were written.

    Raises:
        ValueError: days or every_seconds below 1, a step longer than a day, or an `end` without time zone.
        OSError: the folder can't be written.
    """
    if days < 1 or not 1 <= every_seconds <= DAY_SECONDS:
        msg = f"days={days} and every_seconds={every_seconds}: write at least 1 day, in steps of 1 s to 1 day"
        raise ValueError(msg)
    last = end if end is not None else datetime.now(UTC)
    if last.tzinfo is None:
        msg = f"end={last.isoformat()} has no time zone: give one, since recordings are named by UTC"
        raise ValueError(msg)
    simulation = Simulation(Network.generate(stations, seed))
    last_poll = int(last.timestamp()) // every_seconds * every_seconds
    total = days * DAY_SECONDS // every_seconds
    folder.mkdir(parents=True, exist_ok=True)
    for done in range(1, total + 1):
        poll = last_poll - (total - done) * every_seconds
        rows = explore_export(simulation.network, simulation.at(poll))
        body = gzip.compress(msgspec.json.encode(rows), compresslevel=1, mtime=0)
        _write_whole(folder / datetime.fromtimestamp(poll, UTC).strftime(NAME_FORMAT), body)
        if on_progress is not None:
            on_progress(done, total)
    sync_folder(folder)
    return total


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file under its name only once it is whole; not synced, since the same bytes can be made again."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
