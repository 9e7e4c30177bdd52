"""What came of days that were computed: each is written, or in doubt and why; and what each check says of them.

Pure. `refresh.py` makes the outcomes; commands and Dagster's layer tell them, by the same words. The names of checks
are stored: in Dagster, and in the reasons of days in doubt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from velib_dagster.clock import local_clock
from velib_dagster.settings import Settings
from velib_dagster.statistics.due_days import doubt_of

if TYPE_CHECKING:
    from velib_dagster.store.doubts import DayInDoubt

TWIN: Final = "sql_gives_the_same"
RECOUNT: Final = "recount"
WITHIN: Final = "seconds_within_the_day"
CHECKS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "station_stats": (TWIN, RECOUNT, WITHIN),
    "zone_stats": (TWIN, RECOUNT),
    "empty_stations": (TWIN, RECOUNT),
    "full_stations": (TWIN, RECOUNT),
}
"""Asset → the checks that prove it."""
ASSETS: Final = tuple(CHECKS_OF)
"""Everything that is computed of a day; `store/days.py` says which tables each asset writes."""
EXAMPLES: Final = 3
SENTENCES: Final = 3

Wrong = Mapping[str, Mapping[str, Sequence[str]]]
"""Check → table → what is wrong, one sentence each."""


@dataclass(frozen=True)
class DayOutcome:
    """What came of one day: `rows` computed by table, what the checks found `wrong`, and the doubt that was noted."""

    day: date
    rows: Mapping[str, int]
    wrong: Wrong
    doubt: "DayInDoubt | None" = None

    @property
    def is_written(self) -> bool:
        """Whether its rows were replaced; those of a day in doubt stay as they were."""
        return not self.wrong


@dataclass(frozen=True)
class Judgement:
    """What one check says of an asset over all days of a refresh: `wrong` has a sentence for each trouble."""

    asset: str
    check: str
    rows: int
    wrong: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    @property
    def words(self) -> str:
        """The first troubles, or how many rows hold."""
        return "; ".join(self.wrong[:EXAMPLES]) or rows_hold(self.rows)


def rows_hold(rows: int) -> str:
    """What a check that passed says."""
    return f"{rows} rows hold"


def judge(assets: Iterable[str], outcomes: Sequence[DayOutcome]) -> list[Judgement]:
    """Each check of each asset, over all the days."""
    from velib_dagster.store.days import TABLES  # noqa: PLC0415 - it takes pyarrow, and minute runs load this module

    return [
        Judgement(
            asset,
            check,
            sum(outcome.rows.get(name, 0) for outcome in outcomes for name in TABLES[asset]),
            tuple(
                f"{outcome.day}, {name}: {words}"
                for outcome in outcomes
                for name in TABLES[asset]
                for words in outcome.wrong.get(check, {}).get(name, ())
            ),
        )
        for asset in assets
        for check in CHECKS_OF[asset]
    ]


def reason_of(wrong: Wrong) -> str:
    """What the first check that found something wrong says: `check, table: sentences`."""
    check, of_tables = next(iter(wrong.items()))
    table, sentences = next(iter(of_tables.items()))
    return f"{check}, {table}: {'; '.join(sentences[:SENTENCES])}"


def check_and_table(reason: str) -> tuple[str, str]:
    """The check and the table that a reason of `reason_of` names."""
    check, _, rest = reason.partition(", ")
    return check, rest.partition(": ")[0]


def tried_again(settings: Settings, outcomes: Iterable[DayOutcome]) -> str:
    """`2026-03-02 (in doubt since 11:02, tried 2 times, next at 14:05), …`; empty where no day is in doubt."""
    return ", ".join(
        f"{doubt.day} (in doubt since {local_clock(settings, doubt.since)}, tried {doubt.tries} times, "
        f"next at {local_clock(settings, doubt_of(doubt).next_try)})"
        for doubt in (outcome.doubt for outcome in outcomes)
        if doubt is not None
    )


def doubts_in_words(settings: Settings, assets: Iterable[str], outcomes: Sequence[DayOutcome]) -> str | None:
    """Which days keep their old rows, why, and when they are tried again; None where every day is written."""
    doubtful = [outcome for outcome in outcomes if not outcome.is_written]
    if not doubtful:
        return None
    days = ", ".join(str(outcome.day) for outcome in doubtful)
    reasons = "; ".join(f"{one.asset}: {one.words}" for one in judge(assets, outcomes) if not one.passed)
    return (
        f"the rows of {days} stay as they were, since numbers are in doubt: {reasons}. "
        f"Tried again: {tried_again(settings, doubtful)}"
    )
