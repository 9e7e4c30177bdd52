"""What can go wrong with the statistics, for all that calls them (assets, jobs, commands)."""

from velib_dagster.settings import VelibError


class StatisticsError(VelibError):
    """The statistics can't be computed; nothing was written."""


class StatisticsBusyError(StatisticsError):
    """Another process computes the statistics of this home, and did not end in the time that there was to wait."""


class DaysInDoubtError(StatisticsError):
    """The numbers of some days could not be proved: their rows stay as they were; other days are written."""
