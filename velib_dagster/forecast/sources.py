"""Where a training's rows come from: the archive's spells, or Parquet months; and what tells the data apart afterwards.

Both give the same: rows of features that serve every event and horizon, and the stations' rates. Nothing is fitted.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.reader import spells_table
from velib_dagster.forecast import features, history
from velib_dagster.forecast.errors import TooLittleDataError, UnknownStationError
from velib_dagster.forecast.grid import grid, stations_of, usual_step
from velib_dagster.forecast.stations import Stations
from velib_dagster.forecast.task import (
    FORECAST_SECONDS,
    NEXT_POLL,
    Hour,
    Split,
    checked_horizons,
    split_of,
    usual_split,
)
from velib_dagster.statistics.reading import spells_frame

Fingerprint = dict[str, str | int]
"""What the data were: days, rows, archive position, and a digest of it all."""
_DIGEST: Final = 16
_MINUTES: Final = 300


@dataclass(frozen=True)
class Source:
    """Rows of features with all that training asks of them. `days` are the days that have a row."""

    rows: DataFrame
    rates: DataFrame
    stations: Stations
    days: tuple[date, ...]
    split: Split
    horizons: tuple[int, ...]
    step_seconds: int
    timezone: str
    fingerprint: Fingerprint
    uneven: bool = False
    """Lags are polls at uneven times, with their ages."""

    def number_of(self, code: str) -> int:
        """The station's number.

        Raises:
            UnknownStationError: no row is of it.
        """
        found = self.stations.number.get(code)
        if found is None:
            near = [known.code for known in self.stations.known if known.code.startswith(code[:2])][:5]
            msg = f"no station {code!r} in these days; there are {len(self.stations.known)}"
            raise UnknownStationError(f"{msg}, such as {', '.join(near)}" if near else msg)
        return found


@dataclass(frozen=True)
class ArchiveOptions:
    """Which part of an archive, in which steps. None: as the data say."""

    first: date | None = None
    last: date | None = None
    horizons: Sequence[int] = ()
    split: Split | None = None
    step_seconds: int | None = None
    origin_seconds: int | None = None
    polls: Sequence[int] | None = None
    """Times of the usable polls, seconds since 1970."""


def from_archive(spark: SparkSession, archive: Path, timezone: str, options: ArchiveOptions) -> Source:
    """The archive's days as rows of features, cached in Spark.

    Raises:
        EmptyArchiveError: the archive has no row yet.
        ArchiveError: a malformed row, or a day file that was changed.
        TooLittleDataError: fewer days than `split_of` needs, or no row in them.
    """
    table = spells_table(archive, (options.first, options.last))
    commit = read_commit(archive)
    position: Fingerprint = {"archive_next_offset": commit.next_offset} if commit else {}
    return from_spells(spark, table, timezone, options, position)


def from_spells(
    spark: SparkSession, table: pa.Table, timezone: str, options: ArchiveOptions, position: Fingerprint
) -> Source:
    """The same of spells that are at hand."""
    if not table.num_rows:
        msg = f"the archive has no spell from {options.first} to {options.last}"
        raise TooLittleDataError(msg)
    spells = spells_frame(spark, table)
    step = options.step_seconds or usual_step(spells)
    horizons = checked_horizons(options.horizons, step)
    stations = stations_of(spells)
    first, last = (pc.min(table["since"]).as_py(), pc.max(table["until"]).as_py())
    polls = _covering(options.polls, first, last)
    origins = options.origin_seconds or (step if step >= _MINUTES else FORECAST_SECONDS)
    marks = grid(spells, stations, step, polls, features.wanted_marks(step, horizons, origins)).cache()
    hours = _hours(marks, timezone)
    days = tuple(sorted({day for day, _ in hours}))
    split = options.split or split_of(hours)
    rows = features.with_neighbours(
        features.features(marks, step, horizons, origins), marks, stations
    ).localCheckpoint()
    rates = features.daily_rates(marks, split, timezone).localCheckpoint()
    marks.unpersist()
    fingerprint = _fingerprint(
        {
            **position,
            "spells": table.num_rows,
            "first_spell": first.isoformat(),
            "last_spell": last.isoformat(),
            "marks_known_by": "spells" if polls is None else f"{len(polls)} polls",
        },
        days,
    )
    return Source(rows, rates, stations, days, split, horizons, step, timezone, fingerprint)


def from_months(spark: SparkSession, files: Sequence[Path], timezone: str, split: Split | None = None) -> Source:
    """Parquet months as rows of features, cached in Spark; the target is the next poll.

    Raises:
        ForecastError: a file is missing, or lacks a column.
        TooLittleDataError: fewer than three days.
    """
    months = history.read_months(spark, files)
    polls = months.polls.cache()
    months = history.Months(polls, months.stations)
    days = tuple(sorted({day for day, _ in _hours(polls, timezone)}))
    chosen = split or usual_split(days)
    rows = features.with_neighbours(history.month_rows(months), polls, months.stations).localCheckpoint()
    rates = features.daily_rates(polls, chosen, timezone).localCheckpoint()
    sizes: Fingerprint = {file.name: file.stat().st_size for file in files}
    fingerprint = _fingerprint({"polls": polls.count(), **sizes}, days)
    polls.unpersist()
    return Source(rows, rates, months.stations, days, chosen, (NEXT_POLL,), 3600, timezone, fingerprint, uneven=True)


def _covering(polls: Sequence[int] | None, first: datetime, last: datetime) -> list[int] | None:
    """The polls within the spells; None where they are not known from the first spell on."""
    if not polls:
        return None
    within = [poll for poll in polls if first.timestamp() <= poll < last.timestamp()]
    begins = min(within, default=None)
    if begins is None or begins - first.timestamp() > timedelta(hours=1).total_seconds():
        return None
    return within


def _hours(marks: DataFrame, timezone: str) -> list[Hour]:
    local = F.from_utc_timestamp(F.timestamp_seconds("at"), timezone)
    found = marks.select(F.to_date(local).alias("day"), F.hour(local).alias("hour")).distinct().collect()
    return [(row["day"], row["hour"]) for row in found]


def _fingerprint(facts: Fingerprint, days: Sequence[date]) -> Fingerprint:
    whole: Fingerprint = {**facts, "days": len(days)}
    if days:
        whole |= {"first_day": days[0].isoformat(), "last_day": days[-1].isoformat()}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return {**whole, "digest": digest[:_DIGEST]}


def seconds_of(moments: Sequence[datetime]) -> list[int]:
    """Instants as seconds since 1970."""
    return [int(moment.astimezone(UTC).timestamp()) for moment in moments]
