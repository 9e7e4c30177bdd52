"""From the answers of one poll to reports: what kind of body it is, and which adapter reads it.

Judges by the answers alone; what needs the polls before (too short, repeated, repairable) is judged in `events/`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from velib_dagster.feed import explore, gbfs, vehicles
from velib_dagster.feed.answers import (
    ANSWER,
    STATION_INFORMATION,
    STATION_STATUS,
    SYSTEM_REGIONS,
    VEHICLE_TYPES,
    Answer,
    Snapshot,
)
from velib_dagster.feed.bodies import json_text
from velib_dagster.feed.discovery import discovered
from velib_dagster.feed.lenient import remade, with_bad_rows_null
from velib_dagster.feed.reports import NOTHING, DecodedPoll, PollKind
from velib_dagster.feed.rows import UNDECODABLE, keys_of, unwrapped
from velib_dagster.feed.values import Mends
from velib_dagster.masking import masked

_AT_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_CLOSING: Final = {b"[": b"]", b"{": b"}"}
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)  # a string without end goes to the end
_DEEPEST: Final = 3

Body = list[msgspec.Raw] | dict[str, msgspec.Raw]
_BODY: Final[msgspec.json.Decoder[Body]] = msgspec.json.Decoder(Body)


class _BodyError(Exception):
    """The answer as a whole is no data; `kind` says which way."""

    def __init__(self, kind: PollKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def decode_snapshot(snapshot: Snapshot, feed: str = "") -> DecodedPoll:
    """What a kept poll brought; an answer that repeats a key of the feed's address is quoted without it."""
    poll = decode(snapshot.answers, error=snapshot.error)
    return msgspec.structs.replace(poll, reason=masked(poll.reason, feed)) if poll.reason else poll


def decode(answers: Sequence[Answer], error: str | None = None) -> DecodedPoll:
    """What the answers of one poll bring; `error` is what the client said went wrong, if anything.

    Never raises for what a feed can send: a poll that gives nothing has its `failure` and a reason in words.
    """
    if not answers:
        return _failed(PollKind.NO_ANSWER, error or "no answer came")
    by_role = {answer.role: answer for answer in answers}
    first = by_role.get(STATION_STATUS) or by_role.get(ANSWER)
    if first is None:
        return _decode_information_alone(by_role, error)
    mends: Mends = Counter()
    try:
        body = _parse(first, mends)
    except _BodyError as found:
        return _failed(found.kind, _with_role(first, str(found)))
    information = by_role.get(STATION_INFORMATION)
    if first.role == ANSWER:
        return _decode_one(first, body, error or "", mends)
    rows, reason = None, error or ""
    if information is not None:
        try:
            rows, reason = _stations(_parse(information, mends)), ""
        except _BodyError as found:
            reason = _with_role(information, str(found))
    beside = gbfs.Beside(
        types=vehicle_types(by_role.get(VEHICLE_TYPES)),
        regions=gbfs.regions_of(_below(by_role.get(SYSTEM_REGIONS), "regions")),
    )
    return gbfs.decode_stations(_stations(body), rows, reason, beside=beside, mends=mends)


def shape_of(answer: Answer) -> tuple[str, list[msgspec.Raw]]:
    """What an answer is recognised as, in words, and its rows as they are; an unreadable one has none."""
    try:
        body = _parse(answer, Counter())
    except _BodyError as found:
        return found.kind.value, []
    if answer.role in {VEHICLE_TYPES, SYSTEM_REGIONS}:
        return f"GBFS {answer.role}", []
    version = f"Explore {_version(body)}"
    stations = _stations(body)
    if stations is not None:
        return f"GBFS {gbfs.role_of(stations)}", stations
    if isinstance(body, list):
        return (f"{version} export" if version == "Explore v2.1" else f"{version} records"), body
    rows = body.get("results") or body.get("records")
    return ("unknown JSON", []) if rows is None else (f"{version} page of records", _rows(rows))


def vehicle_types(answer: Answer | None) -> vehicles.VehicleTypes:
    """What a vehicle_types document says, nothing where there is none or it can't be read."""
    return vehicles.types_of(_below(answer, VEHICLE_TYPES))


def timezone_of(answer: Answer) -> str | None:
    """The time zone that a system_information document names, None where it names none that is known here."""
    found = _data(answer).get("timezone")
    try:
        return ZoneInfo(found.strip()).key if isinstance(found, str) else None
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def ids_of(answer: Answer) -> frozenset[str]:
    """The ids of the stations that a document of GBFS lists, none where it can't be read."""
    try:
        rows = _stations(_parse(answer, Counter())) or []
    except _BodyError:
        return frozenset()
    return gbfs.ids_of(rows)


def _decode_information_alone(by_role: dict[str, Answer], error: str | None) -> DecodedPoll:
    information = by_role.get(STATION_INFORMATION)
    if information is None:
        return _failed(PollKind.NO_ANSWER, error or "no answer came")
    try:
        return gbfs.decode_stations(None, _stations(_parse(information, Counter())), error or "")
    except _BodyError as found:
        return _failed(found.kind, _with_role(information, str(found)))


def _decode_one(answer: Answer, body: Body, reason: str, mends: Mends) -> DecodedPoll:
    """The reports of a body that stands alone, by its shape."""
    stations = _stations(body)
    if stations is not None:
        if gbfs.role_of(stations) == STATION_STATUS:
            reason = reason or "station_status alone, no station_information"
            return gbfs.decode_stations(stations, None, reason, mends=mends)
        return gbfs.decode_stations(None, stations, reason)
    if isinstance(body, list):
        return explore.decode_explore(body, None, mends)
    for key in ("results", "records"):
        if key in body:
            total = _number(body.get("total_count")) or _number(body.get("nhits"))
            return explore.decode_explore(_rows(body[key]), total, mends)
    named = discovered(answer.body, answer.headers)
    if named is not None and STATION_STATUS not in named:
        words = f"the discovery document names no station_status (but {', '.join(sorted(named)[:8]) or 'nothing'})"
        return _failed(PollKind.EMPTY, words)
    return _failed(PollKind.EMPTY, f"a JSON object of no known shape (keys: {', '.join(sorted(body)[:8])})")


def _below(answer: Answer | None, key: str) -> object:
    """What stands below `data.<key>` of a document beside the two, None where there is none that can be read."""
    return None if answer is None else _data(answer).get(key)


def _data(answer: Answer) -> dict[str, object]:
    """The object below `data` of a document, empty where there is none that can be read."""
    try:
        body = _parse(answer, Counter())
        raw = body.get("data") if isinstance(body, dict) else None
        return msgspec.json.decode(raw, type=dict[str, object]) if raw is not None else {}
    except (_BodyError, *UNDECODABLE):
        return {}


def _parse(answer: Answer, mends: Mends) -> Body:
    """The JSON list or object of an answer.

    Raises:
        _BodyError: it is an error, broken off, or none.
    """
    text, whole = json_text(answer.body, answer.headers, mends)
    if answer.status >= 400:
        raise _BodyError(PollKind.ERROR_PAYLOAD, f"HTTP {answer.status}: {_message(text)}")
    if answer.truncated or not whole:
        raise _BodyError(PollKind.TRUNCATED, f"the connection broke off after {len(answer.body)} bytes")
    if not text.strip():
        raise _BodyError(PollKind.EMPTY, f"HTTP {answer.status} without a body")
    try:
        body = _BODY.decode(text)
    except msgspec.ValidationError:
        raise _BodyError(PollKind.EMPTY, f"JSON without rows: {_start(text)}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise _BodyError(PollKind.NOT_JSON, f"not to be read as JSON ({error}): {_start(text)}") from None
    except msgspec.DecodeError as error:
        body = _almost_json(answer, text, error, mends)
    if isinstance(body, dict) and ("error_code" in body or "errorcode" in body):
        raise _BodyError(PollKind.ERROR_PAYLOAD, _message(text))
    return body


def _almost_json(answer: Answer, text: bytes, error: msgspec.DecodeError, mends: Mends) -> Body:
    """The body where a few characters are all that is wrong with it.

    Raises:
        _BodyError: it breaks off, or is no JSON.
    """
    try:
        body = _BODY.decode(remade(text) or b"")
    except UNDECODABLE:
        pass
    else:
        mends["answer_not_quite_json"] += 1
        return body
    cut = _is_cut(text, str(error))
    row_by_row = None if cut else with_bad_rows_null(text)
    if row_by_row is not None:
        try:
            body = _BODY.decode(row_by_row[0])
        except UNDECODABLE:
            pass
        else:
            mends["answer_not_quite_json"] += 1
            return body
    if cut or _is_unbalanced(text):
        raise _BodyError(PollKind.TRUNCATED, f"the JSON breaks off after {len(answer.body)} bytes")
    kind = answer.headers.get("content-type", "no content type")
    packed = answer.headers.get("content-encoding")
    kind += f", {packed}" if packed else ""
    raise _BodyError(PollKind.NOT_JSON, f"not JSON ({kind}) but {_start(text)}: {error}")


def _is_unbalanced(text: bytes) -> bool:
    """Whether a body that begins as JSON has more opening brackets than closing ones outside of strings."""
    if text.strip()[:1] not in _CLOSING:
        return False
    found = Counter(token for token in _TOKEN.findall(text) if len(token) == 1)
    return found[b"["] > found[b"]"] or found[b"{"] > found[b"}"]


def _is_cut(text: bytes, error: str) -> bool:
    """Whether a body that isn't valid JSON is the beginning of one."""
    stripped = text.strip()
    closing = _CLOSING.get(stripped[:1])
    if closing is None:
        return False
    if "trailing characters" in error:
        return False
    at = _AT_BYTE.search(error)
    at_end = at is not None and int(at[1]) >= len(text.rstrip())
    # A cut inside an escape may be told as a bad escape; a list that ends without its bracket is cut all the same.
    return "truncated" in error or at_end or not stripped.endswith(closing)


def _message(text: bytes) -> str:
    """What an error answer says, in its own words."""
    try:
        body = msgspec.json.decode(text, type=dict[str, object])
    except UNDECODABLE:
        return _start(text) if text.strip() else "no text"
    words = [str(body[key]) for key in ("error_code", "errorcode", "message", "error") if body.get(key) is not None]
    if body.get("reset_time") is not None:
        words.append(f"reset at {body['reset_time']}")
    return ": ".join(words) or _start(text)


def _start(text: bytes) -> str:
    return repr(text[:80].decode("utf-8", errors="replace"))


def _with_role(answer: Answer, reason: str) -> str:
    return reason if answer.role == ANSWER else f"{answer.role}: {reason}"


def _failed(kind: PollKind, reason: str) -> DecodedPoll:
    return msgspec.structs.replace(NOTHING, failure=kind, reason=reason)


def _stations(body: Body, depth: int = 0) -> list[msgspec.Raw] | None:
    """The rows of a GBFS document, below `data.stations` as a list or by id, None where the body is none."""
    if isinstance(body, list):
        first = next((keys for row in body if (keys := keys_of(row))), frozenset())
        return body if gbfs.IDENTITY & first and not explore.IDENTITY & first else None
    found = body.get("stations")
    inner = body.get("data")
    try:
        if found is not None:
            rows = _BODY.decode(found)
            return rows if isinstance(rows, list) else list(rows.values())
        return _stations(_BODY.decode(inner), depth + 1) if inner is not None and depth < _DEEPEST else None
    except UNDECODABLE:
        return None


def _rows(raw: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=list[msgspec.Raw])
    except UNDECODABLE:
        return []


_RowCount = Annotated[int, Meta(ge=0, le=10_000_000)]
"""Rows that a feed says it has; what is beyond says nothing, and no column of 32 bits holds it."""


def _number(raw: msgspec.Raw | None) -> int | None:
    try:
        return msgspec.json.decode(raw, type=_RowCount) if raw is not None else None
    except UNDECODABLE:
        return None


def _version(body: Body) -> str:
    """The version of Explore that a body is of, by where its first row has the values."""
    rows = body if isinstance(body, list) else _rows(body.get("results") or body.get("records") or msgspec.Raw(b"[]"))
    for row in rows:
        keys = keys_of(row)
        if keys and not explore.IDENTITY & keys and unwrapped(row, explore.IDENTITY) is not None:
            return "v1.0" if "fields" in keys else "v2.0"
    return "v2.1" if isinstance(body, list) or "results" in body else "v1.0"
