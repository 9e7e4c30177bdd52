"""When an answer is too small to be believed, and that check-feed's verdict is the chain's own."""

from hypothesis import given
from hypothesis import strategies as st

from velib_dagster.events.advance import advance
from velib_dagster.events.known import Memory, Rules
from velib_dagster.feed.reports import PollKind, Refusal
from velib_dagster.feed.verdict import first_poll
from velib_dagster_tests.events.test_advance import poll, report, run

TEN = [report(str(16101 + n)) for n in range(10)]


def kinds(*polls):
    return [record.kind for record in run(*polls)[3]]


def test_what_is_always_missing_is_the_networks_size() -> None:
    lacking = {"refused": {Refusal.BAD_TYPE: 5, Refusal.NO_STATUS: 30, Refusal.DUPLICATE_STATION: 10}, "rows": 15}
    assert kinds(*(poll(minute, *TEN, **lacking) for minute in range(3))) == [PollKind.USABLE] * 3


def test_a_sudden_fall_is_short_until_a_day_has_passed_and_then_the_new_size() -> None:
    polls = [poll(0, *TEN), poll(1, *TEN[:7]), poll(1439, *TEN[:7]), poll(1440, *TEN[:7]), poll(1441, *TEN[:7])]
    short, usable = PollKind.SHORT, PollKind.USABLE
    assert kinds(*polls) == [usable, short, short, usable, usable]


def test_rows_that_go_bad_at_once_are_a_fall() -> None:
    assert kinds(poll(0, *TEN), poll(1, *TEN[:7], refused={Refusal.BAD_TYPE: 3}, rows=10))[1] == PollKind.SHORT


def test_an_answer_below_its_own_total_is_always_short() -> None:
    assert kinds(*(poll(day * 1440, *TEN, total_count=13) for day in range(4))) == [PollKind.SHORT] * 4


def test_a_station_listed_twice_is_counted_once_in_the_total_too() -> None:
    assert kinds(poll(0, *TEN, total_count=20, refused={Refusal.DUPLICATE_STATION: 10})) == [PollKind.USABLE]


def test_an_answer_without_any_placed_station_is_short_and_says_why() -> None:
    placeless = [report(str(n), lat=None, lon=None) for n in range(3)]
    (record,) = run(poll(0, *placeless, reason="station_information: HTTP 404"))[3]
    assert (record.kind, record.refused) == (PollKind.SHORT, {"unknown_place": 3})
    assert record.reason == "0 valid rows where 3 were expected; station_information: HTTP 404"


def test_a_station_without_a_name_goes_by_its_code_and_that_repairs_nothing() -> None:
    _, states, _, records, _ = run(*(poll(minute, report("7", name=None)) for minute in range(3)))
    assert [(state.name, record.kind) for state, record in zip(states, records, strict=False)] == [("7", "usable")]
    assert [(record.kind, record.repaired) for record in records] == [("usable", 0)] * 3


def test_a_name_that_comes_later_takes_the_codes_place_and_stays() -> None:
    memory, _, _, records, _ = run(
        poll(0, report("7", name=None)), poll(1, report("7", name="Quai")), poll(2, report("7", name=None))
    )
    assert memory.stations["7"].state.name == "Quai"
    assert records[-1].kind == PollKind.REPAIRED


def test_another_operators_number_tells_no_arrondissement() -> None:
    _, states, *_ = run(
        poll(0, report("12001", commune=None), report("12002", commune=None, velib_code=False),
             report("12003", commune="Montreuil", velib_code=False))
    )  # fmt: skip
    assert [state.zone for state in states] == ["Paris 12e", "unknown", "Montreuil"]


def test_what_was_mended_is_in_the_record_of_every_poll() -> None:
    mended = {"docks_out_of_range": 3}
    records = run(poll(0, *TEN, mended=mended), poll(1, *TEN[:3], mended=mended))[3]
    assert [(record.kind, record.mended) for record in records] == [("usable", mended), ("short", mended)]


reports = st.builds(
    report,
    st.sampled_from("123456"),
    name=st.none() | st.just("x"),
    lat=st.none() | st.just(48.86),
)


@given(st.lists(reports, max_size=6, unique_by=lambda one: one.station_code), st.none() | st.integers(0, 8), st.data())
def test_check_feeds_verdict_is_what_the_chain_makes_of_a_first_poll(given, total, data) -> None:
    failure = data.draw(st.none() | st.just(PollKind.EMPTY)) if given else PollKind.EMPTY
    one = poll(0, *given, total_count=total, failure=failure)
    record = advance(Memory(), one, Rules()).record
    verdict = first_poll(one.decoded)
    assert (verdict.kind, verdict.kind.usable) == (record.kind, record.kind.usable)
    if record.kind.usable:
        assert len(verdict.reports) == record.reports
