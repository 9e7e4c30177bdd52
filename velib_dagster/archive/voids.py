"""Spells of a clock that was ahead: what the archive has of them is taken out, once, and the rest is never written.

What is void stands in the newest record of polls (`events/records.py`). Called by `writer.py`.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from velib_dagster.archive.commit import Commit
from velib_dagster.archive.reader import DayFile, committed_files, spells_of
from velib_dagster.archive.replace import without_rows
from velib_dagster.archive.source import Topic
from velib_dagster.events.records import Spell, Void, decode_spell

_log: Final = logging.getLogger(__name__)
Keys: TypeAlias = Counter[tuple[str, datetime]]
"""Station and start of spells, and how often each came."""


def is_void(offset: int, spell: Spell, voids: Sequence[Void]) -> bool:
    """Whether the spell at this offset is of a time that never was."""
    return any(offset < void.spells_below and spell.since > void.after for void in voids)


def take_out(folder: Path, commit: Commit, topic: Topic, voids: Sequence[Void]) -> Commit:
    """The state of the archive, which is this process's alone, without the void spells that it had; it is committed.

    Day files that are left without a row go. `through` is then the end of what is left.

    Raises:
        ArchiveError: a day file is damaged or was changed; a full disk, no permission.
        KafkaAwayError: Kafka does not answer.
    """
    new = [void for void in voids if void not in commit.voids]
    if not new:
        return commit
    keys = _void_keys(topic, commit.next_offset, new)
    taken = sum(keys.values())
    if taken:
        _log.warning("%d spells of a clock that was ahead are taken out of %s", taken, folder)
    kept = (spell.until for file in committed_files(folder) for spell, stays in _judged(file, keys.copy()) if stays)
    through = max(kept, default=None) if taken else commit.through
    return without_rows(
        folder,
        commit,
        lambda file: _judged(file, keys.copy()),
        lambda done: msgspec.structs.replace(done, voids=(*commit.voids, *new), through=through),
    )


def _void_keys(topic: Topic, archived_below: int, voids: Sequence[Void]) -> Keys:
    """What of the void spells was archived, as far as the topic still has them; one that its poll sent again, once."""
    found: set[tuple[str, datetime, str | None]] = set()
    first, _ = topic.bounds()
    for batch in topic.read(first, min(archived_below, max(void.spells_below for void in voids))):
        for record in batch:
            if record.value is None:
                continue
            with suppress(msgspec.DecodeError, ValueError):  # such a record was not archived
                spell = decode_spell(record.value)
                if is_void(record.offset, spell, voids):
                    found.add((spell.station_code, spell.since, record.told.poll))
    return Counter((code, since) for code, since, _ in found)


def _judged(file: DayFile, keys: Keys) -> Iterator[tuple[Spell, bool]]:
    """Void rows stand before those of the same start that are not: they were sent before."""
    for spell in spells_of(file):
        key = (spell.station_code, spell.since)
        stays = keys[key] == 0
        if not stays:
            keys[key] -= 1
        yield spell, stays
