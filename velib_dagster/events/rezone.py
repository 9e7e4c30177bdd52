"""Zones of the stations that are known, found anew after the rule or the file of zones changed.

Pure. Called by `advance.py` at the first usable poll under other zones; later polls only look up what moved.
"""

from collections.abc import Iterable, Mapping

import msgspec

from velib_dagster.events.records import StationState
from velib_dagster.events.zones import UNKNOWN_ZONE, ZoneOf
from velib_dagster.feed.reports import Report


def zones_anew(
    known: Mapping[str, StationState], reports: Iterable[Report], zone_of: ZoneOf
) -> tuple[dict[str, StationState], bool]:
    """The known states whose zone is another one now, by code, and whether every zone could be told.

    `reports` are the poll's own, before anything is carried into them. A zone can't be told where a null referential
    took the commune away and the place alone names none: it stays, and the next poll must try again.
    """
    by_code = {report.station_code: report for report in reports}
    communes = {report.commune for report in by_code.values()}
    coded = any(report.velib_code for report in by_code.values())
    changed: dict[str, StationState] = {}
    whole = True
    for code, state in known.items():
        report = by_code.get(code)
        lat, lon = _place(state, report)
        number = code if (report.velib_code if report else coded) else ""
        zone = zone_of(number, report.commune if report else None, lat, lon)
        if zone == UNKNOWN_ZONE and report is not None and report.lat is None:
            whole = False
            continue
        if zone == UNKNOWN_ZONE and report is None and state.zone in communes:
            continue  # absent, and its commune is one that the feed still names
        if zone != state.zone:
            changed[code] = msgspec.structs.replace(state, zone=zone)
    return changed, whole


def _place(state: StationState, report: Report | None) -> tuple[float, float]:
    if report is None or report.lat is None or report.lon is None:
        return state.lat, state.lon
    return report.lat, report.lon
