"""What makes a poll's reports count, as far as it can be told without the polls before: places, and enough stations.

`events/advance.py` judges every poll by these rules, `check.py` one call as the first poll of a home.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from velib_dagster.feed.reports import DecodedPoll, PollKind, Refusal, Report

SHORT_BELOW: Final = 0.8
"""An answer with fewer valid rows than this share of what was expected is short. Broken answers of Vélib' brought
either a few rows less than usual (all null) or far fewer; a station or two missing is daily life."""


@dataclass(frozen=True)
class Verdict:
    """What a poll is worth: its kind, why, the reports that count, and rows refused by reason."""

    kind: PollKind
    reason: str
    reports: tuple[Report, ...]
    refused: dict[Refusal, int]


def named(report: Report) -> Report:
    """The report with its code as its name where it never had one."""
    return report if report.name is not None else msgspec.structs.replace(report, name=report.station_code)


def is_placed(report: Report) -> bool:
    """Whether the station can be drawn and zoned."""
    return report.lat is not None and report.lon is not None


def shortfall(decoded: DecodedPoll, reports: int, before: int) -> str | None:
    """Why so many valid reports are too few, None where they are enough.

    They are against the answer's own total, and against `before`, what this feed used to give (0: nothing to compare
    with). A feed that always has bad rows, or stations without a status, is as large as what it gives.
    """
    again = decoded.refused.get(Refusal.DUPLICATE_STATION, 0)
    expected = max((decoded.total_count or 0) - again, before)
    if reports >= SHORT_BELOW * expected and (reports or not decoded.rows):
        return None
    words = f"{reports} valid rows where {max(expected, decoded.rows) if not reports else expected} were expected"
    return f"{words}; {decoded.reason}" if decoded.reason else words


def first_poll(decoded: DecodedPoll) -> Verdict:
    """What the answers would be worth as the first poll of a home."""
    if decoded.failure is not None:
        return Verdict(decoded.failure, decoded.reason, (), decoded.refused)
    reports = tuple(named(report) for report in decoded.reports if is_placed(report))
    refused = dict(decoded.refused)
    unplaced = len(decoded.reports) - len(reports)
    if unplaced:
        refused[Refusal.UNKNOWN_PLACE] = unplaced
    reason = shortfall(decoded, len(reports), 0)
    kind = PollKind.USABLE if reason is None else PollKind.SHORT
    return Verdict(kind, reason or decoded.reason, reports, refused)
