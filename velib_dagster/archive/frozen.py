"""`frozen/freezes.csv`, beside the day files: when the feed was frozen, from the records of polls.

One row a freeze, `since,until,seconds`. Rows are keyed by their start, so that a poll read twice changes nothing; where
the reading goes on is kept beside the file, and without that the topic is read from its start. Called by `writer.py`.
"""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.archive.commit import Source
from velib_dagster.archive.errors import disk_trouble
from velib_dagster.archive.source import Topic
from velib_dagster.events.records import decode_poll
from velib_dagster.files import write_atomically

FROZEN_FILE: Final = "frozen/freezes.csv"
"""Not among the day files, which many read as `*.csv`."""
HEADER: Final = ("since", "until", "seconds")
_POSITION_FILE: Final = "frozen/position.json"


class _Position(msgspec.Struct, frozen=True):
    source: Source
    next_offset: int


def mark_freezes(folder: Path, topic: Topic) -> dict[datetime, datetime]:
    """Bring `freezes.csv` up to the end of the topic `polls`; returns all freezes, start to end.

    Raises:
        ArchiveError: a file can't be written.
    """
    spans = read_freezes(folder)
    first, end = topic.bounds()
    start = max(first, _next_offset(folder, topic.source))
    if start >= end:
        return spans
    before = dict(spans)
    for batch in topic.read(start, end):
        for record in batch:
            if record.value is None:
                continue
            try:
                poll = decode_poll(record.value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # told by those who need every poll
            if poll.frozen_since is not None:
                spans[poll.frozen_since] = max(poll.time, spans.get(poll.frozen_since, poll.time))
    try:
        (folder / FROZEN_FILE).parent.mkdir(exist_ok=True)
        if spans != before:
            write_atomically(folder / FROZEN_FILE, _text(spans).encode())
        write_atomically(folder / _POSITION_FILE, msgspec.json.encode(_Position(topic.source, end)))
    except OSError as error:
        raise disk_trouble("writing", folder / FROZEN_FILE, error) from error
    return spans


def read_freezes(folder: Path) -> dict[datetime, datetime]:
    """The freezes on record, start to end (UTC), none where there is no file."""
    try:
        rows = list(csv.DictReader(io.StringIO((folder / FROZEN_FILE).read_text(encoding="utf-8"), newline="")))
    except FileNotFoundError:
        return {}
    return {datetime.fromisoformat(row["since"]): datetime.fromisoformat(row["until"]) for row in rows}


def _next_offset(folder: Path, source: Source) -> int:
    try:
        position = msgspec.json.decode((folder / _POSITION_FILE).read_bytes(), type=_Position)
    except (OSError, msgspec.MsgspecError):
        return 0
    return position.next_offset if position.source == source else 0


def _text(spans: dict[datetime, datetime]) -> str:
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(HEADER)
    for since, until in sorted(spans.items()):
        rows.writerow([_iso(since), _iso(until), int((until - since).total_seconds())])
    return out.getvalue()


def _iso(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
