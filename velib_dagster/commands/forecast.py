"""`velib train`, `forecast`: models that say which station will be full or empty, and what they say."""

from pathlib import Path
from typing import Annotated

import typer

from velib_dagster.commands.shared import FeedName, Home, console, days_of, errors
from velib_dagster.settings import Settings, VelibError


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
        days=days_of(days),
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
