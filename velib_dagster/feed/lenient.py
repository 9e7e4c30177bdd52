"""JSON that is almost JSON: an answer whose few bad characters cost the value or the row they stand in, and no more.

Called where a strict reading has failed. What is broken off or no JSON at all stays what it is (None).
"""

import json
import math
import re
from typing import Final

_ESCAPE: Final = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|\\')
_LISTS: Final = re.compile(r'(?:"(?:results|records|stations)"\s*:\s*|^\s*)\[\s*(?=\{)')
_FIRST_KEY: Final = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"\s*:')
_LIST_END: Final = re.compile(r"\}\s*\]")
_LONGEST_INTEGER: Final = 40
_MOST_ROWS: Final = 100_000
"""The largest network has 3,000 stations; an answer of far more rows isn't worth a minute's time."""
_ERRORS: Final = (ValueError, RecursionError)


def remade(text: bytes) -> bytes | None:
    """The same JSON, valid, or None where it is none even with what JSON forbids.

    NaN, Infinity and numbers beyond all bounds become null, control characters in strings are escaped, a backslash that
    begins no escape stands for itself, halves of UTF-16 pairs become "?", bytes that are no UTF-8 the replacement
    character.
    """
    try:
        return _written(_read(text.decode("utf-8", errors="replace")))
    except _ERRORS:
        return None


def with_bad_rows_null(text: bytes) -> tuple[bytes, int] | None:
    """An answer whose rows are read one by one, each bad one as null, and how many those are.

    The rows are told apart by the key with which the first begins, since one writer begins all alike. None where the
    list of rows isn't found or has no end, what stands around it can't be read, or fewer rows are good than bad.
    """
    whole = text.decode("utf-8", errors="replace")
    begin = _LISTS.search(whole)
    first = _FIRST_KEY.match(whole, begin.end()) if begin else None
    if begin is None or first is None:
        return None
    starts = [
        found.start(1) for found in re.finditer(rf'[\[,]\s*(\{{\s*"{re.escape(first[1])}"\s*:)', whole[begin.start() :])
    ]
    starts = [begin.start() + start for start in starts]
    if len(starts) > _MOST_ROWS:
        return None
    ends = list(_LIST_END.finditer(whole, starts[-1])) if starts else []
    if not ends:
        return None
    end = ends[-1].start() + 1
    rows = [_row(whole[at:to]) for at, to in zip(starts, [*starts[1:], end], strict=True)]
    bad = rows.count("null")
    before, after = whole[: begin.end()], whole[ends[-1].end() - 1 :]
    try:
        frame = _read(before + after)
    except _ERRORS:
        return None
    if not isinstance(frame, dict | list) or bad * 2 > len(rows):
        return None
    return (before + ",".join(rows) + after).encode("utf-8", errors="replace"), bad


def _row(text: str) -> str:
    try:
        return _written(_read(text.rstrip().removesuffix(","))).decode()
    except _ERRORS:
        return "null"


def _read(text: str) -> object:
    escaped = _ESCAPE.sub(lambda found: found[0] if len(found[0]) > 1 else "\\\\", text)
    return _DECODER.decode(escaped)


def _written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", errors="replace")


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _short_integer(text: str) -> int | None:
    return int(text) if len(text) <= _LONGEST_INTEGER else None


_DECODER: Final = json.JSONDecoder(
    strict=False, parse_constant=lambda _: None, parse_float=_finite, parse_int=_short_integer
)
