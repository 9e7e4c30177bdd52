"""What the name of a recorded answer tells: when it was taken, and which of GBFS's documents it is.

Names as collectors give them, with separators or without. No file is opened here; called by `recordings.py`.
"""

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from velib_dagster.feed.answers import STATION_INFORMATION, STATION_STATUS, SYSTEM_REGIONS, VEHICLE_TYPES

_TIME: Final = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[T_\-. ]{0,3}(\d\d)[-_.:hH]?(\d\d)(?:[-_.:mM]?(\d\d))?"
    r"(?:[.,]\d{1,6})?s?(Z|\+\d\d:?\d\d|-\d\d:\d\d)?(?!\d)"
)
_EPOCH: Final = re.compile(r"(?<!\d)(1\d{9})(?:\d{3})?(?!\d)")
_ROLES: Final = {
    "stationinformation": STATION_INFORMATION,
    "stationstatus": STATION_STATUS,
    "vehicletypes": VEHICLE_TYPES,
    "systemregions": SYSTEM_REGIONS,
}
_NO_LETTER: Final = re.compile(r"[^a-z]+")


def time_in(name: str, zone: ZoneInfo) -> tuple[datetime, bool] | None:
    """The time (UTC) that a name carries, and whether it is local time in `zone`; None where it carries none.

    `20241107T074501Z` and what has an offset are what they say, ten digits that begin with 1 an epoch; the rest is
    local time: `20241107_084501`, `2024-11-07-08-45`, `2024_11_07_08_45_01`. Of an hour that comes twice the first.

    Raises:
        ValueError: it looks like a time and can't be one.
    """
    found = _TIME.search(name)
    if found is None:
        epoch = _EPOCH.search(name)
        return (datetime.fromtimestamp(int(epoch[1]), UTC), False) if epoch else None
    *numbers, offset = found.groups()
    text = "{}-{}-{}T{}:{}:{}".format(*(number or "00" for number in numbers))
    if offset is None:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC), True
    return datetime.fromisoformat(text + offset).astimezone(UTC), False


def role_in(name: str) -> str | None:
    """Which of GBFS's documents a name says that the file is, None where it says none."""
    letters = _NO_LETTER.sub("", name.lower())
    return next((role for words, role in _ROLES.items() if words in letters), None)


def without_numbers(name: str) -> str:
    """What the names of one collector have in common."""
    return re.sub(r"\d+", "#", name)
