"""The pure core: what one poll changes in what is known of the network.

Reports go in; states, finished spells and the poll's record come out. No clock, no Kafka, no file: time and memory are
arguments, so that the same snapshots always give the same events. Called by `producer.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from velib_dagster.events.known import EPOCH, Memory, Poll, Rules, Station, Step, record_of
from velib_dagster.events.outdated import Freshness, freshness
from velib_dagster.events.pace import frozen_since, paced
from velib_dagster.events.records import (
    LastUsable,
    NetworkTotals,
    PollRecord,
    Spell,
    StateRecord,
    StationState,
    Void,
    reason_of,
)
from velib_dagster.events.rezone import zones_anew
from velib_dagster.events.spells import differs, finished, goes_on, mark_before, spell_of
from velib_dagster.events.zones import cell_of
from velib_dagster.feed.poll_time import is_ahead
from velib_dagster.feed.reports import DecodedPoll, PollKind, Refusal, Report
from velib_dagster.feed.verdict import is_placed, named, shortfall

LEFT_AFTER: Final = timedelta(hours=24)
"""Absent from every usable poll for this long: the station has left the network."""

_VOIDS_KEPT: Final = 8


def advance(memory: Memory, poll: Poll, rules: Rules) -> Step:
    """What the poll changes. An unusable poll changes nothing but the record of polls."""
    failure = _unusable(memory, poll)
    if failure is not None:
        kind, reason = failure
        return unusable(memory, poll, kind, reason)
    reports, refused, repaired = _completed(memory, poll.decoded)
    short = shortfall(poll.decoded, len(reports), _last_good_count(memory, poll.time))
    if short is not None:
        poll = replace(poll, decoded=msgspec.structs.replace(poll.decoded, refused=refused))
        return unusable(memory, poll, PollKind.SHORT, short)
    moved = sum(
        differs(known.state, report)
        for code, report in reports.items()
        if (known := memory.stations.get(code)) is not None
    )
    fresh = freshness(poll.document, poll.now or poll.time, memory.last_poll, moved, rules.max_hold)
    if memory_is_ahead(memory, poll.now):
        return _healed_step(memory, poll, reports, refused, repaired, rules, fresh)
    if fresh.outdated:
        return unusable(memory, poll, PollKind.OUTDATED, _joined(fresh.outdated, poll.clock_note), fresh)
    if memory.zones == rules.zones:
        return _usable_step(memory, poll, reports, refused, repaired, rules, fresh)
    rezoned, whole = _rezoned(memory, poll, rules)
    step = _usable_step(rezoned, poll, reports, refused, repaired, rules, fresh)
    return _with_zones(memory, step, rules.zones if whole else memory.zones)


def _rezoned(memory: Memory, poll: Poll, rules: Rules) -> tuple[Memory, bool]:
    """The memory with the zones of these rules, and whether all of them could be told."""
    states = {code: station.state for code, station in memory.stations.items()}
    changed, whole = zones_anew(states, poll.decoded.reports, rules.zone)
    stations = {
        code: replace(station, state=changed[code]) if code in changed else station
        for code, station in memory.stations.items()
    }
    return Memory(stations, memory.last_poll), whole


def _with_zones(before: Memory, step: Step, zones: str) -> Step:
    """The step with the states that only their zone changes, those of absent stations included."""
    told = {state.station_code for state in step.states}
    moved = [
        station
        for code, station in step.memory.stations.items()
        if code not in told and code in before.stations and station.state.zone != before.stations[code].state.zone
    ]
    present = sum(station.absent_since is None for station in moved)
    record = msgspec.structs.replace(
        step.record,
        changed=step.record.changed + present,
        unchanged=step.record.unchanged - present,
        zones=zones,
    )
    states = sorted((*step.states, *(station.state for station in moved)), key=lambda state: state.station_code)
    return replace(step, memory=Memory(step.memory.stations, record), states=tuple(states), record=record)


def memory_is_ahead(memory: Memory, now: datetime | None) -> bool:
    """Whether the newest usable poll on record lies after what time it is: its clock was wrong, and now it is known."""
    return memory.last_usable is not None and is_ahead(memory.last_usable.time, now)


def cut(memory: Memory, rules: Rules) -> Step | None:
    """End all running spells at the last usable poll, as when a folder of recordings ends or the platform stops.

    None where nothing is running beyond the newest cut: a cut of no length is not written. The record is the last
    poll's own with the new time of the cut, so that a reader who keeps the newest record of a snapshot sees one poll.
    """
    usable, last = memory.last_usable, memory.last_poll
    if usable is None or last is None or usable.time <= memory.last_cut:
        return None
    spells = tuple(
        spell_of(station.state, start, usable.time)
        for _, station in sorted(memory.stations.items())
        if usable.time <= station.last_report + rules.max_hold
        and (start := max(station.state.since, memory.last_cut)) < usable.time
    )
    record = msgspec.structs.replace(last, last_cut=usable.time, absent={})
    return Step(Memory(memory.stations, record), (), _moved(memory), (), spells, record)


def _unusable(memory: Memory, poll: Poll) -> tuple[PollKind, str] | None:
    """The kind and reason of a poll that gives no events, as far as they don't need the completed reports."""
    if poll.decoded.failure is not None:
        return poll.decoded.failure, poll.decoded.reason
    if (
        memory.last_usable is not None
        and poll.time <= memory.last_usable.time
        and not memory_is_ahead(memory, poll.now)
    ):
        word = "the same Date as" if poll.time == memory.last_usable.time else "a Date before that of"
        reason = f"{word} an earlier poll ({memory.last_usable.time:%Y-%m-%dT%H:%M:%SZ})"
        return PollKind.REPEATED, _joined(reason, poll.clock_note)
    return None


def _last_good_count(memory: Memory, now: datetime) -> int:
    """Reports of the newest usable poll; 0 once it is a day old, so that a network that shrank is believed by then."""
    usable = memory.last_usable
    return usable.reports if usable is not None and now - usable.time < LEFT_AFTER else 0


def _completed(memory: Memory, decoded: DecodedPoll) -> tuple[dict[str, Report], dict[Refusal, int], int]:
    """Reports with what the answer lacks carried from memory: (by code, refusals, number of completed reports).

    A capacity of 0 counts as lacking where a better one is known: in 2025 the feed gave 0 for about 1,367 stations
    for 12 weeks. A station that was never placed can't be drawn or zoned: its row is refused. One that was never named
    goes by its code, which completes nothing.
    """
    reports: dict[str, Report] = {}
    refused = dict(decoded.refused)
    repaired = 0
    for report in decoded.reports:
        known = memory.stations.get(report.station_code)
        completed = _carried(report, known.state) if known else report
        if not is_placed(completed):
            refused[Refusal.UNKNOWN_PLACE] = refused.get(Refusal.UNKNOWN_PLACE, 0) + 1
            continue
        repaired += completed is not report
        reports[report.station_code] = named(completed)
    return reports, refused, repaired


def _carried(report: Report, known: StationState) -> Report:
    lacking: dict[str, object] = {}
    if report.name is None and known.name != known.station_code:
        lacking["name"] = known.name
    if report.lat is None or report.lon is None:
        lacking |= {"lat": known.lat, "lon": known.lon}
    if not report.capacity and known.capacity:
        lacking["capacity"] = known.capacity
    return msgspec.structs.replace(report, **lacking) if lacking else report


def _healed_step(
    memory: Memory,
    poll: Poll,
    reports: Mapping[str, Report],
    refused: Mapping[Refusal, int],
    repaired: int,
    rules: Rules,
    fresh: Freshness,
) -> Step:
    """The step of the first usable poll after polls whose clock was ahead.

    What they brought is void: every station begins anew, and no spell is made of what came before. Since the holds
    of the polls before them may have been closed up to `max_hold` from now, spells begin after that.
    """
    usable = memory.last_usable
    if usable is None:
        raise ValueError(poll.snapshot)  # memory_is_ahead let it pass
    void = Void(after=poll.time, until=usable.time, spells_below=poll.spells_sent)
    record = memory.last_poll
    forgotten = Memory(
        {
            code: Station(
                known.state, EPOCH, None if known.absent_since is None else min(known.absent_since, poll.time)
            )
            for code, known in memory.stations.items()
        },
        record and msgspec.structs.replace(record, last_usable=None, last_cut=poll.time + rules.max_hold),
    )
    step = _usable_step(forgotten, poll, reports, refused, repaired, rules, fresh)
    words = f"the clock of the polls up to {usable.time:%Y-%m-%dT%H:%M:%SZ} was ahead: what they brought is void"
    healed = msgspec.structs.replace(
        step.record,
        reason=_joined(words, step.record.reason),
        zones=memory.zones,
        absent_stations=0,
        voids=(*((record.voids or ()) if record else ()), void)[-_VOIDS_KEPT:],
    )
    gone = tuple(sorted(memory.stations.keys() - reports.keys()))
    kept = {code: station for code, station in step.memory.stations.items() if code in reports}
    return replace(
        step,
        memory=Memory(kept, healed),
        absences=(),
        record=healed,
        void=void,
        voided=tuple(sorted(memory.stations)),
        left=gone,
    )


def _joined(*words: str) -> str:
    return "; ".join(word for word in words if word)


def _usable_step(
    memory: Memory,
    poll: Poll,
    reports: Mapping[str, Report],
    refused: Mapping[Refusal, int],
    repaired: int,
    rules: Rules,
    fresh: Freshness,
) -> Step:
    now = poll.time
    stations: dict[str, Station] = {}
    states: list[StationState] = []
    absences: list[StateRecord] = []
    told_by_the_poll = memory.last_poll.absent if memory.last_poll else {}
    spells: list[Spell] = []
    left: list[str] = []
    stale = 0
    mark_passed = mark_before(now) > memory.last_cut
    for code in sorted(memory.stations.keys() | reports.keys()):
        known, report = memory.stations.get(code), reports.get(code)
        still = known is not None and report is not None and goes_on(known, report, now, rules)
        if known is not None and (mark_passed or not still):
            spells += finished(memory, known, report, now, rules)
        if report is not None:
            stale += known is not None and _went_back(known.state, report)
            state = _next_state(known.state if known else None, report, now, rules, goes_on=still)
            if known is None or state is not known.state:
                states.append(state)
            elif known.absent_since is not None:
                absences.append(record_of(state, known, back_at=now))
            stations[code] = Station(state, now)
        elif known is not None:
            station = replace(known, absent_since=known.absent_since or now)
            if now - (station.absent_since or now) >= LEFT_AFTER:
                left.append(code)
                continue
            if known.absent_since is None or code in told_by_the_poll:
                absences.append(record_of(station.state, station))
            stations[code] = station
    last = memory.last_poll
    pace = paced(
        last.pace if last else None,
        now,
        memory.last_usable.time if memory.last_usable else None,
        fresh.moved,
        rules.max_hold,
    )
    record = PollRecord(
        snapshot=poll.snapshot,
        time=now,
        kind=PollKind.REPAIRED if repaired else PollKind.USABLE,
        reason=_joined(
            f"{repaired} reports completed with the last good name, place or capacity" if repaired else "",
            fresh.note,
            poll.clock_note,
        ),
        rows=poll.decoded.rows,
        total_count=poll.decoded.total_count,
        reports=len(reports),
        refused={str(reason): count for reason, count in sorted(refused.items())},
        repaired=repaired,
        changed=len(states),
        unchanged=len(reports) - len(states),
        stale=stale,
        spells=len(spells),
        totals=_totals(stations[code].state for code in reports),
        clock_offset_seconds=poll.clock_offset_seconds,
        mended=poll.decoded.mended,
        last_usable=LastUsable(time=now, reports=len(reports), document_made_at=_newest_document(memory, fresh)),
        last_cut=max(memory.last_cut, mark_before(now)),
        zones=rules.zones,
        document_made_at=fresh.made_at,
        document_age_seconds=fresh.age_seconds,
        stamp_wrong=fresh.stamp_wrong,
        frozen_since=frozen_since(pace, now),
        pace=pace,
        voids=last.voids if last else None,
        absent_stations=len(stations) - len(reports),
    )
    return Step(Memory(stations, record), tuple(states), tuple(absences), tuple(left), tuple(spells), record)


def _moved(memory: Memory) -> tuple[StateRecord, ...]:
    """Absences that only the last poll's record tells, as older programs wrote it, to be told by the states."""
    told = memory.last_poll.absent if memory.last_poll else {}
    stations = (memory.stations[code] for code in sorted(told) if code in memory.stations)
    return tuple(record_of(station.state, station) for station in stations)


def _next_state(
    known: StationState | None, report: Report, now: datetime, rules: Rules, *, goes_on: bool
) -> StationState:
    """The station's state after this report: the one on record (the very object) where nothing changed."""
    name, lat, lon = report.name, report.lat, report.lon
    if name is None or lat is None or lon is None:
        raise ValueError(report.station_code)  # _completed lets no such report through
    # a null referential takes the commune away as well: the zone stays
    commune = report.commune
    moved = known is None or (lat, lon) != (known.lat, known.lon)
    # another operator's numbers say nothing of an arrondissement
    code = report.station_code if report.velib_code else ""
    zone = rules.zone(code, commune, lat, lon) if known is None or moved or commune else known.zone
    cell = cell_of(lat, lon) if known is None or moved else known.cell
    if goes_on and known is not None:
        if not moved and name == known.name and zone == known.zone:
            return known
        return msgspec.structs.replace(known, name=name, zone=zone, cell=cell, lat=lat, lon=lon)
    return StationState(
        station_code=report.station_code,
        name=name,
        zone=zone,
        cell=cell,
        lat=lat,
        lon=lon,
        capacity=report.capacity,
        since=now,
        bikes=report.bikes,
        mechanical=report.mechanical,
        ebike=report.ebike,
        docks=report.docks,
        is_installed=report.is_installed,
        is_renting=report.is_renting,
        is_returning=report.is_returning,
        last_reported=report.last_reported,
    )


def _went_back(state: StationState, report: Report) -> bool:
    return (
        state.last_reported is not None
        and report.last_reported is not None
        and report.last_reported < state.last_reported
    )


def _totals(states: Iterator[StationState]) -> NetworkTotals:
    present = list(states)
    return NetworkTotals(
        stations=len(present),
        in_service=sum(state.in_service for state in present),
        bikes=sum(state.bikes for state in present),
        mechanical=sum(state.mechanical or 0 for state in present),
        ebike=sum(state.ebike or 0 for state in present),
        docks=sum(state.docks or 0 for state in present),
        capacity=sum(state.capacity or 0 for state in present),
    )


def _newest_document(memory: Memory, fresh: Freshness) -> datetime | None:
    usable = memory.last_usable
    return fresh.made_at or (usable.document_made_at if usable else None)


def unusable(memory: Memory, poll: Poll, kind: PollKind, reason: str, fresh: Freshness | None = None) -> Step:
    """The step of a poll that gives no events: its record alone."""
    last = memory.last_poll
    record = PollRecord(
        snapshot=poll.snapshot,
        time=poll.time,
        kind=kind,
        reason=reason_of(reason),
        rows=poll.decoded.rows,
        total_count=poll.decoded.total_count,
        reports=len(poll.decoded.reports),
        refused={str(refusal): count for refusal, count in sorted(poll.decoded.refused.items())},
        repaired=0,
        changed=0,
        unchanged=0,
        stale=0,
        spells=0,
        totals=None,
        clock_offset_seconds=poll.clock_offset_seconds,
        mended=poll.decoded.mended,
        last_usable=last.last_usable if last else None,
        last_cut=last.last_cut if last else None,
        zones=memory.zones,
        document_made_at=fresh.made_at if fresh else None,
        document_age_seconds=fresh.age_seconds if fresh else None,
        stamp_wrong=last.stamp_wrong if last else False,
        pace=last.pace if last else None,
        voids=last.voids if last else None,
        absent_stations=sum(station.absent_since is not None for station in memory.stations.values()),
        set_aside=memory.set_aside + 1 if kind is PollKind.SET_ASIDE else 0,
    )
    return Step(Memory(memory.stations, record), (), _moved(memory), (), (), record)
