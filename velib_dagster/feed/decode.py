"""From the answers of one poll to reports: what kind of body it is, and which adapter reads it.

Judges by the answers alone; what needs the polls before (too short, repeated, repairable) is judged in `events/`.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from velib_dagster.feed import explore, gbfs
from velib_dagster.feed.answers import ANSWER, STATION_INFORMATION, STATION_STATUS, Answer, Snapshot
from velib_dagster.feed.reports import NOTHING, DecodedPoll, PollKind
from velib_dagster.feed.rows import UNDECODABLE, keys_of

_BOM: Final = b"\xef\xbb\xbf"
_AT_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_CLOSING: Final = {b"[": b"]", b"{": b"}"}

Body = list[msgspec.Raw] | dict[str, msgspec.Raw]
_BODY: Final[msgspec.json.Decoder[Body]] = msgspec.json.Decoder(Body)


class _BodyError(Exception):
    """The answer as a whole is no data; `kind` says which way."""

    def __init__(self, kind: PollKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def decode_snapshot(snapshot: Snapshot) -> DecodedPoll:
    """What a kept poll brought."""
    return decode(snapshot.answers, error=snapshot.error)


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
    try:
        body = _parse(first)
    except _BodyError as found:
        return _failed(found.kind, _with_role(first, str(found)))
    information = by_role.get(STATION_INFORMATION)
    if information is None:
        return _decode_one(body, error or "")
    try:
        rows, reason = _stations(_parse(information)), ""
    except _BodyError as found:
        rows, reason = None, _with_role(information, str(found))
    return gbfs.decode_stations(_stations(body), rows, reason)


def shape_of(answer: Answer) -> tuple[str, list[msgspec.Raw]]:
    """What an answer is recognised as, in words, and its rows as they are; an unreadable one has none."""
    try:
        body = _parse(answer)
    except _BodyError as found:
        return found.kind.value, []
    if isinstance(body, list):
        return ("Explore v1.0 records" if _is_v1(body) else "Explore v2.1 export"), body
    if "results" in body:
        return "Explore v2.1 page of records", _rows(body["results"])
    if "records" in body:
        return "Explore v1.0 page of records", _rows(body["records"])
    stations = _stations(body)
    return ("unknown JSON", []) if stations is None else (f"GBFS {gbfs.role_of(stations)}", stations)


def _decode_information_alone(by_role: dict[str, Answer], error: str | None) -> DecodedPoll:
    information = by_role[STATION_INFORMATION]
    try:
        return gbfs.decode_stations(None, _stations(_parse(information)), error or "")
    except _BodyError as found:
        return _failed(found.kind, _with_role(information, str(found)))


def _decode_one(body: Body, reason: str) -> DecodedPoll:
    """The reports of a body that stands alone, by its shape."""
    if isinstance(body, list):
        return explore.decode_v1(body, None) if _is_v1(body) else explore.decode_flat(body, None)
    if "results" in body:
        return explore.decode_flat(_rows(body["results"]), _number(body.get("total_count")))
    if "records" in body:
        return explore.decode_v1(_rows(body["records"]), _number(body.get("nhits")))
    stations = _stations(body)
    if stations is None:
        return _failed(PollKind.EMPTY, f"a JSON object of no known shape (keys: {', '.join(sorted(body)[:8])})")
    if gbfs.role_of(stations) == STATION_STATUS:
        return gbfs.decode_stations(stations, None, reason or "station_status alone, no station_information")
    return gbfs.decode_stations(None, stations, reason)


def _parse(answer: Answer) -> Body:
    """The JSON list or object of an answer.

    Raises:
        _BodyError: it is an error, broken off, or none.
    """
    text = answer.body.removeprefix(_BOM)
    if answer.status >= 400:
        raise _BodyError(PollKind.ERROR_PAYLOAD, f"HTTP {answer.status}: {_message(text)}")
    if answer.truncated:
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
        mended = _with_half_characters_replaced(text)
        if mended is None and _is_cut(text, str(error)):
            raise _BodyError(PollKind.TRUNCATED, f"the JSON breaks off after {len(answer.body)} bytes") from None
        if mended is None:
            kind = answer.headers.get("content-type", "no content type")
            raise _BodyError(PollKind.NOT_JSON, f"not JSON ({kind}) but {_start(text)}: {error}") from None
        body = mended
    if isinstance(body, dict) and ("error_code" in body or "errorcode" in body):
        raise _BodyError(PollKind.ERROR_PAYLOAD, _message(text))
    return body


def _with_half_characters_replaced(text: bytes) -> Body | None:
    """The body with "?" for each escape that is half of a UTF-16 pair, None where that isn't all that is wrong with it.

    Such an escape is JSON by its grammar, but msgspec gives up the whole answer for it.
    """
    try:
        return _BODY.decode(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", errors="replace"))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


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


def _stations(body: Body) -> list[msgspec.Raw] | None:
    """The rows below `data.stations`, None where the body has none."""
    if isinstance(body, list) or "data" not in body:
        return None
    try:
        return msgspec.json.decode(body["data"], type=_Stations).stations
    except UNDECODABLE:
        return None


class _Stations(msgspec.Struct):
    stations: list[msgspec.Raw]


def _rows(raw: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=list[msgspec.Raw])
    except UNDECODABLE:
        return []


def _number(raw: msgspec.Raw | None) -> int | None:
    try:
        return msgspec.json.decode(raw, type=int) if raw is not None else None
    except UNDECODABLE:
        return None


def _is_v1(rows: list[msgspec.Raw]) -> bool:
    """Whether the first row that is an object keeps its values below `fields`."""
    for row in rows:
        keys = keys_of(row)
        if keys:
            return "fields" in keys and "stationcode" not in keys
    return False
