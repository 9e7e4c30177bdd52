"""Whether a poll's document is old news: one that nothing moved in, or an older variant of one already seen.

Pure; called by `advance.py` with what the poll before left in the record of polls.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from velib_dagster.events.records import PollRecord
from velib_dagster.feed.document_age import DocumentAge, in_words

STILL_FOR: Final = timedelta(seconds=150)
"""Nothing must have moved for so long before an old document counts as outdated: some polls, not one."""

_SECONDS: Final = 2**31 - 1


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a document's age, and how many stations `moved` in it; `outdated` why it gives no events."""

    made_at: datetime | None
    age_seconds: int | None
    stamp_wrong: bool
    moved: int
    outdated: str = ""
    note: str = ""


def freshness(
    document: DocumentAge, now: datetime, last: PollRecord | None, moved: int, max_hold: timedelta
) -> Freshness:
    """What the document's age means, where `moved` stations have another state than on record.

    An old document in which nothing has moved for a while is outdated, unless its stamp is known to be wrong (stations
    moved under it before) or goes on, if late. One made before the newest one seen, by no more than a hold, is an
    older variant, as from two caches in turn; a stamp that goes back further was put right, and is only told.
    """
    age = document.age(now)
    limit = max(timedelta(seconds=document.ttl_seconds), max_hold)
    seen = last.last_usable.document_made_at if last and last.last_usable else None
    wrong = last.stamp_wrong if last else False
    old = age is not None and age > limit
    goes_on = seen is not None and document.made_at is not None and document.made_at > seen
    outdated = note = ""
    if age is not None and old:
        note = f"the document was made {in_words(age)} before the poll"
        if moved:
            note += ", by its own words, while its stations move: its age is not believed"
        elif not wrong and not goes_on and _still(last, now):
            outdated = f"{note}, and nothing has moved in it"
    elif age is not None and age < -limit:
        note = f"the document says that it was made {in_words(-age)} after the poll"
    if seen is not None and document.made_at is not None and seen - max_hold <= document.made_at < seen:
        outdated = f"an older document ({document.made_at:%H:%M:%S} UTC) than one already seen ({seen:%H:%M:%S} UTC)"
    return Freshness(
        made_at=document.made_at,
        age_seconds=None if age is None else max(-_SECONDS, min(int(age.total_seconds()), _SECONDS)),
        stamp_wrong=old and (wrong or moved > 0),
        moved=moved,
        outdated=outdated,
        note=note,
    )


def _still(last: PollRecord | None, now: datetime) -> bool:
    changed_at = last.pace.changed_at if last and last.pace else None
    return changed_at is not None and now - changed_at >= STILL_FOR
