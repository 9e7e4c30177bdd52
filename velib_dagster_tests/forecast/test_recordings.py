"""Recorded days: the feature rows are those that a count over the raw polls finds."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from velib_dagster.feed.answers import Answer
from velib_dagster.feed.decode import decode
from velib_dagster.feed.recordings import Recording, RecordingReader, list_recordings
from velib_dagster.feed.reports import DecodedPoll
from velib_dagster.forecast.features import after, features
from velib_dagster.forecast.grid import grid, stations_of
from velib_dagster.statistics.reading import spells_frame
from velib_dagster_tests.statistics.archives import recorded_spells
from velib_dagster_tests.statistics.make import PARIS, arrow

pytestmark = pytest.mark.spark
DAY = date(2024, 11, 1)
"""Twelve polls in a row: the count is by hand, the whole network's figures are in docs/forecast.md."""
STEP = 300
HORIZONS = (5, 15, 30)


def decoded(folder: Path) -> list[tuple[Recording, DecodedPoll]]:
    wanted = [each for each in list_recordings(folder) if each.time.astimezone(PARIS).date() == DAY]
    reader = RecordingReader(wanted)
    found = [
        (
            recording,
            decode(
                [
                    Answer(role=role, url="", status=200, headers={}, body=body)
                    for role, body in reader.read(recording).items()
                ]
            ),
        )
        for recording in wanted
    ]
    reader.close()
    return found


def test_the_rows_are_those_of_a_count_over_the_raw_polls(small: SparkSession, shared_data: Path) -> None:
    folder = shared_data / "feed-recordings"
    polls = decoded(folder)
    marks = [round(recording.time.timestamp() / STEP) for recording, _ in polls]
    docks = {
        (report.station_code, mark): report.docks
        for mark, (_, poll) in zip(marks, polls, strict=True)
        for report in poll.reports
        if report.is_installed and report.is_renting and report.is_returning
    }
    # No spell covers the very last poll: a cut of no length is not written.
    docks = {key: count for key, count in docks.items() if key[1] != marks[-1]}
    frame = spells_frame(small, arrow(recorded_spells(folder, DAY)))
    seconds = [int(recording.time.timestamp()) for recording, poll in polls if poll.failure is None]
    rows = features(grid(frame, stations_of(frame), STEP, seconds), STEP, HORIZONS, STEP)
    codes = [station.code for station in stations_of(frame).known]
    found = {
        (codes[row["station"]], row["mark"]): (
            *(row[f"docks_lag{n}"] for n in (1, 2, 3)),
            *(row[after("docks", horizon)] for horizon in HORIZONS),
        )
        for row in rows.toArrow().to_pylist()
    }
    wanted = {
        (code, mark): (
            *(docks[code, mark - back] for back in range(3)),
            *(docks.get((code, mark + horizon * 60 // STEP)) for horizon in HORIZONS),
        )
        for code, mark in docks
        if {(code, mark - 1), (code, mark - 2)} <= docks.keys()
    }
    assert len(wanted) > 10_000
    assert found == wanted
