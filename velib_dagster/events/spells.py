"""Where a station's time is cut into spells: at each 10-minute mark, where its state ends, and where its hold runs out.

Pure, one station at a time. Called by `advance.py`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from velib_dagster.events.known import EPOCH, Memory, Rules, Station
from velib_dagster.events.records import Spell, StationState
from velib_dagster.feed.reports import Report

CUT: Final = timedelta(minutes=10)
"""Running spells are cut at every multiple of this since the epoch (UTC)."""


def finished(memory: Memory, known: Station, report: Report | None, now: datetime, rules: Rules) -> Iterator[Spell]:
    """The spells of one station that this poll finishes: pieces up to each mark, and the rest if the state ended."""
    usable = memory.last_usable
    if usable is None or usable.time > known.last_report + rules.max_hold:
        return  # the hold ran out at an earlier poll, which closed the spell
    held_until = min(now, known.last_report + rules.max_hold)
    start = max(known.state.since, memory.last_cut)
    mark = mark_before(start) + CUT
    while mark <= held_until:
        yield spell_of(known.state, start, mark)
        start, mark = mark, mark + CUT
    ended = held_until < now or (report is not None and differs(known.state, report))
    if ended and start < held_until:
        yield spell_of(known.state, start, held_until)


def goes_on(known: Station, report: Report, now: datetime, rules: Rules) -> bool:
    """Whether the report finds the state still holding. One whose hold ran out has ended, since nobody knows what came
    between: the same counts then start a new state."""
    return now <= known.last_report + rules.max_hold and not differs(known.state, report)


def differs(state: StationState, report: Report) -> bool:
    """Whether the report is another state than the one on record."""
    # written out: this runs for each station of each poll
    return (
        state.bikes != report.bikes
        or state.mechanical != report.mechanical
        or state.ebike != report.ebike
        or state.docks != report.docks
        or state.capacity != report.capacity
        or state.is_installed != report.is_installed
        or state.is_renting != report.is_renting
        or state.is_returning != report.is_returning
    )


def spell_of(state: StationState, since: datetime, until: datetime) -> Spell:
    """The state, held from `since` to `until`."""
    return Spell(
        station_code=state.station_code,
        name=state.name,
        zone=state.zone,
        cell=state.cell,
        lat=state.lat,
        lon=state.lon,
        capacity=state.capacity,
        since=since,
        until=until,
        seconds=int((until - since).total_seconds()),
        bikes=state.bikes,
        mechanical=state.mechanical,
        ebike=state.ebike,
        docks=state.docks,
        is_installed=state.is_installed,
        is_renting=state.is_renting,
        is_returning=state.is_returning,
        last_reported=state.last_reported,
    )


def mark_before(time: datetime) -> datetime:
    """The newest cut mark at or before the time."""
    return time - (time - EPOCH) % CUT
