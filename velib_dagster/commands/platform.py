"""`velib up`, `status`, `dsn`; on a server `prepare`, `serve`, `health`: the platform as a whole, and its parts."""

import json
import os
from typing import Annotated

import typer

from velib_dagster.commands.shared import ChosenName, FeedName, Home, console
from velib_dagster.masking import masked
from velib_dagster.settings import Settings, VelibError, with_address


def up(feed: FeedName = None, home: Home = None, name: ChosenName = None) -> None:
    """Start everything and keep it running until Ctrl-C: Kafka, PostgreSQL, Spark, Dagster, MLflow."""
    from velib_dagster.runtime.up import up as run_platform

    settings = Settings.load(home, feed, name)
    named = feed or os.environ.get("VELIB_FEED")
    raise typer.Exit(run_platform(settings, allow_fallback=named is None, console=console))


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    assets: Annotated[
        bool, typer.Option("--assets", help="Each asset's last materialization, failed ticks, first rows instead.")
    ] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Say of each part whether it is up, and of the data how far it has come."""
    if assets:
        from velib_dagster.commands.materialized import show_assets

        raise typer.Exit(0 if show_assets(Settings.load(home, feed)) else 1)
    from velib_dagster.runtime.status import platform_status

    found = platform_status(Settings.load(home, feed))
    typer.echo(json.dumps(found.as_dict(), indent=1, default=str)) if as_json else console.print(found.table())
    raise typer.Exit(0 if found.healthy else 1)


def dsn(home: Home = None, feed: FeedName = None) -> None:
    """Print the read-only PostgreSQL address for psql and BI tools."""
    from velib_dagster.store.connect import dsn as readonly_dsn

    typer.echo(readonly_dsn(Settings.load(home, feed)))


def feed_url(
    url: Annotated[str | None, typer.Argument(help="The new address. Default: say the one in force.")] = None,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Give the home's feed another address: the same stations under a new URL, or with a new key."""
    settings = Settings.load(home, feed)
    if url is not None:
        settings = with_address(settings, url)
    console.print(f"{settings.feed.name}: {masked(settings.feed.url) or 'no address'}", highlight=False, soft_wrap=True)
    if url is not None:
        console.print("The next poll asks there; a standby poller that runs, from its next start on.")


def adopt(home: Home = None, feed: FeedName = None) -> None:
    """Take the feed's topics and database in a given Kafka or PostgreSQL over from a home that is gone for good."""
    from velib_dagster.runtime.adopt import adopt as adopt_stores

    adopt_stores(Settings.load(home, feed), lambda words: console.print(words, highlight=False, soft_wrap=True))


def prepare(home: Home = None, feed: FeedName = None, name: ChosenName = None) -> None:
    """On a server: folders, topics, databases and migrations, then done; Kafka and PostgreSQL are those given."""
    from velib_dagster.runtime.prepare import prepare as prepare_home

    prepare_home(Settings.load(home, feed, name), lambda words: console.print(words, highlight=False, soft_wrap=True))


def serve(
    part: Annotated[str, typer.Argument(help="dagster_code, dagster_web, dagster_daemon or mlflow.")],
    home: Home = None,
) -> None:
    """On a server: run one part in the foreground, after velib prepare."""
    from velib_dagster.runtime.serve import serve as serve_part

    serve_part(Settings.load(home), part)


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
