"""A training's comparison for the terminal: one table per event and horizon, and who became champion."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from velib_dagster.forecast.run import Report, figures, verdicts
from velib_dagster.settings import CREDIT
from velib_dagster.store.terminal import plain


def report_tables(report: Report, *, simulated: bool) -> Iterator[RenderableType]:
    """What `velib train` shows at its end."""
    mark = "SIMULATED " if simulated else ""
    for outcome in report.outcomes:
        rows = figures(outcome)
        first, last, _ = outcome.days["test"]
        table = Table(
            title=f"{mark}{outcome.task.target} in {outcome.horizon_name}: test days {first} to {last}",
            caption=None if simulated else CREDIT,
        )
        names = [name for name in rows[0] if name not in {"target", "horizon", "champion"}]
        for name in names:
            table.add_column(name.replace("_", " "), justify="left" if name == "score" else "right")
        for row in rows:
            cells = ["–" if row[name] is None else str(row[name]) for name in names]
            table.add_row(*(plain(text) for text in (f"{cells[0]} {row['champion']}".strip(), *cells[1:])))
        yield table
    for words in verdicts(report):
        yield Text(words)
    if report.worth:
        yield Text(report.worth)
    for target, address in report.experiments.items():
        versions = [
            f"{one.registered} version {one.version}" for one in report.promoted if target.model in one.registered
        ]
        yield Text(f"{target}: {address}  {', '.join(versions) or 'no version registered'}")
