"""Which time a poll has: the answer's Date, the local clock, or the boot clock's count since the polls before.

Pure: clocks come in as readings, and the same readings give the same time. Called by `client.py`; the verdict is kept
in each snapshot's description. What becomes of a time that isn't confirmed is decided in `held.py`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

TOLERANCE: Final = timedelta(seconds=120)
"""Two clocks that differ by no more agree: answers take time, and caches lag a little."""
SLACK: Final = timedelta(seconds=60)
"""For each poll since the newest confirmed one a time may be so much further ahead: no clock counts quite alike."""
NEAR: Final = timedelta(minutes=15)
"""A time so little ahead of the poll before needs no boot clock to be believed."""
CLOSE: Final = timedelta(seconds=10)
"""Date and local clock that differ by no more are both right."""
DOCUMENT_NEAR: Final = timedelta(hours=2)
"""A document made so near to one of two clocks that disagree decides between them; Vélib's own stamps lag an hour."""
CONFIRMED_BY: Final = 2
"""Polls in a row that agree with a doubtful one before it is believed."""
GUESSED_POLLS: Final = 10
"""After so many polls dated by the boot clock alone, a Date that goes on by itself is believed."""
HISTORY: Final = 20
"""Newest polls before this one that are looked at."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""A clock that tells a time outside tells nothing; every store's columns hold the times within."""


class TimeSource(StrEnum):
    """Which clock a poll's time was taken from."""

    DATE = "date"
    LOCAL = "local"
    BOOT = "boot"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the clocks said at one poll.

    `local` is this machine's clock, `date` and `age_seconds` the answer's headers, `document` the document's own time
    as far as it names one. `boot_seconds` counts since the machine started as `boot_id` (suspended time included).
    """

    local: datetime
    date: datetime | None = None
    age_seconds: int = 0
    document: datetime | None = None
    boot_id: str | None = None
    boot_seconds: float | None = None


class PollTime(msgspec.Struct, frozen=True, kw_only=True):
    """The time of a poll (UTC, whole seconds), and why.

    `now` is what time it was when the poll was made by the same belief: later than `time` where a cache kept the
    answer. One that is not `confirmed` is held back by the producer. `note` says in words what disagreed.
    """

    time: datetime
    now: datetime
    source: TimeSource
    confirmed: bool = True
    note: str = ""


class Dated(msgspec.Struct, frozen=True, kw_only=True):
    """A kept poll: what its clocks said, None for one kept without them, and the time it got."""

    time: datetime
    reading: Reading | None = None
    told: PollTime | None = None

    @property
    def now(self) -> datetime:
        """What time it was when the poll was made."""
        return self.told.now if self.told else self.time

    @property
    def confirmed(self) -> bool:
        """Whether its time was believed."""
        return self.told is None or self.told.confirmed


def time_of_poll(reading: Reading, before: Sequence[Dated]) -> PollTime:
    """The time of a poll by its clocks and the polls before it (oldest first).

    The Date is believed unless it is the clock that disagrees with the polls before; what the boot clock has counted
    since them decides. Where nothing was counted (first poll, another boot), two clocks that agree are believed, else
    the one that goes on where the polls before ended, else the Date; the last one only once later polls agree.
    """
    judge = _Judge(reading, before[-HISTORY:])
    return judge.with_expected() if judge.expected is not None else judge.without_expected()


def provisional_time(told: PollTime, before: Sequence[Dated]) -> datetime:
    """The time that a poll has until it is published: its own, unless that is ahead of the polls before and in doubt.

    It is then the newest confirmed one's, which nothing that follows has to wait for.
    """
    trusted = next((one for one in reversed(before) if one.confirmed), None)
    if told.confirmed or trusted is None or told.now <= trusted.now:
        return told.time
    return whole_seconds(trusted.now)


def offset_seconds(reading: Reading) -> int | None:
    """The Date minus the local clock where they disagree, as far as 32 bits hold it."""
    if reading.date is None or abs(reading.date - reading.local) <= TOLERANCE:
        return None
    seconds = int((reading.date - reading.local).total_seconds())
    return max(-(2**31), min(seconds, 2**31 - 1))


def in_range(time: datetime | None) -> datetime | None:
    """The time, None where no clock can be right that tells it."""
    return time if time is not None and EARLIEST <= time < LATEST else None


def is_ahead(time: datetime, now: datetime | None) -> bool:
    """Whether a time on record lies after a moment that is believed: what brought it was wrong."""
    return now is not None and time > now + TOLERANCE


def believed_now(reading: Reading, before: Sequence[Dated]) -> datetime:
    """What time it is by the local clock, unless the boot clock and the polls before contradict it."""
    told = time_of_poll(msgspec.structs.replace(reading, date=None), before)
    return told.now


def elapsed_between(earlier: Reading | None, later: Reading | None) -> timedelta | None:
    """What the boot clock counted between two readings, None where it didn't run through."""
    if earlier is None or later is None or earlier.boot_seconds is None or later.boot_seconds is None:
        return None
    if earlier.boot_id != later.boot_id or later.boot_seconds < earlier.boot_seconds:
        return None
    return timedelta(seconds=later.boot_seconds - earlier.boot_seconds)


def whole_seconds(time: datetime) -> datetime:
    """The time as UTC, without a fraction of a second."""
    return time.astimezone(UTC).replace(microsecond=0)


class _Judge:
    def __init__(self, reading: Reading, before: Sequence[Dated]) -> None:
        self.reading = reading
        self.local = in_range(reading.local)
        self.date = in_range(reading.date)
        self.before = before
        self.trusted = next((one for one in reversed(before) if one.confirmed), None)
        after = [one for one in before if not one.confirmed]
        self.pending = after[-CONFIRMED_BY:] if before and not before[-1].confirmed else []
        elapsed = elapsed_between(self.trusted.reading, reading) if self.trusted else None
        self.expected = self.trusted.now + elapsed if self.trusted and elapsed is not None else None
        since = len(before) - before.index(self.trusted) if self.trusted else 1
        self.slack = SLACK * (since + _guessed(before))

    def with_expected(self) -> PollTime:
        """Where the boot clock has counted since a confirmed poll."""
        assert self.expected is not None  # noqa: S101 - for the type checker: the caller has looked
        said = self._date_now(self.expected)
        if said is not None and self._agrees(said, self.expected):
            return self._by_date(said)
        if self.local is not None and self._agrees(self.local, self.expected):
            return self._by_local()
        if said is not None and self._two_agree():
            if timedelta(0) < said - self.expected <= NEAR:
                return self._by_date(said)
            return self._by_date(said, confirmed=self._supported(said))
        if said is not None and self._long_guessed():
            return self._by_date(said, confirmed=self._supported(said))
        return self._by_count(self.expected)

    def without_expected(self) -> PollTime:
        """Where nothing was counted: the first poll, one after a restart of the machine, after polls without clocks."""
        reference = self.local or (self.trusted.now if self.trusted else self.date)
        said = self._date_now(reference) if reference is not None else None
        first = not self.before
        if said is not None and (self._two_agree() or self._goes_on(said)):
            return self._by_date(said)
        if self.local is not None and self._goes_on(self.local):
            return self._by_local()
        if said is not None and self.local is not None:
            return self._between(said, self.local)
        if said is not None:
            return self._by_date(said, confirmed=first or self._supported(said))
        if self.local is not None:
            return self._by_local(confirmed=first or self._supported(self.local))
        return self._by_nothing()

    def _between(self, said: datetime, local: datetime) -> PollTime:
        """Two clocks that disagree, and no poll before that decides."""
        document = in_range(self.reading.document)
        if document is not None:
            near = abs(document - said) <= DOCUMENT_NEAR, abs(document - local) <= DOCUMENT_NEAR
            if near == (True, False):
                return self._by_date(said)
            if near == (False, True):
                return self._by_local()
        past = self.trusted
        if past and past.told and past.reading and past.reading.date and past.told.source is not TimeSource.BOOT:
            offset = past.reading.date - past.reading.local
            if abs((said - local) - offset) <= TOLERANCE:
                return self._by_date(said) if past.told.source is TimeSource.DATE else self._by_local()
        return self._by_date(said, confirmed=self._supported(said))

    def _date_now(self, reference: datetime) -> datetime | None:
        """What time it was by the Date: a cache that keeps the Date of old tells its age."""
        if self.date is None:
            return None
        aged = in_range(_plus(self.date, self.reading.age_seconds))
        if aged is None or abs(self.date - reference) <= abs(aged - reference):
            return self.date
        return aged

    def _agrees(self, time: datetime, expected: datetime) -> bool:
        return -TOLERANCE <= time - expected <= TOLERANCE + self.slack

    def _two_agree(self) -> bool:
        if self.local is None:
            return False
        said = self._date_now(self.local)
        return said is not None and abs(said - self.local) <= TOLERANCE

    def _goes_on(self, time: datetime) -> bool:
        """Whether a time goes on where the newest confirmed poll, whose clocks are known, ended."""
        past = self.trusted
        return past is not None and past.told is not None and -TOLERANCE <= time - past.now <= NEAR + self.slack

    def _supported(self, now: datetime) -> bool:
        """Whether the doubtful polls just before are on one line with this one."""
        return len(self.pending) == CONFIRMED_BY and all(self._in_line(one, now) for one in self.pending)

    def _in_line(self, earlier: Dated, now: datetime) -> bool:
        elapsed = elapsed_between(earlier.reading, self.reading)
        if elapsed is not None and abs(now - earlier.now - elapsed) <= TOLERANCE + SLACK * CONFIRMED_BY:
            return True
        step = now - earlier.now
        if elapsed is None:
            return timedelta(0) <= step <= NEAR
        return step >= timedelta(0) and self._two_agree() and _agreed(earlier.reading)

    def _long_guessed(self) -> bool:
        """Whether the boot clock alone has told the time for so long that the Date, which has gone on, is believed."""
        newest = self.before[-GUESSED_POLLS:]
        guessed = [one for one in newest if one.told and (one.told.source is TimeSource.BOOT or not one.confirmed)]
        return len(guessed) == len(newest) == GUESSED_POLLS and all(one.reading and one.reading.date for one in newest)

    def _by_date(self, said: datetime, *, confirmed: bool = True) -> PollTime:
        assert self.date is not None  # noqa: S101 - `said` comes from it
        now = said
        if self.expected is not None and said < self.expected and self._agrees(said, self.expected):
            # A Date that stands still must not hold back what time it is.
            close = self.local is not None and abs(said - self.local) <= CLOSE
            now = said if close else self.expected
        note = (
            "" if self._two_agree() else f"{self._off('local clock', said, self.reading.local)}; the Date is believed"
        )
        return PollTime(time=self.date, now=now, source=TimeSource.DATE, confirmed=confirmed, note=note)

    def _by_local(self, *, confirmed: bool = True) -> PollTime:
        assert self.local is not None  # noqa: S101 - the caller has looked
        note = ""
        if self.reading.date is not None and not self._two_agree():
            note = f"{self._off('Date', self.local, self.reading.date)}; the local clock is believed"
        elif not confirmed:
            note = "the local clock is not where the polls before it ended"
        return PollTime(
            time=whole_seconds(self.local), now=self.local, source=TimeSource.LOCAL, confirmed=confirmed, note=note
        )

    def _by_count(self, expected: datetime) -> PollTime:
        wrong = [self._off("local clock", expected, self.reading.local)]
        if self.reading.date is not None:
            wrong.append(self._off("Date", expected, self.reading.date))
        note = f"{', '.join(wrong)}; what the boot clock counted since the poll before is believed"
        return PollTime(time=whole_seconds(expected), now=expected, source=TimeSource.BOOT, note=note)

    def _by_nothing(self) -> PollTime:
        past = self.trusted.now if self.trusted else EARLIEST
        note = "no clock tells a possible time"
        return PollTime(time=whole_seconds(past), now=past, source=TimeSource.BOOT, confirmed=False, note=note)

    def _off(self, clock: str, believed: datetime, told: datetime) -> str:
        seconds = round((told - believed).total_seconds())
        return f"the {clock} is {abs(seconds)} s {'ahead' if seconds > 0 else 'behind'}"


def _guessed(before: Sequence[Dated]) -> int:
    """How many of the newest polls in a row were dated by the boot clock alone."""
    count = 0
    for one in reversed(before):
        if one.told is None or one.told.source is not TimeSource.BOOT:
            break
        count += 1
    return count


def _agreed(reading: Reading | None) -> bool:
    return reading is not None and reading.date is not None and abs(reading.date - reading.local) <= TOLERANCE


def _plus(time: datetime, seconds: int) -> datetime | None:
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        return None
