"""From rows to reports, whatever the format: each station counts once, and a row that is no report costs only itself.

No format of any API belongs here; `explore.py` and `gbfs.py` call it with what they know of a row.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from velib_dagster.feed.lenient import remade
from velib_dagster.feed.reports import DecodedPoll, PollKind, Refusal, Report
from velib_dagster.feed.values import Mends, RowRefusedError

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that a feed can send: bad JSON or types, bad UTF-8, nesting without end."""

R = TypeVar("R")
T = TypeVar("T")

_KEYS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DEEPEST: Final = 3
_MANY_NULL_CODES: Final = 0.5
"""Share of rows without a code above which the answer is one of the network-wide broken ones."""


def is_object(row: msgspec.Raw) -> bool:
    """Whether a row is a JSON object at all."""
    return bytes(row).lstrip()[:1] == b"{"


def keys_of(row: msgspec.Raw) -> frozenset[str]:
    """Keys of a row, none where it isn't a readable object."""
    try:
        return frozenset(_KEYS.decode(row))
    except UNDECODABLE:
        return frozenset()


def unwrapped(row: msgspec.Raw, keys: frozenset[str], depth: int = 0) -> msgspec.Raw | None:
    """The one object in a row that has one of the keys: the row itself, else the only one below it, else None.

    Explore v1.0 has its values below `fields`, v2.0 below `record.fields`; some servers wrap each row of GBFS.
    """
    if not is_object(row):
        return None
    try:
        values = _KEYS.decode(row)
    except UNDECODABLE:
        return None
    if keys & values.keys():
        return row
    if depth == _DEEPEST:
        return None
    found = [inner for value in values.values() if (inner := unwrapped(value, keys, depth + 1)) is not None]
    return found[0] if len(found) == 1 else None


def identified(
    row: msgspec.Raw, decoder: msgspec.json.Decoder[T], keys: frozenset[str], has_one: Callable[[T], bool]
) -> tuple[T, bool]:
    """The row as a struct, and whether it had to be taken out of another object that wraps it.

    Raises:
        RowRefusedError: it is no object, or can't be read.
    """
    found = decoded_row(row, decoder)
    if has_one(found):
        return found, False
    inner = unwrapped(row, keys)
    return (found, False) if inner is None or inner is row else (decoded_row(inner, decoder), True)


def decoded_row(row: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """The row as a struct; one with a value that JSON forbids loses that value alone.

    Raises:
        RowRefusedError: it is no object, or can't be read.
    """
    if not is_object(row):
        raise RowRefusedError(Refusal.NOT_A_ROW)
    try:
        return decoder.decode(row)
    except UNDECODABLE:
        pass
    try:
        return decoder.decode(remade(bytes(row)) or b"")
    except UNDECODABLE:
        raise RowRefusedError(Refusal.BAD_TYPE) from None


def decode_rows(
    rows: Iterable[R],
    row_of: Callable[[R], tuple[str | None, T]],
    report_of: Callable[[str, T], Report],
    *,
    mends: Mends,
    total_count: int | None = None,
    reason: str = "",
) -> DecodedPoll:
    """Reports of the rows, one by one; of several rows with one code the first that is a report counts.

    `row_of` gives a row's code and what is read of it, `report_of` its report; both may refuse it. Where more than half
    of the rows have no code, or none is valid, the poll fails as a whole.
    """
    reports: dict[str, Report] = {}
    bad: dict[str, Refusal] = {}
    nameless: Counter[Refusal] = Counter()
    again = 0
    for raw in rows:
        code: str | None = None
        try:
            code, row = row_of(raw)
            if code is None:
                raise RowRefusedError(Refusal.NULL_STATIONCODE)  # noqa: TRY301 - one place counts refusals
            if code in reports:
                again += 1
                continue
            reports[code] = report_of(code, row)
        except RowRefusedError as error:
            if code is None:
                nameless[error.reason] += 1
            else:
                again += code in bad
                bad.setdefault(code, error.reason)
        else:
            again += bad.pop(code, None) is not None
    refused = nameless + Counter(bad.values()) + Counter({Refusal.DUPLICATE_STATION: again})
    count = len(reports) + len(bad) + nameless.total()
    no_code = refused[Refusal.NULL_STATIONCODE]
    failure: PollKind | None = None
    if count == 0:
        failure, reason = PollKind.EMPTY, "the answer has no row"
    elif no_code > count * _MANY_NULL_CODES:
        failure, reason = PollKind.NULL_STATIONCODE, f"{no_code} of {count} rows have no station code"
    elif not reports:
        words = ", ".join(f"{number} {name}" for name, number in sorted(refused.items()) if number)
        failure, reason = PollKind.EMPTY, f"none of {count} rows is valid: {words}"
    return DecodedPoll(
        failure=failure,
        reason=reason,
        reports=() if failure else tuple(reports.values()),
        refused=dict(sorted(refused.items())),
        rows=count,
        total_count=total_count,
        mended=dict(sorted(mends.items())),
    )
