"""What Dagster's pages show of a day that is computed: its rows, coverage, the worst of it, a small plot.

All of it is read from PostgreSQL, so that a day shows the same whether a run of Dagster computed it or a command.
Each picture is kept in Dagster's event log for ever: a few kilobytes, no more.
"""

import base64
import io
from typing import TYPE_CHECKING, Final

import dagster as dg

from velib_dagster.orchestration.shared import HEAD_ROWS, Metadata, simulated_note, table
from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from velib_dagster.store.statistics_reads import ComputedDay
    from velib_dagster.store.upsert import Connection

_INCHES: Final = (5.2, 1.9)
_DPI: Final = 60


def told(connection: "Connection", settings: Settings, row: "ComputedDay") -> Metadata:
    """The metadata of one asset's materialization of one day.

    Raises:
        psycopg.Error: PostgreSQL is away.
    """
    from velib_dagster.store.computed_days import rows_of_day, worst_rows  # noqa: PLC0415 - minute runs load this too

    rows = rows_of_day(connection, row.asset, row.day)
    metadata: Metadata = {
        "dagster/partition_row_count": sum(rows.values()),
        **{f"rows_{name}": count for name, count in rows.items()},
        "spells": row.spells,
        "coverage": round(row.network_seconds / row.day_seconds, 4),
        "outcome": f"{row.spells} spells counted" if row.spells else f"no spell of {row.day} is archived",
        "computed_at": row.computed_at.isoformat(),
        **simulated_note(settings),
    }
    if (head := table(worst_rows(connection, row.asset, row.day, HEAD_ROWS))) is not None:
        metadata["head"] = head
    if row.spells:
        metadata["plot"] = dg.MetadataValue.md(_plot(connection, settings, row))
    return metadata


def _plot(connection: "Connection", settings: Settings, row: "ComputedDay") -> str:
    """Markdown with the picture: shares empty and full by hour, or the hours in which stations run empty (full)."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as in told

    from velib_dagster.store.computed_days import episodes_by_hour, hour_shares  # noqa: PLC0415

    figure = Figure(_INCHES, _DPI, layout="tight")
    axes = figure.subplots()
    if row.asset in {"empty_stations", "full_stations"}:
        begun = episodes_by_hour(connection, row.asset, row.day, settings.feed.timezone)
        axes.bar(list(begun), list(begun.values()), width=1, align="edge")
        axes.set_title(f"stations becoming {row.asset.removesuffix('_stations')}, by hour", fontsize=8)
    else:
        hours = hour_shares(connection, row.asset, row.day)
        for name in ("empty", "full"):
            shares = [100 * (getattr(hour, f"{name}_share") or 0) for hour in hours]
            axes.plot([hour.hour for hour in hours], shares, label=name)
        axes.set_title("% of the time in service, by hour", fontsize=8)
        axes.legend(fontsize=7)
    axes.set_xlim(0, 24)
    axes.tick_params(labelsize=7)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return f"![{row.asset}](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})"
