"""The newest complete 10-minute means for the terminal.

The command `velib live` calls it. What is read stands in `reads.py`.
"""

from rich.table import Table

from velib_dagster.settings import CREDIT, Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.reads import latest_station_means, latest_zone_means
from velib_dagster.store.terminal import plain


def live_table(settings: Settings, station: str | None, zone: str | None) -> Table:
    """Means of one station, of a zone's stations, or of all zones; words where no window is complete yet."""
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
    table = Table(title=plain(title), caption=CREDIT if not settings.feed.simulated else None)
    table.add_column("station" if station or zone else "zone")
    for name in ("bikes", "mechanical", "e-bikes", "free docks", "occupancy", "empty", "full"):
        table.add_column(name, justify="right")
    for mean in means:
        table.add_row(
            plain(f"{mean.key} {mean.name or ''}".strip()),
            *(_number(v) for v in (mean.bikes_mean, mean.mechanical_mean, mean.ebike_mean, mean.docks_mean)),
            *(_share(v) for v in (mean.occupancy_mean, mean.empty_share, mean.full_share)),
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
