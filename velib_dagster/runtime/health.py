"""Whether one part works, asked from beside it: the health checks of a server's services.

Each asks for the part's work, not for its process, which whoever started it watches. Reads only.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import psycopg

from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime import dagster_services
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.ports import answers
from velib_dagster.runtime.web import answers_ok
from velib_dagster.settings import LOOPBACK, Settings, read_home_file
from velib_dagster.store.connect import StoreError, connect
from velib_dagster.store.reads import progress

STALE_SECONDS: Final = 120
"""Dagster's daemons say every 30 s that they live, the streaming job every 10 s."""
LATE_POLLS: Final = 5
"""Intervals without a poll, by whomever, until polling counts as ill."""
LATE_TICKS_SECONDS: Final = 300
"""So long after its last tick, a schedule of every minute does not run."""
_LATE_SCHEDULES: Final = """
SELECT instigator_body::json -> 'origin' ->> 'job_name' AS name,
       extract(epoch FROM now() AT TIME ZONE 'UTC' - max(tick.timestamp))::float AS age
FROM instigators JOIN job_ticks tick USING (selector_id)
WHERE instigator_type = 'SCHEDULE' AND instigators.status != 'STOPPED'
  AND instigator_body::json -> 'job_specific_data' ->> 'cron_schedule' = '* * * * *'
GROUP BY 1
HAVING max(tick.timestamp) < now() AT TIME ZONE 'UTC' - make_interval(secs => %s)
ORDER BY 1
"""
_DAEMONS: Final = ["SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR"]


def trouble(settings: Settings, part: str) -> str | None:
    """What is wrong with a part, in words; None where it works.

    Raises:
        PlatformError: no such part.
        SettingsError: the part has no port.
    """
    try:
        check = CHECKS[part]
    except KeyError:
        msg = f"no part {part!r}: one of {', '.join(CHECKS)}"
        raise PlatformError(msg) from None
    return check(settings)


def _home(settings: Settings) -> str | None:
    return None if read_home_file(settings.home) else f"{settings.home} is not prepared: run velib prepare"


def _code(settings: Settings) -> str | None:
    # It listens only once the definitions are loaded.
    port = settings.port("dagster_code")
    return None if answers(port) else f"nothing listens on port {port}"


def _web(settings: Settings) -> str | None:
    return _page(f"http://{LOOPBACK}:{settings.port('dagster')}/server_info")


def _mlflow(settings: Settings) -> str | None:
    return _page(f"http://{LOOPBACK}:{settings.port('mlflow')}/health")


def _page(url: str) -> str | None:
    return None if answers_ok(url, within=8) else f"{url} does not answer"


def _daemon(settings: Settings) -> str | None:
    try:
        with connect(settings, database=dagster_services.database(settings)) as connection:
            rows = connection.execute(
                "SELECT daemon_type, extract(epoch FROM now() AT TIME ZONE 'UTC' - timestamp)::float"
                " FROM daemon_heartbeats WHERE daemon_type = ANY(%s)",
                (_DAEMONS,),
            ).fetchall()
    except (StoreError, psycopg.Error) as error:
        return str(error).strip()
    ages = {str(name): float(str(age)) for name, age in rows}
    silent = [name for name in _DAEMONS if ages.get(name, STALE_SECONDS) >= STALE_SECONDS]
    if silent:
        return f"no sign of life for {STALE_SECONDS} s: {', '.join(silent)}"
    return late_schedules(settings)


def late_schedules(settings: Settings) -> str | None:
    """Which schedules of every minute Dagster has not looked at for `LATE_TICKS_SECONDS`; None where there is none.

    A tick can hang while the daemon's heartbeats go on (its code server doesn't answer). Schedules that someone has
    stopped are no trouble.
    """
    try:
        with connect(settings, database=dagster_services.database(settings)) as connection:
            rows = connection.execute(_LATE_SCHEDULES, (LATE_TICKS_SECONDS,)).fetchall()
    except (StoreError, psycopg.Error) as error:
        return str(error).strip()
    late = [f"{name} for {float(str(age)):.0f} s" for name, age in rows]
    return f"schedules of every minute that Dagster has not looked at: {', '.join(late)}" if late else None


def _streaming(settings: Settings) -> str | None:
    try:
        with connect(settings) as connection:
            queries = progress(connection)
    except (StoreError, psycopg.Error) as error:
        return str(error).strip()
    if not queries:
        return "no query has begun"
    ages = {query.query: (datetime.now(UTC) - query.updated_at).total_seconds() for query in queries}
    silent = [f"{name} for {age:.0f} s" for name, age in sorted(ages.items()) if age > STALE_SECONDS]
    return f"no progress: {', '.join(silent)}" if silent else None


def _standby(settings: Settings) -> str | None:
    store = SnapshotStore(settings.raw)
    newest = store.newest()
    if newest is None:
        return "no snapshot yet"
    age = time.time() - store.fetched_at(newest).timestamp()
    late = LATE_POLLS * settings.feed.every_seconds
    if age < -late:
        return f"the newest snapshot, {newest}, was kept {-age:.0f} s from now by this machine's clock, which was ahead"
    if age <= late:
        return None
    return f"the newest snapshot, {newest}, is {age:.0f} s old"


CHECKS: Final[dict[str, Callable[[Settings], str | None]]] = {
    "home": _home,
    "dagster_code": _code,
    "dagster_web": _web,
    "dagster_daemon": _daemon,
    "mlflow": _mlflow,
    "streaming": _streaming,
    "standby": _standby,
}
"""Part → its check."""
