"""Asset `station_forecasts`: every ten minutes each station's risk, and what came of the risks told before.

Where no model is champion, the best rival stands in, and says so. No Java, no pyspark, no MLflow client: a refresh
costs seconds of processor time and little memory. How a risk is computed belongs to `forecast/live.py`, the rows to
`store/forecasts.py`.
"""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import OWNERS, Metadata, simulated_note, table
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from velib_dagster.forecast.champion import Champion
    from velib_dagster.forecast.live import Risks
    from velib_dagster.forecast.task import Target
    from velib_dagster.store.forecasts import ForecastModel, StateAt
    from velib_dagster.store.upsert import Connection

STATION_FORECASTS: Final = dg.AssetKey("station_forecasts")
SCORE_EVERY: Final = timedelta(minutes=55)
"""A day under way is scored once an hour: its forecasts run to hundreds of thousands."""
HEAD_ROWS: Final = 5


@dg.asset(
    key=STATION_FORECASTS,
    deps=["full_station_model", "empty_station_model", "live_station_windows"],
    group_name="models",
    kinds={"python", "postgres"},
    owners=list(OWNERS),
)
def station_forecasts(platform: Platform) -> dg.MaterializeResult[None]:
    """One row per station in service, newest poll and horizon (15, 30, 60 minutes): its risk to be full and empty.

    By the champions in MLflow; where no model has earned the alias, by the best rival, which is named. Past forecasts
    are settled by what came, and scored by day beside their rivals. Read as view `forecast_now`, tables
    `forecast_models`, `forecast_scores`, or `velib forecast`.
    """
    from velib_dagster.settings import VelibError  # noqa: PLC0415

    settings = platform.settings()
    try:
        return refresh(settings)
    except VelibError as error:
        raise dg.Failure(str(error)) from error


def refresh(settings: Settings) -> dg.MaterializeResult[None]:
    """Forecast from the newest usable poll, settle and score what is past.

    Raises:
        ForecastError: the feed has no usable poll yet.
        TrackingError: MLflow is away.
        StoreError: PostgreSQL is away.
    """
    # Not at the top: the run of each minute loads this module too.
    from velib_dagster.forecast.champion import champion, stand_in  # noqa: PLC0415
    from velib_dagster.forecast.errors import ForecastError  # noqa: PLC0415
    from velib_dagster.forecast.live import lag_instants, risks  # noqa: PLC0415
    from velib_dagster.forecast.pages import comparison_pages  # noqa: PLC0415
    from velib_dagster.forecast.task import USED_HORIZONS, Target  # noqa: PLC0415
    from velib_dagster.store.connect import connect  # noqa: PLC0415
    from velib_dagster.store.forecasts import newest_usable_poll, settle, states_at, write_forecasts  # noqa: PLC0415
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415

    feed = settings.feed
    pages = comparison_pages(settings)  # takes over models of before names carried the feed's
    found = {
        (target, horizon): champion(settings.mlflow, target, horizon, feed.name)
        or stand_in(settings.mlflow, target, horizon, feed.name, feed.timezone)
        for target in Target
        for horizon in USED_HORIZONS
    }
    migrate(settings)
    hold = settings.feed.max_hold_seconds
    with connect(settings) as connection:
        made_at = newest_usable_poll(connection)
        if made_at is None:
            msg = f"the feed {settings.feed.name} has no usable poll yet: there is nothing to forecast from"
            raise ForecastError(msg)
        instants = {at for one in found.values() for at in lag_instants(made_at, one.scorer.document["step_seconds"])}
        states = {at: states_at(connection, at, hold) for at in instants | {made_at}}
        told = {
            key: risks(
                one.scorer,
                made_at,
                [states[at] for at in lag_instants(made_at, one.scorer.document["step_seconds"])],
            )
            for key, one in found.items()
        }
        rows = _rows(made_at, {code: s for code, s in states[made_at].items() if s.in_service}, found, told)
        written = write_forecasts(connection, made_at, rows, _models(made_at, found))
        settled = settle(connection, hold)
        scored = _score(connection, settings, made_at)
    metadata: Metadata = {
        "dagster/row_count": written,
        "made_at": dg.MetadataValue.timestamp(made_at.timestamp()),
        "settled": settled,
        "scored_days": ", ".join(map(str, scored)) or "none",
        "champions": ", ".join(_named(one) for one in found.values() if one.version is not None) or "none",
        **{f"compare_{target}": dg.MetadataValue.url(address) for target, address in pages.items()},
        **simulated_note(settings),
    }
    if rivals := [one for one in found.values() if one.version is None]:
        metadata["no_champion"] = dg.MetadataValue.md(
            "Here no model has earned the alias champion, and the best rival stands in:\n\n"
            + "\n".join(f"- {_named(one)}: {one.why}" for one in rivals)
        )
    if worth := "\n\n".join(dict.fromkeys(one.worth for one in found.values() if one.worth)):
        metadata["worth"] = dg.MetadataValue.md(worth)
    if (head := table(_head(rows))) is not None:
        metadata["most_at_risk"] = head
    return dg.MaterializeResult(metadata=metadata)


def _rows(
    made_at: datetime,
    in_service: "dict[str, StateAt]",
    found: "dict[tuple[Target, int], Champion]",
    told: "dict[tuple[Target, int], Risks]",
) -> list[tuple[object, ...]]:
    """Rows with the columns of `store.forecast_columns.STATION_FORECASTS`, in order."""
    from velib_dagster.forecast.task import Target  # noqa: PLC0415

    by_code = {key: dict(zip(one.codes, one.risk.tolist(), strict=True)) for key, one in told.items()}
    rows: list[tuple[object, ...]] = []
    for horizon in sorted({horizon for _, horizon in found}):
        full, empty = found.get((Target.FULL, horizon)), found.get((Target.EMPTY, horizon))
        for code, state in sorted(in_service.items()):
            rows.append(
                (
                    code,
                    made_at,
                    horizon,
                    made_at + timedelta(minutes=horizon),
                    state.bikes,
                    state.docks,
                    by_code.get((Target.FULL, horizon), {}).get(code),
                    by_code.get((Target.EMPTY, horizon), {}).get(code),
                    full.version if full else None,
                    empty.version if empty else None,
                )
            )
    return rows


def _named(one: "Champion") -> str:
    version = "a rival" if one.version is None else f"version {one.version}"
    return f"{one.target} in {one.horizon} min: {one.model} ({version})"


def _models(made_at: datetime, found: "dict[tuple[Target, int], Champion]") -> "list[ForecastModel]":
    from velib_dagster.store.forecasts import ForecastModel  # noqa: PLC0415

    return [
        ForecastModel(
            made_at=made_at,
            target=one.target.value,
            horizon_minutes=one.horizon,
            model=one.model,
            version=one.version,
            worth=one.worth,
        )
        for one in found.values()
    ]


def _score(connection: "Connection", settings: Settings, made_at: datetime) -> list[date]:
    """Score the day of the newest poll once an hour, and the day before until all its outcomes are in."""
    from velib_dagster.statistics.days import Days  # noqa: PLC0415
    from velib_dagster.store.forecasts import score_day, scored_at  # noqa: PLC0415

    today = made_at.astimezone(settings.feed.zone_info).date()
    now = datetime.now(made_at.tzinfo)
    scored = []
    for day in (today - timedelta(days=1), today):
        whole = Days.one(day, settings.feed.timezone)
        last = scored_at(connection, day)
        over = made_at >= whole.end + timedelta(hours=2)
        due = last is None or (now - last >= SCORE_EVERY and not (over and last >= whole.end + timedelta(hours=2)))
        if due and score_day(connection, day, whole.start, whole.end):
            scored.append(day)
    return scored


def _head(rows: list[tuple[object, ...]]) -> list[dict[str, str | int | float | bool | None]]:
    known = [row for row in rows if row[6] is not None or row[7] is not None]
    worst = sorted(known, key=lambda row: -max(float(row[6] or 0), float(row[7] or 0)))[:HEAD_ROWS]  # type: ignore[arg-type]
    return [
        {
            "station_code": str(row[0]),
            "horizon_minutes": int(str(row[2])),
            "risk_full": None if row[6] is None else round(float(str(row[6])), 3),
            "risk_empty": None if row[7] is None else round(float(str(row[7])), 3),
        }
        for row in worst
    ]
