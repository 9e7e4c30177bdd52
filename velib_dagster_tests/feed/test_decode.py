"""What a body is taken for, and why a row is refused, on bodies built here."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velib_dagster.feed.answers import ANSWER, ROLES, STATION_INFORMATION, STATION_STATUS, VEHICLE_TYPES, Answer
from velib_dagster.feed.decode import decode
from velib_dagster.feed.reports import PollKind, Refusal

ROW = {
    "stationcode": "16107",
    "name": "Benjamin Godard - Victor Hugo",
    "is_installed": "OUI",
    "capacity": 35,
    "numdocksavailable": 21,
    "numbikesavailable": 14,
    "mechanical": 10,
    "ebike": 4,
    "is_renting": "OUI",
    "is_returning": "OUI",
    "duedate": "2024-11-05T09:00:01+01:00",
    "coordonnees_geo": {"lon": 2.275725, "lat": 48.865983},
    "nom_arrondissement_communes": "Paris",
    "code_insee_commune": "75056",
}
OTHER = ROW | {"stationcode": "44015"}


def an_answer(body, status=200, role=ANSWER, truncated=False, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        role=role, url="http://feed.test/", status=status, headers=headers or {}, body=data, truncated=truncated
    )


def decoded(body, **how):
    return decode([an_answer(body, **how)])


def without(*keys):
    return {key: value for key, value in ROW.items() if key not in keys}


def one(changes):
    """The poll of a good row and a changed one, and the changed one's report or None."""
    poll = decoded([OTHER, ROW | changes])
    found = [report for report in poll.reports if report.station_code != "44015"]
    return poll, found[0] if found else None


@pytest.mark.parametrize("end", [b"\\", b"\\u", b"\\u00", b"\\u00e", b"", b"\\u00e9"])
def test_a_body_cut_inside_a_string_or_an_escape_is_truncated(end):
    poll = decoded(json.dumps([ROW, ROW])[:-3].encode() + b'", "name": "K' + end)
    assert poll.failure is PollKind.TRUNCATED
    assert poll.reports == ()


@settings(deadline=None)
@given(st.integers(min_value=1))
def test_an_answer_cut_anywhere_is_truncated(cut):
    for body in (json.dumps([ROW, OTHER]).encode(), json.dumps({"total_count": 2, "results": [ROW, OTHER]}).encode()):
        assert decoded(body[: 1 + cut % (len(body) - 1)]).failure is PollKind.TRUNCATED


def test_a_list_cut_after_a_whole_row_is_truncated():
    assert decoded(json.dumps([ROW, OTHER]).encode()[:-1]).failure is PollKind.TRUNCATED


def test_a_break_off_told_by_the_transport_is_truncated_even_if_the_json_is_whole():
    assert decoded([ROW], truncated=True).failure is PollKind.TRUNCATED


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"a;b\n1;2", b"[1,2] x", b'{"a" 1}', b"\xff\xfe"])
def test_what_is_no_json_is_not_json(body):
    poll = decoded(body, headers={"content-type": "text/html"})
    assert poll.failure is PollKind.NOT_JSON
    assert "text/html" in poll.reason


def test_json_nested_without_end_is_not_json():
    assert decoded(b"[" * 200_000).failure is PollKind.NOT_JSON


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "no row"),
        ({"total_count": 0, "results": []}, "no row"),
        ({"foo": 1}, "foo"),
        (b"null", "without rows"),
        (b"", "without a body"),
        ({"data": {"stations": []}}, "no row"),
        ([{**ROW, "numbikesavailable": "x"}], "1 bad_type"),
    ],
)
def test_an_answer_without_a_valid_row_is_empty(body, words):
    poll = decoded(body)
    assert poll.failure is PollKind.EMPTY
    assert words in poll.reason


QUOTA = {
    "errorcode": 10002,
    "reset_time": "2025-02-12T00:00:00Z",
    "limit_time_unit": "day",
    "call_limit": 5000,
    "error": "Too many requests on the domain. Please contact the domain administrator.",
}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            400,
            {"error_code": "InvalidRESTParameterError", "message": "Invalid value for limit"},
            "Invalid value for limit",
        ),
        (429, QUOTA, "Too many requests"),
        (200, QUOTA, "reset at 2025-02-12T00:00:00Z"),
        (200, {"error_code": "ODSQLError", "message": "no"}, "ODSQLError: no"),
        (502, b"<html>Bad Gateway</html>", "HTTP 502"),
        (500, b"", "HTTP 500"),
    ],
)
def test_an_error_answer_is_an_error_payload_with_its_own_words(status, body, words):
    poll = decoded(body, status=status)
    assert poll.failure is PollKind.ERROR_PAYLOAD
    assert words in poll.reason


def test_a_429_with_headers_alone_is_an_error_payload():
    assert decoded(b"", status=429, headers={"retry-after": "60"}).failure is PollKind.ERROR_PAYLOAD


def test_no_answer_carries_the_clients_words():
    poll = decode([], error="http://feed.test/ doesn't answer: timed out")
    assert (poll.failure, poll.reason) == (PollKind.NO_ANSWER, "http://feed.test/ doesn't answer: timed out")


def test_a_byte_order_mark_is_no_trouble():
    assert len(decoded(b"\xef\xbb\xbf" + json.dumps([ROW]).encode()).reports) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stationcode": None}, Refusal.NULL_STATIONCODE),
        ({"stationcode": "  "}, Refusal.NULL_STATIONCODE),
        ({"stationcode": True}, Refusal.BAD_TYPE),
        ({"stationcode": "16\u0000107"}, Refusal.BAD_TYPE),
        ({"numbikesavailable": 14.5}, Refusal.BAD_TYPE),
        ({"numbikesavailable": True}, Refusal.BAD_TYPE),
        ({"numbikesavailable": "1,000"}, Refusal.BAD_TYPE),
        ({"numbikesavailable": 10_001, "mechanical": None}, Refusal.BAD_TYPE),
        ({"numbikesavailable": None}, Refusal.MISSING_COUNT),
        ({"numbikesavailable": -1, "mechanical": -5}, Refusal.NEGATIVE_COUNT),
        ({"is_renting": None}, Refusal.BAD_FLAG),
        ({"is_renting": [True]}, Refusal.BAD_FLAG),
        ({"is_installed": "PEUT-ETRE"}, Refusal.BAD_FLAG),
        ({"is_returning": 2}, Refusal.BAD_FLAG),
    ],
)
def test_a_bad_row_costs_only_itself(changes, reason):
    poll, report = one(changes)
    assert poll.failure is None
    assert poll.refused == {reason: 1}
    assert report is None
    assert (len(poll.reports), poll.rows) == (1, 2)


@pytest.mark.parametrize("row", ["text", 7, None, [ROW]])
def test_what_is_no_object_is_not_a_row(row):
    assert decoded([ROW, row]).refused == {Refusal.NOT_A_ROW: 1}


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "a\\ud83d and more"])
def test_half_of_an_escaped_pair_in_one_name_costs_no_row(half):
    body = json.dumps([ROW, OTHER]).replace("Benjamin", half, 1).encode()
    poll = decoded(body)
    assert (poll.failure, len(poll.reports)) == (None, 2)
    assert "?" in poll.reports[0].name


def test_of_two_rows_with_one_code_the_first_counts():
    poll = decoded([ROW, ROW | {"numbikesavailable": 1, "mechanical": 1, "ebike": 0}])
    assert [report.bikes for report in poll.reports] == [14]
    assert poll.refused == {Refusal.DUPLICATE_STATION: 1}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"stationcode": 16107}, "station_code", "16107"),
        ({"stationcode": " 16107 "}, "station_code", "16107"),
        ({"stationcode": "7101_relais"}, "station_code", "7101_relais"),
        ({"stationcode": 2**63 - 1}, "station_code", "9223372036854775807"),
        ({"is_renting": "oui"}, "is_renting", True),
        ({"is_renting": "NON"}, "is_renting", False),
        ({"is_renting": 0}, "is_renting", False),
        ({"is_renting": True}, "is_renting", True),
        ({"is_renting": "1"}, "is_renting", True),
        ({"is_renting": "false"}, "is_renting", False),
        ({"duedate": None}, "last_reported", None),
        ({"duedate": "2024-11-05T08:00:01"}, "last_reported", datetime(2024, 11, 5, 8, 0, 1, tzinfo=UTC)),
        ({"duedate": "2024-11-05T08:00:01.5Z"}, "last_reported", datetime(2024, 11, 5, 8, 0, 1, tzinfo=UTC)),
        ({"coordonnees_geo": [48.8, 2.3]}, "lat", 48.8),
        ({"coordonnees_geo": "48.8, 2.3"}, "lon", 2.3),
        ({"coordonnees_geo": None}, "lat", None),
        ({"coordonnees_geo": {"lon": None, "lat": None}}, "lat", None),
        ({"capacity": 0}, "capacity", 0),
        ({"capacity": None}, "capacity", None),
        ({"name": ""}, "name", None),
        ({"mechanical": None}, "mechanical", None),
        ({"numdocksavailable": None}, "docks", None),
        ({"numdocksavailable": 1600, "is_renting": "NON"}, "docks", 1600),
    ],
)
def test_a_value_is_read_in_every_form_that_was_seen(changes, field, value):
    poll, report = one(changes)
    assert poll.refused == {}
    assert getattr(report, field) == value


def test_keys_that_are_missing_are_nulls():
    poll = decoded([without("name", "capacity", "coordonnees_geo", "duedate", "mechanical", "numdocksavailable")])
    report = poll.reports[0]
    assert (report.name, report.capacity, report.lat, report.docks, report.last_reported) == (None,) * 5
    assert decoded([ROW, without("is_renting") | {"stationcode": "1"}]).refused == {Refusal.BAD_FLAG: 1}
    assert decoded([ROW, without("numbikesavailable") | {"stationcode": "1"}]).refused == {Refusal.MISSING_COUNT: 1}


def test_half_of_the_codes_null_are_refused_rows_and_more_are_a_broken_answer():
    nulls = [ROW | {"stationcode": None}] * 2
    half = decoded([ROW, OTHER, *nulls])
    assert (half.failure, len(half.reports), half.refused) == (None, 2, {Refusal.NULL_STATIONCODE: 2})
    more = decoded([ROW, *nulls])
    assert (more.failure, more.reports) == (PollKind.NULL_STATIONCODE, ())
    assert decoded([without("stationcode")]).failure is PollKind.NULL_STATIONCODE


def test_records_of_both_versions_carry_their_total():
    assert decoded({"total_count": 1519, "results": [ROW]}).total_count == 1519
    poll = decoded({"nhits": 1398, "records": [{"recordid": "d5", "fields": ROW | {"coordonnees_geo": [48.8, 2.3]}}]})
    assert (poll.total_count, poll.reports[0].lat, poll.reports[0].lon) == (1398, 48.8, 2.3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(ROW, json_values)) | json_values, max_size=5))
def test_whatever_rows_come_each_is_a_report_or_refused(rows):
    poll = decoded(rows)
    if poll.failure is None:
        again = poll.refused.get(Refusal.DUPLICATE_STATION, 0)
        assert len(poll.reports) + sum(poll.refused.values()) - again == poll.rows == len(rows) - again


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_whatever_bytes_come_decoding_gives_a_kind_and_no_error(body):
    assert decoded(body).failure is not None


STATUS = {
    "station_id": 213688169,
    "num_bikes_available": 14,
    "num_docks_available": 21,
    "is_installed": 1,
    "is_renting": 1,
    "is_returning": 1,
    "last_reported": 1645639734,
}
INFORMATION = {"station_id": 213688169, "name": "Victor Hugo", "lat": 48.865983, "lon": 2.275725, "capacity": 35}


def gbfs(status, information):
    return decode(
        [
            an_answer({"data": {"stations": status}}, role=STATION_STATUS),
            an_answer({"data": {"stations": information}}, role=STATION_INFORMATION),
        ]
    )


@pytest.mark.parametrize("station_id", [213688169, 19179944124, 2**63 - 1, "a-b_7"])
def test_without_codes_gbfs_stations_go_by_their_id(station_id):
    poll = gbfs([STATUS | {"station_id": station_id}], [INFORMATION | {"station_id": station_id}])
    report = poll.reports[0]
    assert (report.station_code, report.name, report.capacity) == (str(station_id), "Victor Hugo", 35)
    assert (report.bikes, report.mechanical, report.ebike, report.docks) == (14, None, None, 21)
    assert report.last_reported == datetime(2022, 2, 23, 18, 8, 54, tzinfo=UTC)


def test_gbfs_3_is_read():
    status = {
        "station_id": "s1",
        "num_vehicles_available": 5,
        "vehicle_types_available": [{"vehicle_type_id": "bike", "count": 5}],
        "vehicle_docks_available": [{"vehicle_type_ids": ["bike"], "count": 4}],
        "num_docks_available": 4,
        "is_installed": True,
        "is_renting": True,
        "is_returning": False,
        "last_reported": "2026-08-22T23:26:32+02:00",
    }
    names = [{"text": "Town hall", "language": "en"}, {"text": "Mairie", "language": "fr-FR"}]
    report = gbfs([status], [{"station_id": "s1", "name": names, "lat": 48.8, "lon": 2.3}]).reports[0]
    assert (report.station_code, report.name, report.bikes, report.docks) == ("s1", "Mairie", 5, 4)
    assert (report.is_renting, report.is_returning) == (True, False)
    assert report.last_reported == datetime(2026, 8, 22, 21, 26, 32, tzinfo=UTC)


@pytest.mark.parametrize("types", [[{"mechanical": 10}, {"ebike": 4}], {"mechanical": 10, "ebike": 4}])
def test_velibs_split_is_read_and_held(types):
    report = gbfs([STATUS | {"num_bikes_available_types": types}], [INFORMATION]).reports[0]
    assert (report.mechanical, report.ebike) == (10, 4)
    wrong = gbfs([STATUS | {"num_bikes_available": 15, "num_bikes_available_types": types}], [INFORMATION])
    assert (wrong.reports[0].bikes, wrong.reports[0].mechanical, wrong.reports[0].ebike) == (15, None, None)
    assert wrong.mended == {"split_disagrees": 1}


def test_a_finer_split_need_not_add_up():
    types = [{"mechanical": 10}, {"ebike": 3}, {"cargo": 1}]
    report = gbfs([STATUS | {"num_bikes_available_types": types}], [INFORMATION]).reports[0]
    assert (report.bikes, report.mechanical, report.ebike) == (14, 10, 3)


def test_velibs_own_spelling_of_the_counts_stands_in():
    status = {key: value for key, value in STATUS.items() if not key.startswith("num_")}
    report = gbfs([status | {"numBikesAvailable": 3, "numDocksAvailable": 7}], [INFORMATION]).reports[0]
    assert (report.bikes, report.docks) == (3, 7)


def test_a_status_without_information_is_a_report_without_a_place():
    report = gbfs([STATUS], []).reports[0]
    assert (report.name, report.lat, report.lon, report.capacity) == (None, None, None, None)


def test_information_that_fails_leaves_the_reports_and_says_why():
    poll = decode(
        [
            an_answer({"data": {"stations": [STATUS]}}, role=STATION_STATUS),
            an_answer(b"", status=503, role=STATION_INFORMATION),
        ]
    )
    assert poll.failure is None
    assert poll.reports[0].name is None
    assert poll.reason == "station_information: HTTP 503: no text"


def test_status_that_fails_fails_the_poll():
    poll = decode(
        [
            an_answer(b'{"data": {"stat', role=STATION_STATUS),
            an_answer({"data": {"stations": [INFORMATION]}}, role=STATION_INFORMATION),
        ]
    )
    assert poll.failure is PollKind.TRUNCATED
    assert poll.reason.startswith("station_status: ")


def test_a_code_of_velib_comes_from_either_document():
    assert gbfs([STATUS], [INFORMATION | {"stationCode": "16107"}]).reports[0].station_code == "16107"
    assert gbfs([STATUS | {"stationCode": "16107"}], [INFORMATION]).reports[0].station_code == "16107"


def test_bad_information_rows_are_told_and_cost_no_station():
    poll = gbfs([STATUS], [INFORMATION | {"lat": "x"}, "text", {"station_id": 5}, {"name": "nobody"}])
    (report,) = poll.reports
    assert (report.name, report.lat, report.lon, report.capacity) == ("Victor Hugo", None, None, 35)
    assert poll.refused == {Refusal.NOT_A_ROW: 1, Refusal.NO_STATUS: 1, Refusal.NULL_STATIONCODE: 1}
    assert (poll.rows, poll.mended) == (1, {"place_unreadable": 1})


gbfs_rows = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys((*STATUS, *INFORMATION, "stationCode"), json_values))
    | json_values,
    max_size=4,
)


@settings(deadline=None)
@given(gbfs_rows, gbfs_rows)
def test_whatever_gbfs_rows_come_each_station_counts_once(status, information):
    poll = gbfs(status, information)
    assert poll.rows <= len(status)
    if poll.failure is None:
        assert len(poll.reports) <= poll.rows
        assert len({report.station_code for report in poll.reports}) == len(poll.reports)


@settings(deadline=None)
@given(st.integers(min_value=0), st.binary(max_size=8), st.integers(0, 8))
def test_a_body_damaged_anywhere_never_raises(at, piece, removed):
    for body in (json.dumps([ROW, OTHER]).encode(), json.dumps({"data": {"stations": [STATUS]}}).encode()):
        place = at % len(body)
        poll = decoded(body[:place] + piece + body[place + removed :])
        assert (poll.failure is None) == bool(poll.reports)


documents = st.one_of(
    st.binary(max_size=40),
    json_values.map(lambda value: json.dumps(value).encode()),
    gbfs_rows.map(lambda rows: json.dumps({"data": {"stations": rows}}).encode()),
    st.builds(
        lambda key, rows: json.dumps({"data": {key: rows}}).encode(),
        st.sampled_from([VEHICLE_TYPES, "regions", "stations", "feeds", "data"]),
        st.lists(
            st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("vehicle_type_id", "form_factor", "region_id", "name", "url"), json_values)
            )
            | json_values,
            max_size=3,
        ),
    ),
)
header = st.text(alphabet=st.characters(codec="latin-1"), max_size=20) | st.sampled_from(["gzip", "charset=utf-16"])


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(ROLES), documents, max_size=4),
    st.sampled_from([200, 204, 404, 429, 503]),
    st.dictionaries(st.sampled_from(["content-type", "content-encoding"]), header),
)
def test_whatever_documents_come_together_decoding_raises_nothing_and_its_record_is_text(bodies, status, headers):
    answers = [an_answer(body, role=role, headers=headers) for role, body in bodies.items()]
    answers += [an_answer(b"{}", role=VEHICLE_TYPES, status=status)]
    poll = decode(answers)
    assert (poll.failure is None) == bool(poll.reports)
    assert all(count > 0 for count in (*poll.refused.values(), *poll.mended.values()))
    msgspec.json.encode(poll)
