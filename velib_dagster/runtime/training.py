"""What `velib train` runs on: the home's running platform, else PostgreSQL and MLflow of its own; and a local Spark.

What a training does belongs to `forecast/`. Nothing else starts one outside of Dagster.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession
from rich.console import Console

from velib_dagster.forecast.request import Request
from velib_dagster.forecast.run import Report, run
from velib_dagster.forecast.session import local_session
from velib_dagster.forecast.training import Say
from velib_dagster.runtime import lock
from velib_dagster.runtime.java import java_home
from velib_dagster.runtime.logs import log_path, standard_error_in
from velib_dagster.runtime.services import services
from velib_dagster.runtime.supervisor import StopRequestedError
from velib_dagster.settings import Settings


def train(settings: Settings, request: Request, console: Console, say: Say) -> Report:
    """Train on a home's archive, or on Parquet months, with what the home runs or is started for it.

    Raises:
        VelibError: as `forecast.run.run`, or a part can't be started.
    """
    with _services(settings, console, history=bool(request.history)) as ready:
        return run(ready, request, lambda: _session(ready), say)


def _session(settings: Settings) -> SparkSession:
    os.environ["JAVA_HOME"] = str(java_home())
    with standard_error_in(log_path(settings.home, "spark")):
        return local_session()


@contextmanager
def _services(settings: Settings, console: Console, *, history: bool) -> Iterator[Settings]:
    if lock.running_platform(settings) is not None:
        yield Settings.load(settings.home)
        return
    if settings.mlflow_address is not None and (history or settings.postgres_address is not None):
        yield settings  # all that is needed runs elsewhere
        return
    try:
        with services(settings, ("postgres", "mlflow"), console) as ready:
            yield ready
    except StopRequestedError:
        raise KeyboardInterrupt from None
