"""The platform's own long-running commands as parts: streaming job, standby poller, simulator.

What they do is theirs; here is only how they are started and known to work. The supervisor calls this.
"""

import sys

from velib_dagster.runtime.java import java_home
from velib_dagster.runtime.process import Part
from velib_dagster.runtime.web import answers_ok
from velib_dagster.settings import LOOPBACK, Settings


def command(*words: str) -> list[str]:
    """The argument list of a `velib` command; every part has its home in the environment."""
    return [sys.executable, "-m", "velib_dagster.cli", *words]


def streaming() -> Part:
    """Spells → windows, in Spark. It says how far it is in PostgreSQL, so there is nothing to ask it."""
    return Part(
        name="streaming",
        title="Spark's streaming job",
        argv=command("stream"),
        env={"JAVA_HOME": str(java_home())},
        ready=lambda: True,
        stop_seconds=6,
    )


def standby() -> Part:
    """Polls by itself while Dagster does not."""
    return Part(
        name="standby",
        title="the standby poller",
        argv=command("poll", "--standby"),
        ready=lambda: True,
        stop_seconds=3,
    )


def simulator(settings: Settings) -> Part:
    """The simulated network behind the feed's URL."""
    port = settings.port("simulator")
    return Part(
        name="simulator",
        title="the simulated network",
        argv=command("simulate", "--port", str(port)),
        ready=lambda: answers_ok(f"http://{LOOPBACK}:{port}/gbfs/gbfs.json"),
        ports=(port,),
        stop_seconds=3,
    )
