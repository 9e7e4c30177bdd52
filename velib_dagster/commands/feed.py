"""`velib fetch`, `check-feed`, `simulate`: what the feed says, and one whose truth is known."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from velib_dagster.commands.shared import FeedName, Home, console, errors
from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.stopping import asks_to_stop


def fetch(
    nrows: Annotated[int, typer.Option(help="How many stations.")] = 10,
    station: Annotated[str | None, typer.Option(help="One station by its code.")] = None,
) -> None:
    """Show what the feed's API says, its own field names untouched: get_velib_data and get_station."""
    from velib_dagster.feed import get_station, get_velib_data

    try:
        answer: Any = get_station(station) if station else get_velib_data(nrows)
    except (LookupError, ValueError) as error:
        raise VelibError(str(error.args[0])) from error
    typer.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    errors.print(CREDIT, style="dim")


def check_feed(feed: FeedName = None, home: Home = None) -> None:
    """Call the feed once and say what was recognised, what is missing, and how much quota is left."""
    from velib_dagster.feed.check import check_feed as check

    result = check(Settings.load(home, feed))
    console.print(result.text(), highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if result.usable else 1)


def simulate(
    port: Annotated[int, typer.Option(help="Port to serve on (loopback); 0 takes a free one.")] = 0,
    stations: Annotated[int, typer.Option(help="How many stations.", min=1, max=3000)] = 300,
    seed: Annotated[int, typer.Option(help="The same seed gives the same network.", min=0)] = 1,
    days: Annotated[int, typer.Option(help="Write so many days of answers instead of serving.", min=1)] = 1,
    every: Annotated[int, typer.Option(help="Seconds between recorded answers.", min=1, max=86_400)] = 300,
    into: Annotated[Path | None, typer.Option(help="Folder for the recorded answers.")] = None,
) -> None:
    """Serve the simulated network like the real feed (Explore v2.1 and GBFS), or write days of its answers."""
    if into is not None:
        from velib_dagster.simulator.days import write_days

        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("answers")
            written = write_days(
                into,
                days=days,
                every_seconds=every,
                stations=stations,
                seed=seed,
                on_progress=lambda made, total: progress.update(task, completed=made, total=total),
            )
        console.print(f"{written} answers in {into}", highlight=False, soft_wrap=True)
        return
    from velib_dagster.simulator.network import Network
    from velib_dagster.simulator.server import SimulatorServer

    with asks_to_stop() as stop, SimulatorServer(Network.generate(stations, seed), port) as server:
        console.print(
            f"SIMULATED feed of {stations} stations, seed {seed}\n{server.url}\n{server.gbfs_url}", soft_wrap=True
        )
        stop.wait()
