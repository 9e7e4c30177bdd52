"""The command `velib`: each part of the platform at the terminal.

Thin: a command reads its options, calls one function and says what came of it. Exit status 0 means that the thing
asked for is done.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.stopping import asks_to_stop

LATE_RECORDINGS: Final = 3
"""Exit status of a backfill that had recordings older than what is published."""

app = typer.Typer(
    help="velib_dagster: the Vélib' feed every minute, through Kafka and Spark, in Dagster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console()
errors = Console(stderr=True)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Home folder of the platform. Default: VELIB_HOME, else ~/.local/share/velib-dagster/<feed>."
    ),
]
FeedName = Annotated[str | None, typer.Option("--feed", help="live, simulated, recordings, or the URL of a feed.")]


def main() -> None:
    """Run the command; the platform's own errors are shown as they are, in one paragraph."""
    try:
        app()
    except VelibError as error:
        _say(str(error))
        sys.exit(1)
    except OSError as error:
        _say(f"{error.strerror or error}: {error.filename or ''}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"velib_dagster {version('velib_dagster')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version, then end.")
    ] = False,
) -> None:
    pass


@app.command()
def up(feed: FeedName = None, home: Home = None) -> None:
    """Start everything and keep it running until Ctrl-C: Kafka, PostgreSQL, Spark, Dagster, MLflow."""
    from velib_dagster.runtime.up import up as run_platform

    settings = Settings.load(home, feed)
    named = feed or os.environ.get("VELIB_FEED")
    raise typer.Exit(run_platform(settings, allow_fallback=named is None, console=console))


@app.command()
def backfill(
    folder: Annotated[Path, typer.Argument(help="Folder with recorded answers: .json, .json.gz, .tar.xz.")],
    statistics: Annotated[bool, typer.Option(help="Compute the statistics of the days touched afterwards.")] = True,
    home: Home = None,
) -> None:
    """Send recorded answers through the very same path as the live feed, then wait until all stores hold them."""
    from velib_dagster.runtime.backfill import backfill_recordings, compute_statistics
    from velib_dagster.runtime.services import needed_services

    chosen = home or os.environ.get("VELIB_HOME")
    settings = Settings.load(home, None if chosen else "recordings")
    from velib_dagster.feed.recordings import list_recordings

    list_recordings(folder)  # a folder without any must not start services first
    started = time.monotonic()
    with needed_services(settings, ("kafka", "postgres", "streaming"), console) as running:
        ready = time.monotonic()
        done = backfill_recordings(running, folder, console)
        seconds = time.monotonic() - ready
        days = compute_statistics(running, console) if statistics else 0
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.kinds.items()))
    if not done.fetched and not done.kinds:
        console.print(f"nothing new: all {done.recordings - done.late} recordings were published before")
    else:
        console.print(
            f"{done.fetched} recordings in {seconds:.0f} s (services up in {ready - started:.0f} s): {kinds}; "
            f"{done.spells} spells in {settings.archive}"
        )
        if days:
            console.print(f"statistics of {days} days are in PostgreSQL: velib stats", highlight=False)
        console.print(CREDIT, style="dim")
    if done.late:
        _say(
            f"{done.late} recordings are older than the last published poll and were never published: spells are sent "
            "in order, so they can't be put in between. Use a new --home for the whole folder."
        )
        raise typer.Exit(LATE_RECORDINGS)


@app.command()
def produce(
    every: Annotated[int | None, typer.Option(help="Seconds between polls. Default: the feed's.", min=1)] = None,
    once: Annotated[bool, typer.Option("--once", help="One poll, then end.")] = False,
    feed: FeedName = None,
    home: Home = None,
) -> None:
    """Fetch, keep and send to Kafka each minute, without Dagster."""
    from velib_dagster.events.producer import publish
    from velib_dagster.events.records import PollRecord
    from velib_dagster.feed.poll import poll_once

    settings = Settings.load(home, feed)

    def show(record: PollRecord) -> None:
        console.print(
            f"{record.time:%Y-%m-%d %H:%M:%SZ}  {record.kind}  {record.changed} changed, {record.unchanged} unchanged, "
            f"{record.spells} spells{'  ' + record.reason if record.reason else ''}",
            highlight=False,
        )

    def one() -> bool:
        snapshot = poll_once(settings)
        published = publish(settings, on_poll=show)
        if published.fenced:
            console.print("a newer producer of this feed has taken over: this one ends")
            raise typer.Exit(0)
        return snapshot.error is None

    _each(every or settings.feed.every_seconds, once, one)


@app.command()
def poll(
    standby: Annotated[
        bool, typer.Option("--standby", help="Keep running, and poll only when no snapshot is newer than 90 s.")
    ] = False,
    cut: Annotated[
        bool, typer.Option("--cut", help="With --standby: when stopped, end the running spells at the last poll.")
    ] = False,
    feed: FeedName = None,
    home: Home = None,
) -> None:
    """Fetch the feed once and keep the answer verbatim; nothing is sent."""
    from velib_dagster.feed.poll import poll_once

    if cut and not standby:
        raise VelibError("--cut stands with --standby: a single poll stops nothing")
    settings = Settings.load(home, feed)
    if standby:
        from velib_dagster.runtime.standby import stand_by

        with asks_to_stop() as stop:
            stand_by(settings, stop)
        if cut:
            from velib_dagster.events.producer import cut_running_spells

            console.print(f"{cut_running_spells(settings)} running spells cut at the last poll", highlight=False)
        return
    snapshot = poll_once(settings)
    console.print(f"{snapshot.name}  {snapshot.error or 'kept'}", highlight=False)
    raise typer.Exit(0 if snapshot.error is None else 1)


@app.command()
def stream(home: Home = None, feed: FeedName = None) -> None:
    """Run the Spark Structured Streaming job: Kafka to live windows in PostgreSQL."""
    from velib_dagster.runtime.jars import spark_jars
    from velib_dagster.runtime.java import java_home
    from velib_dagster.streaming.job import run

    os.environ["JAVA_HOME"] = str(java_home())
    run(Settings.load(home, feed), jars=spark_jars())


@app.command()
def archive(
    follow: Annotated[bool, typer.Option("--follow", help="Keep archiving until Ctrl-C.")] = False,
    accept_missing: Annotated[
        bool,
        typer.Option("--accept-missing", help="Go on behind records that Kafka deleted before they were archived."),
    ] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Write finished spells from Kafka into the CSV archive; prints the path of each file written."""
    from velib_dagster.archive.writer import archive_once
    from velib_dagster.archive.writer import follow as follow_archive

    settings = Settings.load(home, feed)

    def show(paths: tuple[Path, ...]) -> None:
        for path in paths:
            typer.echo(path)

    if follow:
        with asks_to_stop() as stop:
            follow_archive(settings, stop, lambda archived: show(archived.files))
        return
    archived = archive_once(settings, accept_missing=accept_missing)
    show(archived.files)
    if archived.through is None:
        errors.print("no finished spell yet: the first come with the second poll")


@app.command()
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


@app.command("check-feed")
def check_feed(feed: FeedName = None, home: Home = None) -> None:
    """Call the feed once and say what was recognised, what is missing, and how much quota is left."""
    from velib_dagster.feed.check import check_feed as check

    result = check(Settings.load(home, feed))
    console.print(result.text(), highlight=False, markup=False)
    raise typer.Exit(0 if result.usable else 1)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    days: Annotated[
        str | None, typer.Option(help="First and last day, A..B (2024-11-06..2024-11-07), or one day.")
    ] = None,
    station: Annotated[str | None, typer.Option(help="One station by its code.")] = None,
    rows: Annotated[str, typer.Option(help="spells: one row a spell; polls: one row a station and poll.")] = "spells",
    excel: Annotated[bool, typer.Option("--excel", help="Semicolons, decimal commas and a byte order mark.")] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Write the archive as one CSV file."""
    from velib_dagster.archive.export import export as write

    if rows not in {"spells", "polls"}:
        raise VelibError(f"--rows {rows}: one of spells, polls")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("export")
        done = write(
            Settings.load(home, feed),
            file,
            days=_days(days),
            station=station,
            rows="polls" if rows == "polls" else "spells",
            excel=excel,
            on_progress=lambda read, total: progress.update(task, completed=read, total=total),
        )
    console.print(f"{done.rows} rows in {done.path}", highlight=False, soft_wrap=True)
    console.print(CREDIT, style="dim")


@app.command()
def live(
    station: Annotated[str | None, typer.Option(help="One station by its code.")] = None,
    zone: Annotated[str | None, typer.Option(help="The stations of one zone, as 'Paris 16e'.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show once, then end.")] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Show the newest complete 10-minute means, refreshed each 5 seconds; of all zones unless told otherwise."""
    from velib_dagster.runtime.services import readable_store

    settings = Settings.load(home, feed)
    if once:
        with readable_store(settings, errors) as ready:
            console.print(_live_table(ready, station, zone))
        return
    live = Live(_live_table(settings, station, zone), console=console, auto_refresh=False)
    with asks_to_stop() as stop, live as view:
        while not stop.wait(5):
            view.update(_live_table(settings, station, zone), refresh=True)


@app.command()
def stats(
    subject: Annotated[str, typer.Argument(help="stations, zones, cells, empty or full.")],
    days: Annotated[
        str | None, typer.Option(help="First and last day, A..B (2024-11-06..2024-11-07), or one day. Default: all.")
    ] = None,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print the PostgreSQL statement instead of running it.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write all columns to this CSV file.")] = None,
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
    asked = _days(days)
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


@app.command()
def train(
    files: Annotated[list[Path] | None, typer.Argument(help="More Parquet files, behind --history.")] = None,
    history: Annotated[
        list[Path] | None,
        typer.Option(help="Parquet files of polls to train on instead of the archive; the target is the next poll."),
    ] = None,
    target: Annotated[str, typer.Option(help="full, empty or both.")] = "both",
    horizons: Annotated[str, typer.Option(help="Minutes ahead, separated by commas.")] = "5,15,30,60",
    days: Annotated[
        str | None, typer.Option(help="First and last day, A..B (2024-11-06..2024-11-07). Default: the newest 28.")
    ] = None,
    validate_from: Annotated[str | None, typer.Option(help="First day to validate on; the days before train.")] = None,
    test_from: Annotated[str | None, typer.Option(help="First day to test on.")] = None,
    station: Annotated[str | None, typer.Option(help="One station by its code; its data alone.")] = None,
    one_station: Annotated[
        bool, typer.Option("--one-station", help="One station: the one with the most full (empty) time in training.")
    ] = False,
    models: Annotated[str | None, typer.Option(help="Models, separated by commas. Default: all.")] = None,
    step: Annotated[
        int | None, typer.Option(help="Seconds between lags. Default: 60 or 300, as the archive was polled.", min=10)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed and data give the same numbers.")] = 1,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Train models that say whether a station will be full or empty, and compare them in MLflow with their rivals."""
    from velib_dagster.forecast.request import request_from_text

    if files and not history:
        raise VelibError(f"{files[0]}: Parquet files stand behind --history; the archive needs none")
    request = request_from_text(
        history=(*(history or ()), *(files or ())),
        target=target,
        horizons=horizons,
        days=_days(days),
        validate_from=validate_from,
        test_from=test_from,
        station=station,
        one_station=one_station,
        models=models,
        step=step,
        seed=seed,
    )
    settings = Settings.load(home, feed)
    if not request.history:
        from velib_dagster.archive.errors import EmptyArchiveError
        from velib_dagster.archive.reader import committed_files

        if not committed_files(settings.archive):
            raise EmptyArchiveError(settings.archive)  # before services are started
    from velib_dagster.forecast.tables import report_tables
    from velib_dagster.runtime.training import train as train_models

    report = train_models(
        settings, request, console, lambda words: console.print(words, highlight=False, soft_wrap=True)
    )
    for table in report_tables(report, simulated=settings.feed.simulated and not request.history):
        console.print(table)


@app.command()
def forecast(
    station: Annotated[str | None, typer.Option(help="One station by its code.")] = None,
    zone: Annotated[str | None, typer.Option(help="The stations of one zone, as 'Paris 16e'.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Minutes ahead: 15, 30 or 60.")] = None,
    top: Annotated[int, typer.Option(help="How many rows, the greatest risk first.", min=1)] = 20,
    scores: Annotated[bool, typer.Option("--scores", help="How good the past forecasts were, by day.")] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Show each station's risk to be full or empty, from the newest forecast."""
    from velib_dagster.runtime.services import readable_store
    from velib_dagster.store.forecast_tables import risk_table, score_table

    with readable_store(Settings.load(home, feed), errors) as settings:
        if scores:
            console.print(score_table(settings))
        else:
            console.print(risk_table(settings, horizon=horizon, station_code=station, zone=zone, top=top))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Say of each part whether it is up, and of the data how far it has come."""
    from velib_dagster.runtime.status import platform_status

    found = platform_status(Settings.load(home, feed))
    typer.echo(json.dumps(found.as_dict(), indent=1, default=str)) if as_json else console.print(found.table())
    raise typer.Exit(0 if found.healthy else 1)


@app.command()
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


@app.command()
def prepare(home: Home = None, feed: FeedName = None) -> None:
    """On a server: folders, topics, databases and migrations, then done; Kafka and PostgreSQL are those given."""
    from velib_dagster.runtime.prepare import prepare as prepare_home

    prepare_home(Settings.load(home, feed), lambda words: console.print(words, highlight=False, soft_wrap=True))


@app.command()
def serve(
    part: Annotated[str, typer.Argument(help="dagster_code, dagster_web, dagster_daemon or mlflow.")],
    home: Home = None,
) -> None:
    """On a server: run one part in the foreground, after velib prepare."""
    from velib_dagster.runtime.serve import serve as serve_part

    serve_part(Settings.load(home), part)


@app.command()
def health(
    part: Annotated[
        str, typer.Argument(help="home, dagster_code, dagster_web, dagster_daemon, mlflow, streaming or standby.")
    ] = "home",
    home: Home = None,
) -> None:
    """On a server: whether one part works; says what is wrong, with exit status 1, where it doesn't."""
    from velib_dagster.runtime.health import trouble

    found = trouble(Settings.load(home), part)
    if found is not None:
        raise VelibError(f"{part}: {found}")


@app.command()
def dsn(home: Home = None, feed: FeedName = None) -> None:
    """Print the read-only PostgreSQL address for psql and BI tools."""
    from velib_dagster.store.connect import dsn as readonly_dsn

    typer.echo(readonly_dsn(Settings.load(home, feed)))


def _say(words: str) -> None:
    """An error, for people; what it quotes is no markup."""
    errors.print(Text.assemble(("velib: ", "red"), words), soft_wrap=True)


def _each(seconds: int, once: bool, step: Callable[[], bool]) -> None:
    """Run a step at once and then on each multiple of the interval, until Ctrl-C; a missed one is not caught up."""
    with asks_to_stop() as stop:
        good = step()
        if once:
            raise typer.Exit(0 if good else 1)
        while not stop.wait(seconds - time.time() % seconds):
            try:
                step()
            except VelibError as error:
                _say(str(error))


def _days(text: str | None) -> tuple[date, date] | None:
    if text is None:
        return None
    first, _, last = text.partition("..")
    try:
        return date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError as error:
        raise VelibError(f"--days {text}: a day is YYYY-MM-DD, a range A..B") from error


def _live_table(settings: Settings, station: str | None, zone: str | None) -> Table:
    from velib_dagster.store.connect import connect
    from velib_dagster.store.reads import latest_station_means, latest_zone_means

    with connect(settings, readonly=True) as connection:
        if station or zone:
            means = latest_station_means(connection, station_code=station, zone=zone)
        else:
            means = latest_zone_means(connection)
    title = f"{'SIMULATED ' if settings.feed.simulated else ''}{settings.feed.name}"
    if means:
        window = (m.astimezone(settings.feed.zone_info) for m in (means[0].window_start, means[0].window_end))
        title += " " + " – ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in window)
    else:
        title += ": no complete window yet (the first takes up to 20 minutes)"
    table = Table(title=title, caption=CREDIT if not settings.feed.simulated else None)
    table.add_column("station" if station or zone else "zone")
    for name in ("bikes", "mechanical", "e-bikes", "free docks", "occupancy", "empty", "full"):
        table.add_column(name, justify="right")
    for mean in means:
        table.add_row(
            f"{mean.key} {mean.name or ''}".strip(),
            *(_number(v) for v in (mean.bikes_mean, mean.mechanical_mean, mean.ebike_mean, mean.docks_mean)),
            *(_share(v) for v in (mean.occupancy_mean, mean.empty_share, mean.full_share)),
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


if __name__ == "__main__":
    main()
