"""`velib live`, `stats`, `export`: what the platform knows, read."""

from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.progress import Progress

from velib_dagster.commands.shared import FeedName, Home, console, days_of, errors, say
from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.stopping import asks_to_stop


def live(
    station: Annotated[str | None, typer.Option(help="One station by its code.")] = None,
    zone: Annotated[str | None, typer.Option(help="The stations of one zone, as 'Paris 16e'.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show once, then end.")] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Show the newest complete 10-minute means, refreshed each 5 seconds; of all zones unless told otherwise."""
    from velib_dagster.runtime.services import readable_store
    from velib_dagster.store.live_tables import live_table

    settings = Settings.load(home, feed)
    if once:
        with readable_store(settings, errors) as ready:
            console.print(live_table(ready, station, zone))
        return
    live = Live(live_table(settings, station, zone), console=console, auto_refresh=False)
    with asks_to_stop() as stop, live as view:
        while not stop.wait(5):
            view.update(live_table(settings, station, zone), refresh=True)


def stats(
    subject: Annotated[str, typer.Argument(help="stations, zones, cells, empty or full.")],
    days: Annotated[
        str | None, typer.Option(help="First and last day, A..B (2024-11-06..2024-11-07), or one day. Default: all.")
    ] = None,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print the PostgreSQL statement instead of running it.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write all columns to this CSV file; in pandas, dtype={'station_code': str}."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="How many rows. Default: 20 in the terminal, else all.", min=1)
    ] = None,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Show the long-term statistics of stations, zones or H3 cells, or which stations are at times empty or full."""
    from velib_dagster.runtime.services import readable_store
    from velib_dagster.store import statistics_tables
    from velib_dagster.store.statistics_reads import Days

    about = statistics_tables.subject_named(subject)
    asked = days_of(days)
    if asked is not None and asked[0] > asked[1]:
        raise VelibError(f"--days {days}: the first day is after the last")
    of_days = Days(*asked) if asked else None
    if as_sql:
        typer.echo(statistics_tables.statement(about, of_days, top))
        return
    with readable_store(Settings.load(home, feed), errors) as settings:
        if csv is None:
            console.print(statistics_tables.table(settings, about, of_days, top))
            return
        done = statistics_tables.write_csv(settings, about, csv, of_days, top)
    simulated = "SIMULATED " if settings.feed.simulated else ""
    console.print(f"{simulated}{done.rows} rows in {done.path}", highlight=False, soft_wrap=True)
    if not simulated:
        console.print(CREDIT, style="dim")


def export(
    file: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    days: Annotated[
        str | None, typer.Option(help="First and last day, A..B (2024-11-06..2024-11-07), or one day.")
    ] = None,
    station: Annotated[str | None, typer.Option(help="One station by its code.")] = None,
    rows: Annotated[str, typer.Option(help="spells: one row a spell; polls: one row a station and poll.")] = "spells",
    excel: Annotated[
        bool,
        typer.Option("--excel", help="For a French Excel: semicolons, decimal commas, no formulas; 1 and 0; UTC."),
    ] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Write the archive as one CSV file. In pandas: read_csv(FILE, dtype={'station_code': str})."""
    from velib_dagster.archive.export import export as write

    if rows not in {"spells", "polls"}:
        raise VelibError(f"--rows {rows}: one of spells, polls")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("export")
        done = write(
            Settings.load(home, feed),
            file,
            days=days_of(days),
            station=station,
            rows="polls" if rows == "polls" else "spells",
            excel=excel,
            on_progress=lambda read, total: progress.update(task, completed=read, total=total),
            warn=say,
        )
    times = "; times are UTC" if excel else ""
    console.print(f"{done.rows} rows in {done.path}{times}", highlight=False, soft_wrap=True)
    console.print(CREDIT, style="dim")
