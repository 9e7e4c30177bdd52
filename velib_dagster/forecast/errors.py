"""What can go wrong with the forecast, for all that calls it (assets, jobs, commands)."""

from velib_dagster.settings import VelibError


class ForecastError(VelibError):
    """A forecast or a training can't be made as asked; nothing was registered."""


class TooLittleDataError(ForecastError):
    """There are not enough days, or no rows, to train, validate and test."""


class OneClassError(ForecastError):
    """A period has rows of one class only, so that nothing could be learned or measured."""


class UnknownStationError(ForecastError):
    """No row is of the station asked for."""


class TrackingError(ForecastError):
    """MLflow can't be reached, or refuses a step; the message names its address."""
