"""Zones that are set, changed or removed later reach every known station at the next poll, and once."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from velib_dagster.events.advance import advance
from velib_dagster.events.known import Memory, Rules, recall
from velib_dagster.events.messages import messages_of
from velib_dagster.events.records import decode_poll, decode_state, encode
from velib_dagster.events.zones import RULE, ZonesFileError, zone_of, zones_followed, zones_from_geojson
from velib_dagster.feed.reports import PollKind
from velib_dagster_tests.events.test_advance import poll, report, run

WEST = [[2.2, 48.8], [2.3, 48.8], [2.3, 48.9], [2.2, 48.9], [2.2, 48.8]]
INSIDE, OUTSIDE = {"lat": 48.865, "lon": 2.275}, {"lat": 48.778, "lon": 2.396}


def rules_of(path: Path, name: str = "Ouest") -> Rules:
    feature = {"type": "Feature", "properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": [WEST]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return Rules(zone=zones_from_geojson(path), zones=zones_followed(path))


def gbfs(code: str, bikes: int = 3, **changes):
    return report(code, bikes, **({"commune": None, "velib_code": False} | INSIDE | changes))


def zones(memory: Memory) -> dict[str, str]:
    return {code: station.state.zone for code, station in memory.stations.items()}


def test_a_file_that_is_set_later_reaches_every_station_at_the_next_poll_and_is_sent(tmp_path: Path) -> None:
    stations = [gbfs("a"), gbfs("b"), gbfs("c", **OUTSIDE)]
    memory, *_ = run(poll(0, *stations))
    assert zones(memory) == {"a": "unknown", "b": "unknown", "c": "unknown"}
    rules = rules_of(tmp_path / "zones.geojson")
    step = advance(memory, poll(1, *stations), rules)
    assert zones(step.memory) == {"a": "Ouest", "b": "Ouest", "c": "unknown"}
    assert [(state.station_code, state.zone) for state in step.states] == [("a", "Ouest"), ("b", "Ouest")]
    assert (step.record.changed, step.record.unchanged) == (2, 1)
    assert step.spells == (), "a zone is no state: no spell ends"
    again = advance(step.memory, poll(2, *stations), rules)
    assert (again.states, again.record.unchanged) == ((), 3)


def test_another_content_of_the_file_and_its_removal_do_so_too(tmp_path: Path) -> None:
    stations = [gbfs("a"), report("16107", **INSIDE)]
    first = rules_of(tmp_path / "zones.geojson")
    memory, *_ = run(poll(0, *stations), rules=first)
    second = rules_of(tmp_path / "zones.geojson", "West")
    assert second.zones != first.zones
    step = advance(memory, poll(1, *stations), second)
    assert zones(step.memory) == {"a": "West", "16107": "West"}
    step = advance(step.memory, poll(2, *stations), Rules())
    assert zones(step.memory) == {"a": "unknown", "16107": "Paris 16e"}
    assert {state.station_code for state in step.states} == {"a", "16107"}


def test_a_station_that_changes_at_that_poll_is_sent_once_with_its_zone(tmp_path: Path) -> None:
    memory, *_ = run(poll(0, gbfs("a")))
    step = advance(memory, poll(1, gbfs("a", 5)), rules_of(tmp_path / "zones.geojson"))
    assert [(state.bikes, state.zone) for state in step.states] == [(5, "Ouest")]
    assert [spell.zone for spell in step.spells] == ["Ouest"]


def test_absent_stations_get_their_zone_and_stay_absent(tmp_path: Path) -> None:
    others = [gbfs(f"s{number}") for number in range(10)]
    memory, *_ = run(poll(0, gbfs("away"), *others), poll(1, *others))
    step = advance(memory, poll(2, *others), rules_of(tmp_path / "zones.geojson"))
    assert zones(step.memory)["away"] == "Ouest"
    assert step.memory.stations["away"].absent_since is not None
    sent = {m.key: decode_state(m.value) for m in messages_of(step) if m.topic == "states" and m.value is not None}
    assert sent["away"].zone == "Ouest"
    back = recall(sent, decode_poll(encode(step.record)))
    assert back.stations["away"] == step.memory.stations["away"], "the newest record of a station is all that is kept"
    assert (step.record.changed, step.record.unchanged) == (10, 0)


def test_an_absent_station_keeps_a_commune_that_the_feed_still_names(tmp_path: Path) -> None:
    others = [report(f"4401{number}", commune="Vitry-sur-Seine", **OUTSIDE) for number in range(6)]
    memory, *_ = run(poll(0, *others), poll(1, *others[1:]))
    step = advance(memory, poll(2, *others[1:]), rules_of(tmp_path / "zones.geojson"))
    assert set(zones(step.memory).values()) == {"Vitry-sur-Seine"}
    assert step.states == ()


def test_a_null_referential_takes_no_commune_away_and_the_next_poll_tries_again(tmp_path: Path) -> None:
    whole = [report("44015", commune="Vitry-sur-Seine", **OUTSIDE), report("16107", **INSIDE)]
    null = [report(code, name=None, lat=None, lon=None, capacity=None, commune=None) for code in ("44015", "16107")]
    rules = rules_of(tmp_path / "zones.geojson")
    memory, *_ = run(poll(0, *whole))
    step = advance(memory, poll(1, *null), rules)
    assert step.record.kind == PollKind.REPAIRED
    assert zones(step.memory) == {"44015": "Vitry-sur-Seine", "16107": "Ouest"}
    assert step.record.zones == RULE, "not told of every station yet"
    assert advance(step.memory, poll(2, *whole), rules).record.zones == rules.zones


def test_unusable_polls_wait_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    stations = [gbfs("a"), gbfs("b")]
    rules = rules_of(tmp_path / "zones.geojson")
    memory, states, *_ = run(poll(0, *stations))
    failed = advance(memory, poll(1, failure=PollKind.NO_ANSWER), rules)
    assert failed.record.zones == RULE
    back = recall({state.station_code: state for state in states}, failed.record)
    step = advance(back, poll(2, *stations), rules)
    assert set(zones(step.memory).values()) == {"Ouest"}
    later = recall({state.station_code: state for state in step.states}, step.record)
    assert advance(later, poll(3, *stations), rules).states == ()


def test_states_of_a_program_that_told_no_rule_are_looked_up_once(tmp_path: Path) -> None:
    memory, *_ = run(poll(0, gbfs("a")), rules=rules_of(tmp_path / "zones.geojson"))
    assert memory.last_poll is not None
    old = Memory(memory.stations, msgspec.structs.replace(memory.last_poll, zones=""))
    step = advance(old, poll(1, gbfs("a")), replace(Rules(), zone=zone_of))
    assert zones(step.memory) == {"a": "unknown"}


def test_an_arrondissement_that_a_number_alone_had_given_goes(tmp_path: Path) -> None:
    memory, *_ = run(poll(0, gbfs("1001", velib_code=True)))
    assert zones(memory) == {"1001": "Paris 1er"}
    old = Memory(memory.stations, msgspec.structs.replace(memory.last_poll, zones=""))
    assert zones(advance(old, poll(1, gbfs("1001")), Rules()).memory) == {"1001": "unknown"}


def test_the_file_counts_by_its_contents(tmp_path: Path) -> None:
    rules_of(tmp_path / "a.geojson")
    rules_of(tmp_path / "b.geojson")
    assert zones_followed(tmp_path / "a.geojson") == zones_followed(tmp_path / "b.geojson") != zones_followed(None)
    with pytest.raises(ZonesFileError, match="VELIB_ZONES"):
        zones_followed(tmp_path / "away.geojson")
