"""Archives as files, and spells of recorded days, for the tests of the statistics."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from velib_dagster.archive.commit import Commit, FileLength, Source, day_path, write_commit
from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.events.advance import advance, cut
from velib_dagster.events.known import Memory, Poll, Rules
from velib_dagster.events.records import Spell
from velib_dagster.feed.answers import Answer
from velib_dagster.feed.decode import decode
from velib_dagster.feed.recordings import RecordingReader, list_recordings
from velib_dagster_tests.statistics.make import PARIS


def write_archive(folder: Path, spells: Iterable[Spell], *, committed: bool = True) -> None:
    """Day files of the spells by their Paris day; with the commit file of a platform's own archive, or as a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[date, list[str]] = {}
    for spell in spells:
        lines.setdefault(spell.since.astimezone(PARIS).date(), []).append(csv_line(spell))
    lengths = {}
    for day, rows in lines.items():
        data = HEADER_LINE + "".join(rows).encode()
        day_path(folder, day).write_bytes(data)
        lengths[day] = FileLength(len(data), len(rows))
    if committed:
        source = Source(topic="t.spells", cluster_id="c", topic_id="t")
        rows_in_all = sum(length.rows for length in lengths.values())
        write_commit(folder, Commit(source=source, timezone="Europe/Paris", next_offset=rows_in_all, files=lengths))


def recorded_spells(folder: Path, day: date) -> list[Spell]:
    """What the platform makes of one recorded day."""
    wanted = [each for each in list_recordings(folder) if each.time.astimezone(PARIS).date() == day]
    reader = RecordingReader(wanted)
    memory, rules, spells = Memory(), Rules(), []
    for recording in wanted:
        answers = [
            Answer(role=role, url="", status=200, headers={}, body=body)
            for role, body in reader.read(recording).items()
        ]
        step = advance(memory, Poll(recording.name, recording.time, decode(answers)), rules)
        memory = step.memory
        spells += step.spells
    last = cut(memory, rules)
    reader.close()
    return [*spells, *(last.spells if last else ())]
