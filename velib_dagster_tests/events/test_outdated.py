"""Old documents are no news, and wrong stamps cost nothing: by hand-made documents and states."""

from dataclasses import replace
from datetime import timedelta

import pytest

from velib_dagster.events.known import Poll
from velib_dagster.feed.answers import Answer
from velib_dagster.feed.document_age import DocumentAge, document_age_of, in_words
from velib_dagster.feed.reports import PollKind
from velib_dagster_tests.events.test_advance import START, at, poll, report, run

DAYS_24 = timedelta(days=24)


def told(minutes: float, bikes: int, *, made: float | timedelta | None = None, **how) -> Poll:
    """A poll whose document says that it was made at that minute."""
    made_at = START + made if isinstance(made, timedelta) else at(made) if made is not None else None
    return replace(poll(minutes, report("1", bikes=bikes), report("2")), document=DocumentAge(made_at=made_at, **how))


def kinds(*polls: Poll) -> list[str]:
    return [str(record.kind) for record in run(*polls)[3]]


def test_an_old_document_in_which_nothing_moves_gives_no_events_and_the_hold_runs_out() -> None:
    _, _, spells, records, _ = run(*(told(minute, 3, made=-DAYS_24) for minute in range(30)), told(30, 4, made=30))
    usable = [PollKind.USABLE] * 3
    assert [record.kind for record in records] == [*usable, *[PollKind.OUTDATED] * 27, PollKind.USABLE]
    assert all("24 days" in record.reason for record in records[:-1])
    assert records[1].document_age_seconds == 24 * 86_400 + 60
    assert max(spell.until for spell in spells) == at(13)  # a hold after the last poll that was believed


def test_the_age_of_caches_counts_as_the_documents_own() -> None:
    assert kinds(told(0, 3, kept_seconds=2_073_600), told(3, 3, kept_seconds=2_073_780)) == ["usable", "outdated"]


@pytest.mark.parametrize(("ttl", "kind"), [(0, "outdated"), (60, "outdated"), (3600, "usable")])
def test_a_document_may_be_as_old_as_its_ttl_and_as_a_hold(ttl: int, kind: str) -> None:
    assert kinds(told(0, 3, made=-20, ttl_seconds=ttl), told(3, 3, made=-20, ttl_seconds=ttl)) == ["usable", kind]
    assert kinds(told(0, 3, made=-8), told(3, 3, made=-8)) == ["usable", "usable"]


@pytest.mark.parametrize("made", [-DAYS_24, timedelta(hours=5), timedelta(days=3652), -timedelta(hours=2)])
def test_a_stamp_that_stands_still_while_stations_move_is_only_told(made: timedelta) -> None:
    bikes = [3, 4, 5, 5, 5, 6, 6, 7]
    _, _, _, records, _ = run(*(told(minute, count, made=made) for minute, count in enumerate(bikes)))
    assert {record.kind for record in records} == {PollKind.USABLE}
    assert all("document" in record.reason for record in records)


@pytest.mark.parametrize("hours", [-5, 2, 9])
def test_a_stamp_in_another_zone_that_goes_on_is_only_told(hours: int) -> None:
    polls = [told(minute, 3, made=timedelta(hours=hours, minutes=minute)) for minute in range(20)]
    assert set(kinds(*polls)) == {"usable"}


def test_an_older_variant_after_a_newer_one_gives_no_events() -> None:
    made = [0, 1, 0, 2, 1, 2, 3]
    bikes = [3, 4, 3, 5, 4, 5, 6]
    polls = [told(minute, count, made=when) for minute, (when, count) in enumerate(zip(made, bikes, strict=True))]
    _, states, _, records, _ = run(*polls)
    assert [record.kind is PollKind.OUTDATED for record in records] == [False, False, True, False, True, False, False]
    assert [state.bikes for state in states if state.station_code == "1"] == [3, 4, 5, 6]


def test_a_stamp_that_was_put_right_costs_nothing() -> None:
    polls = [told(0, 3, made=timedelta(days=1)), told(1, 4, made=1), told(2, 4, made=2), told(3, 5, made=3)]
    assert set(kinds(*polls)) == {"usable"}


def test_a_feed_that_says_nothing_of_its_age_is_never_outdated() -> None:
    assert set(kinds(*(told(minute, 3) for minute in range(40)))) == {"usable"}


def answer(body: str, **headers: str) -> Answer:
    return Answer(role="answer", url="http://feed", status=200, headers=headers, body=body.encode())


@pytest.mark.parametrize(
    "stamp",
    [
        "1730966400",
        "1730966400000",
        '"2024-11-07T08:00:00Z"',
        '"2024-11-07T09:00:00+01:00"',
        '"1730966400"',
        "1730966400.7",
    ],
)
def test_a_stamp_is_read_in_every_form_it_takes(stamp: str) -> None:
    found = document_age_of([answer(f'{{"data": {{}}, "ttl": 60, "last_updated": {stamp}}}', age="7")])
    assert found == DocumentAge(made_at=START, ttl_seconds=60, kept_seconds=7)


@pytest.mark.parametrize(
    "stamp", ["null", '"soon"', "-1", "0", "1e300", "[]", "true", "99999999999999999999", '"9999-12-31T23:59:59-23:00"']
)
def test_a_stamp_that_says_nothing_is_none(stamp: str) -> None:
    assert document_age_of([answer(f'{{"last_updated": {stamp}, "ttl": "x"}}')]) == DocumentAge()


def test_without_a_stamp_the_header_counts_and_without_both_nothing() -> None:
    assert document_age_of([answer("[]", **{"last-modified": "Thu, 07 Nov 2024 08:00:00 GMT"})]).made_at == START
    assert (
        document_age_of([answer("[]", **{"last-modified": "Mon, 01 Jan 1900 00:00:00 GMT", "age": "-3"})]).age(START)
        is None
    )
    assert document_age_of([]) == DocumentAge()


def test_an_age_is_told_in_words() -> None:
    lengths = [DAYS_24, timedelta(days=1), timedelta(hours=23), timedelta(minutes=90), timedelta(seconds=40)]
    assert [in_words(one) for one in lengths] == ["24 days", "1 day", "23 hours", "90 minutes", "40 seconds"]
