"""Days in doubt, as a run notes them: in PostgreSQL, so that they are not computed again at once, and in its tags.

Which numbers are in doubt is found in `statistics.py`; when a day is tried again stands in `due_days.py`.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.orchestration.due_days import doubt_of
from velib_dagster.orchestration.shared import IN_DOUBT, local_clock
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from velib_dagster.statistics.proof import ArchivedDay, Differences
    from velib_dagster.store.doubts import DayInDoubt

SENTENCES: Final = 3
_TAG_CHARACTERS: Final = 500


def note_doubts(
    context: dg.AssetExecutionContext,
    settings: Settings,
    computed: "Iterable[tuple[Mapping[date, ArchivedDay], Mapping[str, Differences]]]",
) -> str:
    """Note each day that any check found wrong; returns the days in words, with when they are tried again.

    `computed` has, for days that were computed together, what is archived of each and what each check found.

    Raises:
        StoreError: PostgreSQL is away.
    """
    from velib_dagster.statistics.program import program  # noqa: PLC0415 - the runs of each minute load this module too
    from velib_dagster.store.connect import connect  # noqa: PLC0415
    from velib_dagster.store.doubts import put_in_doubt  # noqa: PLC0415

    with connect(settings) as connection:
        rows = [
            put_in_doubt(connection, day, archived[day].archived_bytes, program(), reason)
            for archived, found in computed
            for day, reason in _reasons(found).items()
        ]
    words = ", ".join(in_words(settings, row) for row in rows)
    context.instance.add_run_tags(context.run.run_id, {IN_DOUBT: words[:_TAG_CHARACTERS]})
    return words


def in_words(settings: Settings, row: "DayInDoubt") -> str:
    """`2026-03-02 (in doubt since 11:02, tried 2 times, next at 14:05)`."""
    since, then = local_clock(settings, row.since), local_clock(settings, doubt_of(row).next_try)
    return f"{row.day} (in doubt since {since}, tried {row.tries} times, next at {then})"


def _reasons(found: "Mapping[str, Differences]") -> dict[date, str]:
    """What the first check that found something wrong with a day says of it."""
    reasons: dict[date, str] = {}
    for check, of_days in found.items():
        for day, of_tables in of_days.items():
            table, sentences = next(iter(of_tables.items()))
            reasons.setdefault(day, f"{check}, {table}: {'; '.join(sentences[:SENTENCES])}")
    return dict(sorted(reasons.items()))
