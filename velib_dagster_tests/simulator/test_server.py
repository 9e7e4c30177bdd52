"""What a client must find at the simulated feed's addresses."""

import json
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.parse import urlencode

import pytest

from velib_dagster.simulator import Network, Simulation, SimulatorServer

NOON = int(datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC).timestamp())
KEYS = [
    "stationcode",
    "name",
    "is_installed",
    "capacity",
    "numdocksavailable",
    "numbikesavailable",
    "mechanical",
    "ebike",
    "is_renting",
    "is_returning",
    "duedate",
    "coordonnees_geo",
    "nom_arrondissement_communes",
    "code_insee_commune",
]


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(Network.generate(250, 1), clock=lambda: NOON + 0.7) as running:
        yield running


def get(url: str, **parameters: object) -> tuple[int, HTTPMessage, Any]:
    address = f"{url}?{urlencode(parameters)}" if parameters else url
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


def test_the_export_has_the_real_fields_and_the_counts_of_its_date(server: SimulatorServer) -> None:
    status, headers, rows = get(server.url)
    assert status == 200
    assert parsedate_to_datetime(headers["Date"]).timestamp() == NOON
    assert len(rows) == 250
    assert all(list(row) == KEYS for row in rows)
    counts = Simulation(Network.generate(250, 1)).at(NOON)
    assert [row["mechanical"] for row in rows] == counts.mechanical.tolist()
    for row in rows:
        assert row["numbikesavailable"] == row["mechanical"] + row["ebike"]
        assert row["numbikesavailable"] + row["numdocksavailable"] <= row["capacity"]
        assert row["is_renting"] == row["is_returning"]
        assert {row["is_installed"], row["is_renting"]} <= {"OUI", "NON"}
        assert list(row["coordonnees_geo"]) == ["lon", "lat"]
        assert datetime.fromisoformat(row["duedate"]).timestamp() <= NOON
    assert {type(row["stationcode"]) for row in rows} == {str}


def test_an_answer_carries_exactly_one_date(server: SimulatorServer) -> None:
    for path in (server.url, server.gbfs_url, f"{server.base_url}/nothing"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            target = path.removeprefix(server.base_url)
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head = answer.split(b"\r\n\r\n", 1)[0].lower()
        assert head.count(b"\r\ndate:") == 1


def test_rate_headers_count_down(server: SimulatorServer) -> None:
    first, second = (get(server.url, limit=1)[1] for _ in range(2))
    assert int(second["X-RateLimit-Remaining"]) == int(first["X-RateLimit-Remaining"]) - 1
    assert int(first["X-RateLimit-Limit"]) > 0
    assert datetime.fromisoformat(first["X-RateLimit-Reset"]) == datetime(2026, 11, 25, tzinfo=UTC)


def test_times_are_given_in_the_zone_asked_for(server: SimulatorServer) -> None:
    utc, paris = (get(server.url, timezone=zone)[2] for zone in ("UTC", "Europe/Paris"))
    assert utc[0]["duedate"].endswith("+00:00")
    assert paris[0]["duedate"].endswith(("+01:00", "+02:00"))
    assert datetime.fromisoformat(utc[0]["duedate"]) == datetime.fromisoformat(paris[0]["duedate"])


def test_pages_of_records_put_together_are_the_export(server: SimulatorServer) -> None:
    export = get(server.url, order_by="stationcode")[2]
    pages = [get(server.records_url, limit=100, offset=offset, order_by="stationcode")[2] for offset in (0, 100, 200)]
    assert {page["total_count"] for page in pages} == {250}
    assert [len(page["results"]) for page in pages] == [100, 100, 50]
    assert [row for page in pages for row in page["results"]] == export
    assert [row["stationcode"] for row in export] == sorted(row["stationcode"] for row in export)


def test_a_page_has_ten_records_unless_asked_and_never_more_than_a_hundred(server: SimulatorServer) -> None:
    assert len(get(server.records_url)[2]["results"]) == 10
    assert len(get(server.records_url, limit=-1)[2]["results"]) == 100
    assert len(get(server.url, limit=7)[2]) == 7
    capacities = [row["capacity"] for row in get(server.url, order_by="capacity desc")[2]]
    assert capacities == sorted(capacities, reverse=True)


def test_where_finds_one_station_or_none(server: SimulatorServer) -> None:
    code = get(server.url, limit=3)[2][2]["stationcode"]
    found = get(server.records_url, where=f'stationcode="{code}"')[2]
    assert found["total_count"] == 1
    assert found["results"][0]["stationcode"] == code
    assert get(server.records_url, where='stationcode="999999"')[2] == {"total_count": 0, "results": []}


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": 101},
        {"limit": "many"},
        {"offset": -1},
        {"offset": 9_990, "limit": 100},
        {"order_by": "nothing"},
        {"where": "stationcode like 1"},
        {"timezone": "Mars/Base"},
        {"unknown": 1},
    ],
)
def test_bad_parameters_are_answered_400_with_code_and_message(
    server: SimulatorServer, parameters: dict[str, object]
) -> None:
    status, _, body = get(server.records_url, **parameters)
    assert status == 400
    assert set(body) == {"error_code", "message"}


def test_an_unknown_path_is_answered_404(server: SimulatorServer) -> None:
    assert get(f"{server.base_url}/api/explore/v2.1/catalog/datasets/other/exports/json")[0] == 404


def test_gbfs_leads_from_discovery_to_status_that_agrees_with_explore(server: SimulatorServer) -> None:
    feeds = {f["name"]: f["url"] for f in get(server.gbfs_url)[2]["data"]["en"]["feeds"]}
    assert get(feeds["system_information"])[2]["data"]["timezone"] == "Europe/Paris"
    information = get(feeds["station_information"])[2]["data"]["stations"]
    status = get(feeds["station_status"])[2]["data"]["stations"]
    rows = get(server.url)[2]
    for row, station, state in zip(rows, information, status, strict=True):
        assert station["station_id"] == state["station_id"]
        assert station["stationCode"] == state["stationCode"] == row["stationcode"]
        assert (station["lat"], station["lon"]) == (row["coordonnees_geo"]["lat"], row["coordonnees_geo"]["lon"])
        assert station["capacity"] == row["capacity"]
        assert state["num_bikes_available"] == row["numbikesavailable"]
        assert state["num_docks_available"] == row["numdocksavailable"]
        assert state["num_bikes_available_types"] == [
            {"mechanical": row["mechanical"]},
            {"ebike": row["ebike"]},
        ]
        assert state["is_renting"] == (row["is_renting"] == "OUI")
        assert state["last_reported"] == datetime.fromisoformat(row["duedate"]).timestamp()


def test_v1_records_carry_the_same_rows_with_places_as_lists(server: SimulatorServer) -> None:
    answer = get(f"{server.base_url}/api/records/1.0/search/", rows=-1)[2]
    assert answer["nhits"] == len(answer["records"]) == 250
    for row, record in zip(get(server.url)[2], answer["records"], strict=True):
        place = row["coordonnees_geo"]
        assert record["fields"] == {**row, "coordonnees_geo": [place["lat"], place["lon"]]}


def test_a_method_that_is_not_served_is_refused_with_the_right_date(server: SimulatorServer) -> None:
    request = urllib.request.Request(server.url, data=b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 501
    assert refused.value.headers.get_all("Date") == ["Tue, 24 Nov 2026 12:00:30 GMT"]


def test_each_request_of_a_kept_connection_has_its_own_second() -> None:
    seconds = iter(range(NOON, NOON + 100))
    with SimulatorServer(Network.generate(5, 1), clock=lambda: next(seconds)) as ticking:
        connection = HTTPConnection("127.0.0.1", ticking.port, timeout=10)
        dates = []
        for _ in range(3):
            connection.request("GET", "/gbfs/station_status.json")
            answer = connection.getresponse()
            dates.append(parsedate_to_datetime(answer.headers["Date"]).timestamp())
            assert json.load(answer)["last_updated"] == dates[-1]
        connection.close()
    assert dates == sorted(set(dates))


def test_a_client_that_hangs_up_leaves_the_server_answering(
    server: SimulatorServer, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(f"GET {server.url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert get(server.url, limit=1)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_server_that_never_served_can_be_stopped() -> None:
    SimulatorServer(Network.generate(5, 1)).stop()


def test_a_server_started_again_gives_the_same_answer(server: SimulatorServer) -> None:
    with SimulatorServer(Network.generate(250, 1), clock=lambda: NOON) as again:
        assert get(again.url)[2] == get(server.url)[2]


def test_a_taken_port_is_named(server: SimulatorServer) -> None:
    with pytest.raises(OSError, match=str(server.port)):
        SimulatorServer(Network.generate(5, 1), port=server.port)
