"""The newest forecasts, and how good the past ones were, for the terminal; words where there are none.

The command `velib forecast` calls it. What is read stands in `forecasts.py`.
"""

from collections.abc import Sequence

import psycopg
from rich.table import Table

from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.store.connect import connect
from velib_dagster.store.forecasts import ForecastModel, day_scores, models_now, risks_now
from velib_dagster.store.terminal import plain

SCORE_DAYS = 7


def risk_table(
    settings: Settings, *, horizon: int | None, station_code: str | None, zone: str | None, top: int
) -> Table:
    """The stations most at risk, by the newest forecast.

    Raises:
        VelibError: there is no forecast yet, or none of what is asked for.
    """
    try:
        with connect(settings, readonly=True) as connection:
            found = risks_now(connection, horizon=horizon, station_code=station_code, zone=zone)
            any_at_all = bool(found) or bool(risks_now(connection))
            models = models_now(connection)
    except psycopg.errors.UndefinedTable:
        found, any_at_all, models = [], False, []
    if not any_at_all:
        msg = f"{settings.feed.name} has no forecast yet: a running platform makes one every ten minutes (velib up)"
        raise VelibError(msg)
    if not found:
        asked = {"horizon": horizon, "station": station_code, "zone": zone}
        named = ", ".join(f"{name} {value}" for name, value in asked.items() if value is not None)
        msg = f"the newest forecast has nothing of {named}"
        raise VelibError(msg)
    simulated = settings.feed.simulated
    made_at = found[0].made_at.astimezone(settings.feed.zone_info)
    table = Table(
        title="\n".join(
            (
                f"{'SIMULATED ' if simulated else ''}{settings.feed.name}: forecast of {made_at:%Y-%m-%d %H:%M}",
                *made_with([one for one in models if horizon in {None, one.horizon_minutes}]),
            )
        ),
        caption=None if simulated else CREDIT,
    )
    for name in ("station", "zone", "at", "in", "bikes now", "docks now", "risk full", "risk empty"):
        table.add_column(name, justify="left" if name in {"station", "zone"} else "right")
    for row in found[:top]:
        table.add_row(
            plain(f"{row.station_code} {row.name}"),
            plain(row.zone),
            f"{row.target_at.astimezone(settings.feed.zone_info):%H:%M}",
            f"{row.horizon_minutes} min",
            str(row.bikes),
            "–" if row.docks is None else str(row.docks),
            _share(row.risk_full),
            _share(row.risk_empty),
        )
    return table


def made_with(models: Sequence[ForecastModel]) -> list[str]:
    """A line for each model and rival that the newest forecast was made with, then what they are worth."""
    horizons: dict[tuple[str, str, int | None], list[str]] = {}
    for one in models:
        horizons.setdefault((one.target, one.model, one.version), []).append(str(one.horizon_minutes))
    lines = [
        f"{target} in {', '.join(minutes)} min by {model}, "
        + (f"champion, version {version}" if version is not None else "the best rival: no model is champion")
        for (target, model, version), minutes in horizons.items()
    ]
    return [*lines, *dict.fromkeys(one.worth for one in models if one.worth)]


def score_table(settings: Settings) -> Table:
    """How good the forecasts of the newest days were, beside their rivals.

    Raises:
        VelibError: no day is scored yet.
    """
    none_yet = f"{settings.feed.name} has no scored forecast yet: a forecast is scored once its time has come"
    try:
        with connect(settings, readonly=True) as connection:
            found = day_scores(connection, SCORE_DAYS)
    except psycopg.errors.UndefinedTable:
        raise VelibError(none_yet) from None
    if not found:
        raise VelibError(none_yet)
    table = Table(title=f"{'SIMULATED ' if settings.feed.simulated else ''}{settings.feed.name}: past forecasts")
    for name in ("day", "target", "in", "forecasts", "events", "PR-AUC", "of the count", "Brier", "of persistence"):
        table.add_column(name, justify="left" if name in {"day", "target"} else "right")
    for row in found:
        table.add_row(
            str(row.day),
            row.target,
            f"{row.horizon_minutes} min",
            str(row.forecasts),
            str(row.events),
            _figure(row.pr_auc),
            _figure(row.pr_auc_of_count),
            f"{row.brier:.4f}",
            f"{row.brier_persistence:.4f}",
        )
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
