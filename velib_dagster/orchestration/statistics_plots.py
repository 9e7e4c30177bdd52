"""The small plot that each result of the statistics shows in Dagster's pages.

Each one is kept in Dagster's event log for ever: a few kilobytes, no more.
"""

import base64
import io
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

_INCHES = (5.2, 1.9)
_DPI = 60


def plot(asset: str, tables: Mapping[str, pa.Table], timezone: str) -> str:
    """Markdown with the picture: shares empty and full by hour, or the hours in which stations run empty (full)."""
    figure = Figure(_INCHES, _DPI, layout="tight")
    axes = figure.subplots()
    if "episodes" in tables:
        alone = tables["episodes"].filter(pc.invert(pc.starts_with(tables["episodes"]["kind"], "cluster")))
        zone = ZoneInfo(timezone)
        axes.hist([since.astimezone(zone).hour for since in alone["since"].to_pylist()], bins=range(25))
        axes.set_title(f"stations becoming {'empty' if asset == 'empty_stations' else 'full'}, by hour", fontsize=8)
    else:
        hours = tables["station_hours" if asset == "station_stats" else "zone_hours"]
        sums = ("seconds_in_service", "seconds_empty", "seconds_docks_known", "seconds_full")
        by_hour = hours.group_by("hour").aggregate([(name, "sum") for name in sums]).sort_by("hour").to_pylist()
        for part, whole in (("seconds_empty", "seconds_in_service"), ("seconds_full", "seconds_docks_known")):
            shares = [100 * row[f"{part}_sum"] / (row[f"{whole}_sum"] or 1) for row in by_hour]
            axes.plot([row["hour"] for row in by_hour], shares, label=part.removeprefix("seconds_"))
        axes.set_title("% of the time in service, by hour", fontsize=8)
        axes.legend(fontsize=7)
    axes.set_xlim(0, 24)
    axes.tick_params(labelsize=7)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return f"![{asset}](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})"
