"""A freeze under a fresh Date is marked from its first poll, by the feed's own pace at that hour, and never guessed."""

from datetime import timedelta
from random import Random

from velib_dagster.events.advance import advance
from velib_dagster.events.known import Memory, Poll, recall
from velib_dagster.events.records import PollRecord, decode_poll, encode
from velib_dagster.feed.reports import PollKind
from velib_dagster_tests.events.test_advance import RULES, at, poll, report

STATIONS = 10
DAY = 24 * 60


def history(minutes: range, per_hour: dict[int, int], frozen: range = range(0), every: int = 1) -> list[Poll]:
    """A network whose stations change so many times in each hour (UTC), evenly, but for a freeze."""
    counts = [0] * STATIONS
    polls, due = [], 0.0
    for minute in range(minutes.start, minutes.stop, every):
        due += per_hour.get(at(minute).hour, 0) * every / 60
        if minute not in frozen:
            for number in range(int(due)):
                counts[number % STATIONS] = (counts[number % STATIONS] + 1) % 20
            due -= int(due)
        polls.append(poll(minute, *(report(str(code), bikes=count) for code, count in enumerate(counts))))
    return polls


def records_of(polls: list[Poll]) -> list[PollRecord]:
    memory, records = Memory(), []
    for one in polls:
        step = advance(memory, one, RULES)
        memory = step.memory
        records.append(step.record)
    return records


def marked(records: list[PollRecord]) -> dict[object, object]:
    """Since → the last poll of each freeze."""
    return {record.frozen_since: record.time for record in records if record.frozen_since is not None}


BUSY = dict.fromkeys(range(24), 60)


def test_a_freeze_is_marked_from_its_first_poll_until_stations_move_again() -> None:
    records = records_of(history(range(240), BUSY, frozen=range(121, 240)))
    assert marked(records) == {}  # the hours from 10:00 UTC on are new: nothing is known of them
    records = records_of(history(range(DAY + 240), BUSY, frozen=range(DAY + 150, DAY + 215)))
    assert marked(records) == {at(DAY + 150): at(DAY + 214)}
    assert {record.kind for record in records} == {PollKind.USABLE}
    assert records[DAY + 164].frozen_since is None
    assert records[DAY + 165].frozen_since == at(DAY + 150)
    assert records[DAY + 215].frozen_since is None


def test_polls_of_five_minutes_are_marked_too() -> None:
    records = records_of(history(range(0, DAY + 240, 5), BUSY, frozen=range(DAY + 150, DAY + 215), every=5))
    assert marked(records) == {at(DAY + 150): at(DAY + 210)}


def test_a_night_or_a_small_network_is_no_freeze() -> None:
    quiet = BUSY | dict.fromkeys(range(6), 1)
    assert marked(records_of(history(range(3 * DAY), quiet))) == {}
    assert marked(records_of(history(range(2 * DAY), dict.fromkeys(range(24), 5), frozen=range(DAY, DAY + 100)))) == {}
    assert marked(records_of(history(range(2 * DAY), {}))) == {}


def test_some_still_minutes_are_no_freeze_however_busy_the_network() -> None:
    busy = dict.fromkeys(range(24), 6000)
    records = records_of(history(range(DAY + 60), busy, frozen=range(DAY + 10, DAY + 24)))
    assert marked(records) == {}


def test_a_freeze_teaches_nothing_about_the_pace() -> None:
    frozen = range(DAY + 130, DAY + 330)
    records = records_of(history(range(DAY + 400), BUSY, frozen=frozen))
    before, after = records[frozen.start - 1].pace, records[frozen.stop + 2].pace
    assert all(abs((x or 0) - (y or 0)) <= 2 for x, y in zip(before.hourly, after.hourly, strict=True))


def test_a_gap_between_polls_ends_a_still_run() -> None:
    polls = history(range(DAY + 240), BUSY, frozen=range(DAY + 150, DAY + 240))
    kept = [one for one in polls if not at(DAY + 160) <= one.time < at(DAY + 180)]
    assert marked(records_of(kept)) == {at(DAY + 181): at(DAY + 239)}


def test_what_was_learnt_survives_a_restart_and_stays_small() -> None:
    random = Random(3)
    memory = Memory()
    for one in history(range(DAY + 240), {hour: random.randint(1, 900) for hour in range(24)}):
        step = advance(memory, one, RULES)
        states = {code: station.state for code, station in step.memory.stations.items()}
        again = recall(states, decode_poll(encode(step.record)))
        assert again.last_poll.pace == step.record.pace
        memory = step.memory
    assert len(encode(memory.last_poll)) < 1500


def test_an_unusable_poll_keeps_what_was_learnt() -> None:
    polls = history(range(90), BUSY)
    records = records_of([*polls, poll(90, failure=PollKind.NO_ANSWER)])
    assert records[-1].pace == records[-2].pace
    assert records[-1].pace.changed_at == at(89) or records[-1].time - records[-1].pace.changed_at < timedelta(hours=1)
