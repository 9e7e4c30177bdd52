"""The records that travel through Kafka, defined once.

JSON of the topics, Spark schemas, the CSV header, SQL columns with their comments and the JSON Schemas in
`docs/schemas/` all derive from these structs. How a record comes about belongs to `advance.py`.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from velib_dagster.feed.reports import PollKind

MOST_REASON: Final = 500
"""Characters of a reason."""

Whole = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
"""A whole number that every store takes."""
Instant = Annotated[datetime, Meta(tz=True)]
"""A time that names its zone."""


class StationState(msgspec.Struct, frozen=True, kw_only=True):
    """The station as it is: its state, name and place since the newest change of the state."""

    station_code: Annotated[
        str, Meta(description="Public code of the station; a string, may carry a suffix (7101_relais)")
    ]
    name: Annotated[str, Meta(description="Name of the station")]
    zone: Annotated[str, Meta(description="Arrondissement in Paris (Paris 16e), commune elsewhere")]
    cell: Annotated[str, Meta(description="H3 cell of resolution 8, about 0.74 km²")]
    lat: Annotated[float, Meta(description="Latitude, degrees WGS84")]
    lon: Annotated[float, Meta(description="Longitude, degrees WGS84")]
    capacity: Annotated[Whole | None, Meta(description="Docks that the operator declares, the last good value")]
    since: Annotated[Instant, Meta(description="Poll time (UTC) since which the station has held this state")]
    bikes: Annotated[Whole, Meta(description="Bikes available")]
    mechanical: Annotated[Whole | None, Meta(description="Mechanical bikes available")]
    ebike: Annotated[Whole | None, Meta(description="E-bikes available")]
    docks: Annotated[Whole | None, Meta(description="Free docks")]
    is_installed: Annotated[bool, Meta(description="The station is on the street")]
    is_renting: Annotated[bool, Meta(description="The station lets bikes")]
    is_returning: Annotated[bool, Meta(description="The station takes bikes back")]
    last_reported: Annotated[
        Instant | None,
        Meta(description="The feed's own time stamp (UTC): an hourly heartbeat, not the time of the counts"),
    ]

    @property
    def in_service(self) -> bool:
        """Installed, renting and returning."""
        return self.is_installed and self.is_renting and self.is_returning


class StateRecord(StationState, frozen=True, kw_only=True, omit_defaults=True):
    """One record of the topic `states` (compacted): the station as it is, and whether polls lack it.

    Sent when state, name or place changed, and, with the three last fields, when an absence begins and when it ends.
    """

    absent_since: Annotated[
        Instant | None, Meta(description="First usable poll (UTC) that lacks the station; left out while none does")
    ] = None
    absent_until: Annotated[
        Instant | None, Meta(description="The poll (UTC) that has the station again; left out while it is absent")
    ] = None
    last_report: Annotated[
        Instant | None, Meta(description="Poll time (UTC) of the last report before an absence that goes on")
    ] = None


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """A station held one state from `since` to `until`: one finished spell (topic `spells`, a row of the CSV)."""

    station_code: Annotated[
        str, Meta(description="Public code of the station; a string, may carry a suffix (7101_relais)")
    ]
    name: Annotated[str, Meta(description="Name of the station")]
    zone: Annotated[str, Meta(description="Arrondissement in Paris (Paris 16e), commune elsewhere")]
    cell: Annotated[str, Meta(description="H3 cell of resolution 8, about 0.74 km²")]
    lat: Annotated[float, Meta(description="Latitude, degrees WGS84")]
    lon: Annotated[float, Meta(description="Longitude, degrees WGS84")]
    capacity: Annotated[Whole | None, Meta(description="Docks that the operator declares, the last good value")]
    since: Annotated[Instant, Meta(description="Start of the spell (UTC), inclusive")]
    until: Annotated[Instant, Meta(description="End of the spell (UTC), exclusive")]
    seconds: Annotated[Whole, Meta(description="Length of the spell in seconds, the weight of its values")]
    bikes: Annotated[Whole, Meta(description="Bikes available")]
    mechanical: Annotated[Whole | None, Meta(description="Mechanical bikes available")]
    ebike: Annotated[Whole | None, Meta(description="E-bikes available")]
    docks: Annotated[Whole | None, Meta(description="Free docks")]
    is_installed: Annotated[bool, Meta(description="The station is on the street")]
    is_renting: Annotated[bool, Meta(description="The station lets bikes")]
    is_returning: Annotated[bool, Meta(description="The station takes bikes back")]
    last_reported: Annotated[
        Instant | None,
        Meta(description="The feed's own time stamp (UTC): an hourly heartbeat, not the time of the counts"),
    ]


class NetworkTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the stations of one usable poll; a sum leaves out stations where the value is unknown."""

    stations: int
    in_service: int
    bikes: int
    mechanical: int
    ebike: int
    docks: int
    capacity: int


class LastUsable(msgspec.Struct, frozen=True, kw_only=True):
    """The newest poll whose reports counted, and when its document was made by its own words."""

    time: datetime
    reports: int
    document_made_at: datetime | None = None


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """A station that the newest usable poll lacks, as poll records of before told it."""

    last_report: datetime
    since: datetime


class Void(msgspec.Struct, frozen=True, kw_only=True):
    """What polls brought whose clock turned out to have been ahead: times in `(after, until]` that never were.

    Spells at offsets below `spells_below` of the topic `spells` that begin after `after` are void.
    """

    after: datetime
    until: datetime
    spells_below: int


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast the feed's stations change, and for how long none has.

    `hourly` has the mean changes an hour for each hour of the day (UTC), None where too little was seen, and `seconds`
    what each was learnt from. `still_since` is the first usable poll of those in a row without a change, and
    `still_expected` how many changes were to be expected since.
    """

    hourly: tuple[float | None, ...]
    seconds: tuple[int, ...]
    still_since: datetime | None = None
    still_expected: float = 0.0
    changed_at: datetime | None = None


class PollRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One try to poll the feed, answered or not (topic `polls`): with the states, the producer's whole memory."""

    snapshot: Annotated[str, Meta(description="Name of the raw snapshot; names sort in the order of the polls")]
    time: Annotated[
        datetime,
        Meta(description="Poll time (UTC): as a rule the answer's Date header; the event time of all that follows"),
    ]
    kind: Annotated[PollKind, Meta(description="usable, repaired, or why the poll gives no station events")]
    reason: Annotated[str, Meta(description="What was found, in words; empty for a plain usable poll")]
    rows: Annotated[int, Meta(description="Rows in the answer, refused ones included")]
    total_count: Annotated[int | None, Meta(description="Rows that the feed says it has")]
    reports: Annotated[int, Meta(description="Valid rows")]
    refused: Annotated[dict[str, int], Meta(description="Refused rows by reason")]
    repaired: Annotated[int, Meta(description="Reports completed with the last good name, place or capacity")]
    changed: Annotated[int, Meta(description="Stations whose state, name or place changed: records sent to states")]
    unchanged: Annotated[int, Meta(description="Stations reported as they were: nothing sent")]
    stale: Annotated[
        int,
        Meta(description="Reports whose last_reported went back; a sign of the feed's health that decides nothing"),
    ]
    spells: Annotated[int, Meta(description="Finished spells sent")]
    totals: Annotated[NetworkTotals | None, Meta(description="Network totals of a usable poll")]
    clock_offset_seconds: Annotated[
        int | None,
        Meta(description="Date header minus local clock where they were more than 120 s apart, whichever was believed"),
    ]
    last_usable: Annotated[LastUsable | None, Meta(description="Newest usable poll so far, this one included")]
    last_cut: Annotated[datetime | None, Meta(description="Newest time at which all running spells were cut")]
    absent: Annotated[
        dict[str, Absence],
        Meta(description="Empty; in old records, stations missing from the newest usable poll, now told by the states"),
    ] = {}
    mended: Annotated[
        dict[str, int], Meta(description="Values read leniently or given up alone, by field and what was wrong")
    ] = {}
    zones: Annotated[
        str, Meta(description="Which rule, and which file by its hash, the zones of the states follow; empty before")
    ] = ""
    document_made_at: Annotated[
        datetime | None,
        Meta(description="When the document was made by its own words (last_updated, Last-Modified), UTC"),
    ] = None
    document_age_seconds: Annotated[
        int | None, Meta(description="How old the document was at the poll, by itself or by the caches' Age")
    ] = None
    stamp_wrong: Annotated[
        bool, Meta(description="Stations move while the document calls itself old: its age is not believed")
    ] = False
    frozen_since: Annotated[
        datetime | None,
        Meta(description="First poll of a freeze: no station changed since, where at least 10 changes were due"),
    ] = None
    pace: Annotated[Pace | None, Meta(description="Mean changes by hour of the day, and since when none came")] = None
    voids: Annotated[
        tuple[Void, ...] | None,
        Meta(description="Newest spans of time that polls with a clock ahead brought and that are void, if any"),
    ] = None
    absent_stations: Annotated[int, Meta(description="Stations of the network that the newest usable poll lacks")] = 0
    set_aside: Annotated[
        int, Meta(description="Polls in a row, up to this one, that could not be processed and were set aside")
    ] = 0

    def old_document(self, max_hold_seconds: int) -> bool:
        """Whether the document was older at the poll than states hold, and that is believed."""
        return (
            self.document_age_seconds is not None
            and self.document_age_seconds > max_hold_seconds
            and not self.stamp_wrong
        )


_ENCODER: Final = msgspec.json.Encoder()


def utc(value: datetime) -> datetime:
    """The same instant as UTC, so that one instant has one text."""
    return value.astimezone(UTC)


def reason_of(text: str) -> str:
    """A reason of bounded length that every store takes: it may quote what a feed sent."""
    clean = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return clean if len(clean) <= MOST_REASON else f"{clean[: MOST_REASON - 2]} …"


def encode(record: StationState | Spell | PollRecord) -> bytes:
    """The record's JSON, UTF-8."""
    return _ENCODER.encode(record)


decode_state: Final = msgspec.json.Decoder(StateRecord).decode
decode_poll: Final = msgspec.json.Decoder(PollRecord).decode
_decode_spell: Final = msgspec.json.Decoder(Spell).decode


def decode_spell(value: bytes) -> Spell:
    """The spell of a record of the topic `spells`.

    Raises:
        msgspec.DecodeError, ValueError: it is none, or its seconds are not those between its start and its end.
    """
    spell = _decode_spell(value)
    if (spell.until - spell.since).total_seconds() != spell.seconds:
        msg = f"{spell.seconds} seconds between {spell.since.isoformat()} and {spell.until.isoformat()}"
        raise ValueError(msg)
    return spell


class Column(msgspec.Struct, frozen=True):
    """One field of a record as the stores see it."""

    name: str
    type: type
    nullable: bool
    description: str


def columns(record: type[msgspec.Struct]) -> tuple[Column, ...]:
    """The fields of a record in order, with plain type, nullability and description."""
    found: list[Column] = []
    for name, hint in get_type_hints(record, include_extras=True).items():
        described = get_origin(hint) is Annotated
        inner = get_args(hint)[0] if described else hint
        options = [option for option in get_args(inner) if option is not type(None)]
        nullable = type(None) in get_args(inner)
        plain = options[0] if nullable else inner
        if get_origin(plain) is Annotated:
            plain = get_args(plain)[0]
        description = next((m.description for m in getattr(hint, "__metadata__", ()) if m.description), "")
        found.append(Column(name, get_origin(plain) or plain, nullable, description))
    return tuple(found)


CSV_HEADER: Final = tuple(column.name for column in columns(Spell))
"""Columns of the archive: the fields of a spell, in order."""
