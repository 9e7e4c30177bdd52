"""What the tables and views of the forecast hold: the one definition behind every COMMENT and the upserts.

The statements of the schema stand in `migrations/`; how a risk comes about belongs to `forecast/`.
"""

from datetime import date, datetime
from typing import Final

from velib_dagster.events.records import Column
from velib_dagster.store.columns import Relation
from velib_dagster.store.statistics_columns import Function

_STATION: Final = Column("station_code", str, False, "Public code of the station")
_HORIZON: Final = Column("horizon_minutes", int, False, "Minutes from made_at to target_at")
_MADE_AT: Final = Column("made_at", datetime, False, "Time of the newest usable poll that the forecast knew")
_TARGET_AT: Final = Column("target_at", datetime, False, "The instant that is forecast")
_BIKES: Final = Column("bikes", int, False, "Bikes at made_at")
_DOCKS: Final = Column("docks", int, True, "Free docks at made_at; NULL where they are not known")
_RISK_FULL: Final = Column("risk_full", float, True, "Probability of no free dock, 0 to 1; NULL without known lags")
_RISK_EMPTY: Final = Column("risk_empty", float, True, "Probability of no bike, 0 to 1; NULL without known lags")

STATION_FORECASTS: Final = (
    _STATION,
    _MADE_AT,
    _HORIZON,
    _TARGET_AT,
    _BIKES,
    _DOCKS,
    _RISK_FULL,
    _RISK_EMPTY,
    Column(
        "full_version", int, True, "Version of the feed's model station-full that risk_full comes from; NULL: a rival"
    ),
    Column(
        "empty_version",
        int,
        True,
        "Version of the feed's model station-empty that risk_empty comes from; NULL: a rival",
    ),
)
"""Columns that a forecast writes, in order; what came is added later."""

OUTCOMES: Final = (
    Column("settled", bool, False, "The target is past and was looked up"),
    Column("was_full", bool, True, "What came: in service without a free dock; NULL if not settled or not known"),
    Column("was_empty", bool, True, "What came: in service without a bike; NULL if not settled or not known"),
)

FORECAST_SCORES: Final = (
    Column("day", date, False, "Day of target_at in the feed's time zone"),
    Column("target", str, False, "full or empty"),
    _HORIZON,
    Column("forecasts", int, False, "Forecasts whose outcome is known"),
    Column("events", int, False, "Of these, how often the station was full (empty)"),
    Column("pr_auc", float, True, "Average precision of the risk; NULL without an event"),
    Column("pr_auc_of_count", float, True, "The same of the score −docks (−bikes) at made_at: the rival"),
    Column("brier", float, False, "Mean squared distance of risk and outcome; 0 is best"),
    Column("brier_persistence", float, False, "The same of “it stays as it is”: the rival"),
    Column("scored_at", datetime, False, "When this row was computed"),
)

FORECAST_MODELS: Final = (
    _MADE_AT,
    Column("target", str, False, "full or empty"),
    _HORIZON,
    Column("model", str, False, "Name of the model, or of the rival that stood in where no model was champion"),
    Column("version", int, True, "Version of the feed's registered model; NULL: a rival stood in"),
    Column("worth", str, False, "What its risks are worth, in words; empty where there is nothing to warn of"),
)

FORECASTS: Final = (
    Relation(
        "station_forecasts",
        "Risk of each station in service to be full or empty, one row per station, made_at and horizon",
        (*STATION_FORECASTS, *OUTCOMES),
    ),
    Relation(
        "forecast_scores", "How good the past forecasts were, one row per day, target and horizon", FORECAST_SCORES
    ),
    Relation(
        "forecast_models",
        "What each forecast was made with, one row per made_at, target and horizon",
        FORECAST_MODELS,
    ),
    Relation(
        "forecast_now",
        "The newest forecast of each station, with its name and place",
        (
            _STATION,
            Column("name", str, False, "Name of the station"),
            Column("zone", str, False, "Arrondissement in Paris, commune elsewhere"),
            Column("lat", float, False, "Latitude, degrees WGS84"),
            Column("lon", float, False, "Longitude, degrees WGS84"),
            _MADE_AT,
            _HORIZON,
            _TARGET_AT,
            _BIKES,
            _DOCKS,
            _RISK_FULL,
            _RISK_EMPTY,
            Column("full_model", str, True, "What risk_full comes from: a model, or a rival where none is champion"),
            Column("empty_model", str, True, "What risk_empty comes from: a model, or a rival where none is champion"),
        ),
        view=True,
    ),
)
"""Tables and views of the forecast, in the order of the documentation."""

FORECAST_FUNCTIONS: Final = (
    Function("station_states_at", ("timestamptz",), "Each station's newest state that began at or before an instant"),
)
