"""States → risks: the features of every station in service as of an instant, and what the champions make of them.

Pure numpy: no Java, no Spark, no SQL. The features are those of `features.py`, which tests hold to these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from velib_dagster.forecast.measures import Floats
from velib_dagster.forecast.scorer import Scorer
from velib_dagster.forecast.stations import Station, Stations
from velib_dagster.forecast.task import LAGS, Target, lag_names

UNKNOWN: Final = -1.0
"""Stands for a capacity, another count or a neighbours' fill that is not known, as in training."""


class State(Protocol):
    """What must be known of a station at an instant."""

    @property
    def lat(self) -> float: ...  # noqa: D102
    @property
    def lon(self) -> float: ...  # noqa: D102
    @property
    def capacity(self) -> int | None: ...  # noqa: D102
    @property
    def bikes(self) -> int: ...  # noqa: D102
    @property
    def docks(self) -> int | None: ...  # noqa: D102
    @property
    def in_service(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Risks:
    """Probability per station, in the order of `codes`; only stations whose lags are all known."""

    codes: list[str]
    risk: Floats


def lag_instants(made_at: datetime, step_seconds: int) -> list[datetime]:
    """The instants that the lags are taken at, the newest first."""
    return [made_at - timedelta(seconds=step_seconds * number) for number in range(LAGS)]


def risks(scorer: Scorer, made_at: datetime, lags: Sequence[Mapping[str, State]]) -> Risks:
    """The risk of every station whose count is known and that is in service at all lags.

    `lags` has the states (code → state) at each of `lag_instants`.
    """
    target = Target(scorer.document["target"])
    newest = lags[0]
    codes = sorted(code for code in newest if all(_count(states.get(code), target) is not None for states in lags))
    return Risks(codes, scorer.score(columns(scorer, made_at, lags, codes)) if codes else np.zeros(0))


def columns(
    scorer: Scorer, made_at: datetime, lags: Sequence[Mapping[str, State]], codes: Sequence[str]
) -> dict[str, Floats]:
    """Every feature of the rich set by name, one entry per code."""
    document = scorer.document
    target = Target(document["target"])
    newest = lags[0]
    found: dict[str, Floats] = {
        name: np.array([float(_count(states[code], target) or 0) for code in codes])
        for name, states in zip(lag_names(target), lags, strict=True)
    }
    names = lag_names(target)
    local = (made_at + timedelta(minutes=document["horizon_minutes"])).astimezone(ZoneInfo(document["timezone"]))
    clock = 2 * np.pi * (local.hour + local.minute / 60) / 24
    weekday = 2 * np.pi * local.weekday() / 7
    whole = np.ones(len(codes))
    fill = neighbour_fill(newest) if "neighbour_fill" in scorer.columns else {}
    return found | {
        target.other: np.array([_known(getattr(newest[code], target.other)) for code in codes]),
        "capacity": np.array([_known(newest[code].capacity) for code in codes]),
        "trend": found[names[0]] - found[names[-1]],
        "neighbour_fill": np.array([fill.get(code, UNKNOWN) for code in codes]),
        "hour_sin": whole * np.sin(clock),
        "hour_cos": whole * np.cos(clock),
        "weekday_sin": whole * np.sin(weekday),
        "weekday_cos": whole * np.cos(weekday),
        "rate": np.array([scorer.rate(code, local.hour) for code in codes]),
    }


def neighbour_fill(states: Mapping[str, State]) -> dict[str, float]:
    """Code → bikes / (bikes + free docks) over the stations within 500 m that are in service; absent without any."""
    stations = Stations.of(Station(code, "", state.lat, state.lon) for code, state in states.items())
    bikes = np.zeros(len(stations.known))
    room = np.zeros(len(stations.known))
    for number, station in enumerate(stations.known):
        state = states[station.code]
        if state.in_service and state.docks is not None:
            bikes[number], room[number] = state.bikes, state.bikes + state.docks
    pairs = stations.neighbours
    count = len(stations.known)
    around = np.bincount(pairs[:, 0], bikes[pairs[:, 1]], count)
    places = np.bincount(pairs[:, 0], room[pairs[:, 1]], count)
    return {
        station.code: float(around[number] / places[number])
        for number, station in enumerate(stations.known)
        if places[number] > 0
    }


def _count(state: State | None, target: Target) -> int | None:
    if state is None or not state.in_service:
        return None
    return state.docks if target is Target.FULL else state.bikes


def _known(value: int | None) -> float:
    return UNKNOWN if value is None else float(value)
