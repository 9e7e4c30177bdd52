"""Spells of a clock that was ahead: they are passed over, and a watermark that they have carried off is set back.

What is void stands in the newest record of polls. Called by `job.py` before the queries start.
"""

import logging
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.events.memory import newest_poll
from velib_dagster.events.records import PollRecord, Void
from velib_dagster.settings import Settings
from velib_dagster.store.reads import progress
from velib_dagster.store.upsert import Connection

log: Final = logging.getLogger(__name__)
_AHEAD: Final = timedelta(minutes=10)


def without_voids(kafka: DataFrame, voids: Sequence[Void]) -> DataFrame:
    """Kafka's rows of the topic `spells` without those that a clock that was ahead has brought."""
    since = F.to_timestamp(F.get_json_object(F.col("value").cast("string"), "$.since"))
    for void in voids:
        kafka = kafka.where(~((F.col("offset") < void.spells_below) & (since > F.lit(void.after))) | since.isNull())
    return kafka


def set_back(settings: Settings, connection: Connection, checkpoint: str) -> tuple[Void, ...]:
    """Make the windows right again where a clock was ahead; returns what is void.

    Where the watermark is later than the newest usable poll, or will be with the next batch since windows are, every
    spell until then would come too late: the checkpoint goes, with the windows that never were, and the query reads the
    topic from its start.

    Raises:
        KafkaError: Kafka can't be reached.
    """
    last = newest_poll(settings)
    voids = (last.voids or ()) if last else ()
    if last is None or not voids or last.last_usable is None:
        return voids
    newest = last.last_usable.time
    watermark = next((row.watermark for row in progress(connection) if row.query == "windows"), None)
    (window,) = connection.execute("SELECT max(window_start) FROM windows").fetchone() or (None,)
    connection.rollback()  # ends what the reads began: the transaction below is one of its own
    reached = max((time for time in (watermark, window) if isinstance(time, datetime)), default=newest)
    if reached <= newest + _AHEAD:
        return voids
    log.warning("the windows reach %s, later than the newest poll %s: a clock was ahead; reading anew", reached, newest)
    # The rows go last: as long as they are there, the next start does all of it again.
    shutil.rmtree(settings.checkpoints / checkpoint, ignore_errors=True)
    with connection.transaction():
        connection.execute("DELETE FROM windows WHERE window_start > %s", (newest,))
        connection.execute("UPDATE stream_progress SET watermark = NULL WHERE query = 'windows'")
    return voids


def has_unknown_void(polls: Sequence[PollRecord], known: Sequence[Void]) -> bool:
    """Whether a record says that something is void which the job that reads it didn't know when it started."""
    newest = max((void.spells_below for void in known), default=-1)
    return any(void.spells_below > newest for poll in polls for void in poll.voids or ())
