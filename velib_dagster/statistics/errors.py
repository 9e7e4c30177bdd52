"""What can go wrong with the statistics, for all that calls them (assets, jobs, commands)."""

from velib_dagster.settings import VelibError


class StatisticsError(VelibError):
    """The statistics can't be computed; nothing was written."""
