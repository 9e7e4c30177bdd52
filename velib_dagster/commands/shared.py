"""What the commands share: the terminal, options that most of them have, days as text.

No command here, and nothing of the platform but its settings.
"""

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from velib_dagster.settings import VelibError
from velib_dagster.stopping import asks_to_stop

console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)
"""What is printed quotes names and paths of other people: square brackets and colons in them are no markup."""

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Home folder of the platform. Default: VELIB_HOME, else ~/.local/share/velib-dagster/<feed>."
    ),
]
ChosenName = Annotated[
    str | None,
    typer.Option(
        "--name", help="Name of a new home's feed, in topics and databases. Default: VELIB_FEED_NAME, else its own."
    ),
]
FeedName = Annotated[
    str | None,
    typer.Option("--feed", help="live, simulated, recordings, the URL of a feed, or the name of one with a home."),
]


def say(words: str) -> None:
    """An error, for people; what it quotes is no markup."""
    errors.print(Text.assemble(("velib: ", "red"), words), soft_wrap=True)


def each(seconds: int, once: bool, step: Callable[[], bool]) -> None:
    """Run a step at once and then on each multiple of the interval, until Ctrl-C; a missed one is not caught up."""
    with asks_to_stop() as stop:
        good = step()
        if once:
            raise typer.Exit(0 if good else 1)
        while not stop.wait(seconds - time.time() % seconds):
            try:
                step()
            except VelibError as error:
                say(str(error))


def days_of(text: str | None) -> tuple[date, date] | None:
    """First and last day of `A..B`, or of one day; None where none is asked for.

    Raises:
        VelibError: it is neither.
    """
    if text is None:
        return None
    first, _, last = text.partition("..")
    try:
        return date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError as error:
        raise VelibError(f"--days {text}: a day is YYYY-MM-DD, a range A..B") from error
