"""The streaming job as a process of its own, for tests: `run_job.py HOME [until-idle]`."""

import logging
import os
import sys

from velib_dagster.runtime.jars import spark_jars
from velib_dagster.runtime.java import java_home
from velib_dagster.settings import Settings, VelibError
from velib_dagster.streaming.job import run

logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s")
os.environ["JAVA_HOME"] = str(java_home())
try:
    run(Settings.load(sys.argv[1]), until_idle="until-idle" in sys.argv, jars=spark_jars())
except VelibError as error:
    sys.exit(f"{type(error).__name__}: {error}")
