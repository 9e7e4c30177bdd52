"""The command `velib`: each part of the platform at the terminal.

Thin: a command, in `commands/`, reads its options, calls one function and says what came of it. Exit status 0 means
that the thing asked for is done.
"""

import sys
from typing import Annotated

import typer

from velib_dagster.certificates import trust_the_machine
from velib_dagster.commands import chain, feed, forecast, platform, reading
from velib_dagster.commands.shared import say
from velib_dagster.settings import VelibError

app = typer.Typer(
    help="velib_dagster: the Vélib' feed every minute, through Kafka and Spark, in Dagster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    platform.up, platform.status,
    chain.backfill, chain.poll, chain.produce, chain.stream, chain.archive, chain.set_aside,
    reading.live, reading.stats, reading.export,
    forecast.train, forecast.forecast,
    feed.fetch, feed.check_feed, feed.simulate,
    platform.dsn, platform.feed_url, platform.adopt, platform.prepare, platform.serve, platform.health,
):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Run the command; the platform's own errors are shown as they are, in one paragraph."""
    trust_the_machine()
    try:
        app()
    except VelibError as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say(f"{error.strerror or error}: {error.filename or ''}")
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


if __name__ == "__main__":
    main()
