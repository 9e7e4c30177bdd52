"""What `velib train` runs on: the home's running platform, else PostgreSQL and MLflow of its own; and a local Spark.

What a training does belongs to `forecast/`. Nothing else starts one outside of Dagster.
"""

import os

from pyspark.sql import SparkSession
from rich.console import Console

from velib_dagster.forecast.request import Request
from velib_dagster.forecast.run import Report, run
from velib_dagster.forecast.session import local_session
from velib_dagster.forecast.training import Say
from velib_dagster.runtime.java import java_home
from velib_dagster.runtime.logs import log_path, standard_error_in
from velib_dagster.runtime.services import needed_services
from velib_dagster.settings import Settings


def train(settings: Settings, request: Request, console: Console, say: Say) -> Report:
    """Train on a home's archive, or on Parquet months, with what the home runs or is started for it.

    Raises:
        VelibError: as `forecast.run.run`, or a part can't be started.
    """
    # Months in files need no archive; MLflow started here keeps its runs in PostgreSQL.
    names = ("mlflow",) if request.history and settings.mlflow_address else ("postgres", "mlflow")
    with needed_services(settings, names, console) as ready:
        return run(ready, request, lambda: _session(ready), say)


def _session(settings: Settings) -> SparkSession:
    os.environ["JAVA_HOME"] = str(java_home())
    with standard_error_in(log_path(settings.home, "spark")):
        return local_session()
