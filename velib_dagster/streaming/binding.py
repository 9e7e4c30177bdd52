"""Checkpoints belong to one Kafka, its topics and one database: their offsets mean nothing anywhere else.

A topic that was made anew, or an emptied database, would otherwise be taken for one that is read up to some offset,
and what lies before it would silently be missing. Called by `job.py` before any query starts.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from velib_dagster.events.topics import identity
from velib_dagster.files import write_atomically
from velib_dagster.locks import HeldError, hold
from velib_dagster.settings import Settings
from velib_dagster.store.upsert import Connection
from velib_dagster.streaming.errors import StreamError

FILE: Final = "binding.json"


@dataclass(frozen=True)
class Binding:
    """What the checkpoints are positions in."""

    cluster_id: str
    topic_ids: dict[str, str]
    database_made: str


def current_binding(settings: Settings, connection: Connection) -> Binding:
    """Kafka's ids, and when the database was made.

    Raises:
        KafkaError: Kafka can't be reached or lacks a topic.
    """
    kafka = identity(settings)
    row = connection.execute("SELECT min(applied_at) FROM schema_version").fetchone()
    connection.rollback()
    return Binding(kafka.cluster_id, kafka.topic_ids, str(row[0]) if row else "")


def bind_checkpoints(settings: Settings, current: Binding) -> None:
    """Tie the home's checkpoints to what they are positions in, or check that they are.

    Raises:
        StreamError: they belong to another Kafka, to topics made anew or to another database; says what to do.
    """
    path = settings.checkpoints / FILE
    try:
        stored = Binding(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        settings.checkpoints.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(current), indent=1).encode())
        return
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} can't be read ({error}). {_remedy(settings)}"
        raise StreamError(msg) from error
    if stored == current:
        return
    if stored.cluster_id != current.cluster_id:
        what = f"Kafka cluster {stored.cluster_id}, and {settings.kafka} is cluster {current.cluster_id}"
    elif stored.topic_ids != current.topic_ids:
        made_anew = sorted(name for name, id_ in current.topic_ids.items() if stored.topic_ids.get(name) != id_)
        what = f"topics that were since made anew ({', '.join(made_anew)})"
    else:
        what = f"a database made at {stored.database_made}, and {settings.database} was made at {current.database_made}"
    msg = f"the checkpoints in {settings.checkpoints} belong to {what}. {_remedy(settings)}"
    raise StreamError(msg)


def drop_unbegun(settings: Settings) -> None:
    """Remove the folder of each query that was killed before its first batch was planned: nothing was read there.

    Spark keeps what it was writing at that moment (state's schema, half of the first offsets) and then refuses to
    begin beside it (STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY, SPARK-53103). It refuses a folder without its file
    `metadata` too (STREAMING_CHECKPOINT_MISSING_METADATA_FILE), which is what a Spark that outlives its killed job by a
    second writes into a folder that was just deleted.
    """
    for folder in settings.checkpoints.iterdir():
        if folder.is_dir() and not (_has_planned(folder) and (folder / "metadata").exists()):
            shutil.rmtree(folder)


def _has_planned(folder: Path) -> bool:
    return any(path.name.isdigit() for path in folder.glob("offsets/*"))


def drop_former(settings: Settings, names: Iterable[str]) -> None:
    """Remove the folders of queries whose state was another in earlier versions."""
    for name in names:
        shutil.rmtree(settings.checkpoints / name, ignore_errors=True)


def _remedy(settings: Settings) -> str:
    return (
        f"If this is meant, delete the folder {settings.checkpoints}: the job then reads the topics from their start, "
        "and no window that is right gets worse"
    )


@contextmanager
def only_job(settings: Settings) -> Iterator[None]:
    """Hold the home's checkpoints for this process alone.

    Raises:
        StreamError: another streaming job holds them; the message says which process.
    """
    try:
        lock = hold(settings.home / "run" / "streaming.lock")
    except HeldError as holder:
        msg = f"a streaming job of {settings.home} runs already, {holder}: one job at a time"
        raise StreamError(msg) from None
    with lock:
        yield
