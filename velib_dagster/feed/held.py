"""With which time a poll is published: its own, or the one that the polls after it give it; until then it is held back.

Pure; called by the producer for each waiting snapshot, in order.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from velib_dagster.feed.poll_time import (
    NEAR,
    TOLERANCE,
    Dated,
    PollTime,
    elapsed_between,
    whole_seconds,
)

HELD_POLLS: Final = 10
"""A poll whose time isn't confirmed waits for so many polls after it at most."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The time with which a poll is published, None where no clock tells it.

    `now` is what time it was when it was made, None where only its own Date tells (a recording). `note` says in words
    what its clocks disagreed about.
    """

    time: datetime | None
    now: datetime | None
    note: str = ""


def settled(poll: Dated, later: Sequence[Dated]) -> Settled | None:
    """The time with which a poll is published, None while polls after it must still confirm or refute its own.

    A refuted time is replaced by that of the first confirmed poll after it, less what the boot clock counted between
    them. Where nothing was counted, or ten polls came and none is confirmed, the time stays unknown.
    """
    told = poll.told
    if told is None:
        return Settled(time=poll.time, now=None)
    if told.confirmed:
        return Settled(time=told.time, now=told.now, note=told.note)
    for one in later:
        if one.told is not None and one.confirmed:
            return _by_witness(poll, told, one)
    if len(later) < HELD_POLLS:
        return None
    return _unknown(f"{told.note}; nor has one of the {len(later)} polls after it a clock that can be believed")


def _by_witness(poll: Dated, told: PollTime, witness: Dated) -> Settled:
    own = Settled(time=told.time, now=told.now, note=told.note)
    elapsed = elapsed_between(poll.reading, witness.reading)
    if elapsed is None:
        if told.now <= witness.now <= told.now + NEAR:
            return own
        return _unknown(f"{told.note}; the next clock that is believed says {witness.now:%Y-%m-%d %H:%M:%S}")
    right = witness.now - elapsed
    if abs(told.now - right) <= TOLERANCE:
        return own
    note = f"its clock said {told.time:%Y-%m-%d %H:%M:%S}, and the polls after it refute that ({told.note})"
    return Settled(time=whole_seconds(right), now=right, note=note)


def _unknown(note: str) -> Settled:
    return Settled(time=None, now=None, note=f"no clock tells the time of this poll: {note}")
