"""What a French Excel makes of the cells of a CSV, and how each value must be written so that it stays what it is.

Pure: one value to the text of one cell. Called by `export.py` for `--excel` alone; every other file keeps texts to the
letter.
"""

import re
from datetime import UTC, datetime
from typing import Final

Value = str | float | int | bool | datetime | None

SHEET_ROWS: Final = 1_048_576
"""Rows of one sheet of Excel, the header counted (Microsoft, "Excel specifications and limits")."""

TOO_LONG: Final = (
    f"more rows than a sheet of Excel holds ({SHEET_ROWS:,} with the header): Excel shows the first ones alone. Choose "
    "fewer --days or one --station, or leave out --excel and read the file with pandas, DuckDB or Spark"
)

_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""The wide forms are read as formulas as well."""
_CONTROL: Final = frozenset("\t\r\n")
_LONGEST_NUMBER: Final = 15
"""Digits that Excel keeps of a number; the rest become zeros."""

_WHOLE_NUMBER: Final = re.compile(rf"[1-9][0-9]{{0,{_LONGEST_NUMBER - 1}}}|0")
_NUMBER_LIKE: Final = re.compile(r"\s*[0-9][0-9\s.,:/\-%€]*(?:e[+-]?[0-9]+)?\s*", re.IGNORECASE)
"""Leading zeros go, 1/2 and 1-2 become dates, 12:30 a time, 12e4 a hundred and twenty thousand."""
_MONTH: Final = (
    r"(?:janv(?:ier)?|f[ée]v(?:r(?:ier)?)?|mars|avr(?:il)?|mai|juin|juil(?:let)?|ao[ûu]t"
    r"|sept(?:embre)?|oct(?:obre)?|nov(?:embre)?|d[ée]c(?:embre)?)"
)
_DATE_IN_WORDS: Final = re.compile(
    rf"\s*(?:[0-9]{{1,2}}(?:er)?[\s/\-]*)?{_MONTH}\.?(?:[\s/\-]*[0-9]{{1,4}})?\s*", re.IGNORECASE
)
"""As 11 novembre 1918, 8 mai, or juillet 1789."""
_TRUTH: Final = frozenset({"TRUE", "FALSE", "VRAI", "FAUX"})


def cell(value: Value) -> str:
    """The text of one cell: decimal comma, 1 and 0 for true and false, times as 2024-11-07 08:00:00 (UTC).

    A text that Excel would run as a formula gets an apostrophe in front, one that it would turn into a number, a date
    or a truth value a tab, which is not seen there.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
    if isinstance(value, float):
        return repr(value).replace(".", ",")
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    if not value:
        return value
    if value[0] in _CONTROL or value.lstrip().startswith(_FORMULA):
        return f"'{value}"
    return f"\t{value}" if _changed_by_excel(value) else value


def _changed_by_excel(text: str) -> bool:
    if _WHOLE_NUMBER.fullmatch(text):
        return False
    return bool(_NUMBER_LIKE.fullmatch(text) or _DATE_IN_WORDS.fullmatch(text) or text.strip().upper() in _TRUTH)
