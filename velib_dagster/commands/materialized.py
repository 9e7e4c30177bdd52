"""`velib status --assets`: what the platform has done by itself, and the first rows of what it found out."""

import os
from typing import Final

from rich.table import Table

from velib_dagster.commands.shared import console
from velib_dagster.settings import Settings, VelibError

_ROWS: Final = 5


def show_assets(settings: Settings) -> bool:
    """Print assets, failed ticks, first rows of statistics and forecast; whether all assets are there and no tick red.

    Raises:
        VelibError: PostgreSQL or Dagster's database is away.
    """
    from velib_dagster.orchestration.materialized import of_instance, tables
    from velib_dagster.runtime import dagster_services
    from velib_dagster.store import statistics_tables
    from velib_dagster.store.forecast_tables import risk_table

    home = dagster_services.instance_home(settings)
    if not (home / "dagster.yaml").exists():
        msg = f"nothing has run in {settings.home} yet: velib up starts it"
        raise VelibError(msg)
    os.environ.update(dagster_services.environment(settings))
    assets, ticks = of_instance(settings)
    for table in tables(settings, assets, ticks):
        console.print(table)
    shown = True

    def stations() -> Table:
        return statistics_tables.table(settings, statistics_tables.subject_named("stations"), None, _ROWS)

    def risks() -> Table:
        return risk_table(settings, horizon=None, station_code=None, zone=None, top=_ROWS)

    for first_rows in (stations, risks):
        try:
            console.print(first_rows())
        except VelibError as error:
            shown = False
            console.print(str(error), style="red", markup=False, soft_wrap=True)
    return shown and not ticks and all(one.at for one in assets)
