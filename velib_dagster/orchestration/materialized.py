"""What came of the platform by itself: each asset's newest materialization and who launched it, each tick that failed.

Read from Dagster's instance; `velib status --assets` and the test of a new home's first ten minutes show it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from rich.table import Table
from rich.text import Text

from velib_dagster.definitions import build_defs
from velib_dagster.orchestration.live_windows import GRAINS
from velib_dagster.settings import Settings, VelibError

LOOK_BACK: Final = timedelta(days=1)
_LAUNCHERS: Final = ("dagster/schedule_name", "dagster/sensor_name")


@dataclass(frozen=True)
class Materialized:
    """An asset: when it was last materialized (None: never), and the schedule or sensor behind it (None: a person)."""

    asset: str
    at: datetime | None
    launched_by: str | None


@dataclass(frozen=True)
class FailedTick:
    """A look of a schedule or sensor that ended in an error: its first line."""

    name: str
    at: datetime
    error: str


def of_instance(settings: Settings) -> tuple[list[Materialized], list[FailedTick]]:
    """Assets, and ticks that failed within a day, of the instance that the environment's DAGSTER_HOME names.

    Raises:
        VelibError: its database can't be read.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - with its storage only

    try:
        with dg.DagsterInstance.get() as instance:
            return materialized(instance, settings), failed_ticks(instance, datetime.now(UTC) - LOOK_BACK)
    except SQLAlchemyError as error:
        msg = f"Dagster's database can't be read: {str(error).splitlines()[0]}. Is PostgreSQL started (velib up)?"
        raise VelibError(msg) from error


def materialized(instance: dg.DagsterInstance, settings: Settings) -> list[Materialized]:
    """Every asset that can be materialized, and those that the streaming job's sensor reports, by name."""
    graph = build_defs(settings=settings).resolve_asset_graph()
    keys = {*graph.materializable_asset_keys, *(dg.AssetKey(f"live_{grain}_windows") for grain in GRAINS)}
    return [_newest(instance, key) for key in sorted(keys)]


def _newest(instance: dg.DagsterInstance, key: dg.AssetKey) -> Materialized:
    name = key.to_user_string()
    event = instance.get_latest_materialization_event(key)
    if event is None:
        return Materialized(name, None, None)
    run = instance.get_run_by_id(event.run_id) if event.run_id else None
    reported_by = "streaming_progress" if name.startswith("live_") else "computed_elsewhere"
    by = next((run.tags[tag] for tag in _LAUNCHERS if tag in run.tags), None) if run else reported_by
    return Materialized(name, datetime.fromtimestamp(event.timestamp, UTC), by)


def failed_ticks(instance: dg.DagsterInstance, since: datetime) -> list[FailedTick]:
    """Ticks of schedules and sensors that failed since a time, oldest first."""
    found = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=since.timestamp(), statuses=[TickStatus.FAILURE]
        )
        for tick in ticks:
            words = tick.error.message.strip().splitlines()[0] if tick.error and tick.error.message.strip() else "?"
            found.append(FailedTick(state.instigator_name, datetime.fromtimestamp(tick.timestamp, UTC), words))
    return sorted(found, key=lambda tick: tick.at)


def tables(settings: Settings, assets: list[Materialized], ticks: list[FailedTick]) -> list[Table]:
    """For people: times in the feed's zone."""

    def clock(moment: datetime) -> str:
        return moment.astimezone(settings.feed.zone_info).strftime("%Y-%m-%d %H:%M:%S")

    of_assets = Table("asset", "last materialized", "launched by", title="Assets", title_justify="left")
    for one in assets:
        at = Text(clock(one.at)) if one.at else Text("never", "red")
        of_assets.add_row(one.asset, at, Text(one.launched_by or ("a person" if one.at else "")))
    of_ticks = Table("schedule or sensor", "at", "error", title="Ticks that failed within a day", title_justify="left")
    for tick in ticks:
        of_ticks.add_row(tick.name, clock(tick.at), Text(tick.error, "red"))
    if not ticks:
        of_ticks.add_row("none", "", "")
    return [of_assets, of_ticks]
