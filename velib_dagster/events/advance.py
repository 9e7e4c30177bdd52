"""The pure core: what one poll changes in what is known of the network.

Reports go in; states, finished spells and the poll's record come out. No clock, no Kafka, no file: time and memory are
arguments, so that the same snapshots always give the same events. Called by `producer.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

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
from velib_dagster.events.zones import RULE, ZoneOf, cell_of, zone_of
from velib_dagster.feed.document_age import UNKNOWN as UNKNOWN_DOCUMENT
from velib_dagster.feed.document_age import DocumentAge
from velib_dagster.feed.poll_time import is_ahead
from velib_dagster.feed.reports import DecodedPoll, PollKind, Refusal, Report
from velib_dagster.feed.verdict import is_placed, named, shortfall

CUT: Final = timedelta(minutes=10)
"""Running spells are cut at every multiple of this since the epoch (UTC)."""

LEFT_AFTER: Final = timedelta(hours=24)
"""Absent from every usable poll for this long: the station has left the network."""

_VOIDS_KEPT: Final = 8

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Poll:
    """One poll as `advance` takes it: its snapshot's name, its time, and what the answer brought.

    `now` is what time it was when the poll was made, None where nobody knows (a recording); `clock_note` says in words
    which clock was wrong. `spells_sent` is the offset behind the spells sent before, where memory is ahead of `now`.
    """

    snapshot: str
    time: datetime
    decoded: DecodedPoll
    clock_offset_seconds: int | None = None
    now: datetime | None = None
    clock_note: str = ""
    document: DocumentAge = UNKNOWN_DOCUMENT
    spells_sent: int = 0


@dataclass(frozen=True)
class Station:
    """What is known of one station: its state on record, its last valid report, and since when polls lack it."""

    state: StationState
    last_report: datetime
    absent_since: datetime | None = None


@dataclass(frozen=True)
class Memory:
    """All that the next poll needs; the compacted topic `states` and the last record of `polls` hold the same."""

    stations: Mapping[str, Station] = field(default_factory=dict)
    last_poll: PollRecord | None = None

    @property
    def last_cut(self) -> datetime:
        """Newest time at which all running spells were cut."""
        return (self.last_poll and self.last_poll.last_cut) or _EPOCH

    @property
    def zones(self) -> str:
        """Which rule and file the zones on record follow."""
        return self.last_poll.zones if self.last_poll else ""

    @property
    def set_aside(self) -> int:
        """Newest polls in a row that could not be processed."""
        return self.last_poll.set_aside if self.last_poll else 0

    @property
    def last_usable(self) -> LastUsable | None:
        """Newest poll whose reports counted."""
        return self.last_poll.last_usable if self.last_poll else None


@dataclass(frozen=True)
class Step:
    """What one poll brings: the new memory, and the records to send.

    `states` has one record per station whose state, name or place changed; `absences` one per station whose absence
    began, or ended without another change; `left` the codes of the stations that left the network; `spells` are
    ordered by station code, then time. `void` is what turned out to be void, and `voided` the codes of the stations
    whose states on record are: a tombstone goes before what they are now.
    """

    memory: Memory
    states: tuple[StationState, ...]
    absences: tuple[StateRecord, ...]
    left: tuple[str, ...]
    spells: tuple[Spell, ...]
    record: PollRecord
    void: Void | None = None
    voided: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What differs from feed to feed: how long a state holds, and how a place is named."""

    max_hold: timedelta = timedelta(seconds=660)
    zone: ZoneOf = zone_of
    zones: str = RULE
    """Which rule and file `zone` follows: where it is not that of the poll before, every station is looked up anew."""


def recall(states: Mapping[str, StationState], last_poll: PollRecord | None) -> Memory:
    """The memory that Kafka holds: the newest state of each station, and the last poll's record."""
    usable = last_poll.last_usable if last_poll else None
    if last_poll is None or usable is None:
        return Memory({}, last_poll)
    stations: dict[str, Station] = {}
    for code, record in states.items():
        state = StationState(**{name: getattr(record, name) for name in StationState.__struct_fields__})
        if isinstance(record, StateRecord) and record.absent_since is not None and record.absent_until is None:
            stations[code] = Station(state, record.last_report or usable.time, record.absent_since)
        elif (absence := last_poll.absent.get(code)) is not None:
            stations[code] = Station(state, absence.last_report, absence.since)
        else:
            stations[code] = Station(state, usable.time)
    return Memory(stations, last_poll)


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
        _differs(known.state, report)
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
        _spell(station.state, start, usable.time)
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
                known.state, _EPOCH, None if known.absent_since is None else min(known.absent_since, poll.time)
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
    mark_passed = _mark_before(now) > memory.last_cut
    for code in sorted(memory.stations.keys() | reports.keys()):
        known, report = memory.stations.get(code), reports.get(code)
        goes_on = known is not None and report is not None and _goes_on(known, report, now, rules)
        if known is not None and (mark_passed or not goes_on):
            spells += _finished(memory, known, report, now, rules)
        if report is not None:
            stale += known is not None and _went_back(known.state, report)
            state = _next_state(known.state if known else None, report, now, rules, goes_on=goes_on)
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
        last_cut=max(memory.last_cut, _mark_before(now)),
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


def record_of(state: StationState, station: Station | None, back_at: datetime | None = None) -> StateRecord:
    """The state as it is sent, with the station's absence: one that goes on, or one that ended at `back_at`."""
    fields = {name: getattr(state, name) for name in StationState.__struct_fields__}
    if station is None or station.absent_since is None:
        return StateRecord(**fields)
    if back_at is not None:
        return StateRecord(**fields, absent_since=station.absent_since, absent_until=back_at)
    return StateRecord(**fields, absent_since=station.absent_since, last_report=station.last_report)


def _moved(memory: Memory) -> tuple[StateRecord, ...]:
    """Absences that only the last poll's record tells, as older programs wrote it, to be told by the states."""
    told = memory.last_poll.absent if memory.last_poll else {}
    stations = (memory.stations[code] for code in sorted(told) if code in memory.stations)
    return tuple(record_of(station.state, station) for station in stations)


def _finished(memory: Memory, known: Station, report: Report | None, now: datetime, rules: Rules) -> Iterator[Spell]:
    """The spells of one station that this poll finishes: pieces up to each mark, and the rest if the state ended."""
    usable = memory.last_usable
    if usable is None or usable.time > known.last_report + rules.max_hold:
        return  # the hold ran out at an earlier poll, which closed the spell
    held_until = min(now, known.last_report + rules.max_hold)
    start = max(known.state.since, memory.last_cut)
    mark = _mark_before(start) + CUT
    while mark <= held_until:
        yield _spell(known.state, start, mark)
        start, mark = mark, mark + CUT
    ended = held_until < now or (report is not None and _differs(known.state, report))
    if ended and start < held_until:
        yield _spell(known.state, start, held_until)


def _goes_on(known: Station, report: Report, now: datetime, rules: Rules) -> bool:
    """Whether the report finds the state still holding. One whose hold ran out has ended, since nobody knows what came
    between: the same counts then start a new state."""
    return now <= known.last_report + rules.max_hold and not _differs(known.state, report)


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


def _differs(state: StationState, report: Report) -> bool:
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


def _went_back(state: StationState, report: Report) -> bool:
    return (
        state.last_reported is not None
        and report.last_reported is not None
        and report.last_reported < state.last_reported
    )


def _spell(state: StationState, since: datetime, until: datetime) -> Spell:
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


def _mark_before(time: datetime) -> datetime:
    """The newest cut mark at or before the time."""
    return time - (time - _EPOCH) % CUT


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
