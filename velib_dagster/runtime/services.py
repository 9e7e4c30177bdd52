"""The parts that hold data (Kafka, PostgreSQL), made ready for use: started, or found at the address given.

`up.py` starts them below everything else; commands that need only some of them use `services`.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from velib_dagster.runtime import jars, jobs, kafka, lock, mlflow, postgres
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.new_home import set_up
from velib_dagster.runtime.status import is_running
from velib_dagster.runtime.supervisor import StopRequestedError, Supervisor
from velib_dagster.settings import HOME_FILE, Settings, cache_root, data_root, read_home_file
from velib_dagster.stopping import asks_to_stop

Result = TypeVar("Result")

OUTSIDE_SECONDS: Final = 30
STORES: Final = 0
"""Stage of what is stopped last."""
READERS: Final = 1
"""Stage of what reads from the stores and serves people."""
POLLERS: Final = 2
"""Stage of what brings new data, stopped first."""


def start_stores(supervisor: Supervisor, settings: Settings, names: Collection[str] = ("kafka", "postgres")) -> None:
    """Start Kafka and PostgreSQL, or wait for those given by address; then topics and schema.

    Raises:
        PlatformError: one can't be started or reached.
        KafkaError, StoreError: it is there, but not as the platform needs it.
        StopRequestedError: asked to stop meanwhile.
    """
    from velib_dagster.events.ownership import demand_own_topics  # noqa: PLC0415 - with their clients, half a second
    from velib_dagster.events.topics import ensure_topics  # noqa: PLC0415
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415

    parts = []
    if "kafka" in names:
        if settings.kafka_address is None:
            fetch_jars(supervisor)
            parts.append(kafka.broker(settings))
        else:
            _await_outside(supervisor, "Kafka", settings.kafka, lambda: kafka.is_ready(settings))
    if "postgres" in names:
        if settings.postgres_address is None:
            parts.append(postgres.server(settings))
        else:
            where = settings.postgres_address.rpartition("@")[2]
            _await_outside(supervisor, "PostgreSQL", where, lambda: postgres.is_ready(settings))
    supervisor.start(*parts, stage=STORES)
    if "kafka" in names:
        supervisor.work("the topics", lambda: ensure_topics(settings))
        supervisor.work("the topics' home", lambda: demand_own_topics(settings), quiet=True)
    if "postgres" in names:
        supervisor.work("the database's schema", lambda: migrate(settings))


def fetch_jars(supervisor: Supervisor) -> None:
    """Fetch Kafka's jars where they are not cached yet, with progress.

    Raises:
        PlatformError: they can't be had.
    """
    if not jars.differing(cache_root() / "jars"):
        return
    supervisor.say("fetching Kafka's jars and Spark's connector from the Maven repository, once (53 MB)")
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=supervisor.console) as progress:
        task = progress.add_task("jars", total=None)
        supervisor.work(
            "jars",
            lambda: jars.ensure_jars(
                cache_root(), lambda done, total: progress.update(task, completed=done, total=total)
            ),
            quiet=True,
        )


def wait_outside(title: str, address: str, is_ready: Callable[[], bool]) -> None:
    """Wait until a part given by address answers.

    Raises:
        PlatformError: it does not within 30 s.
    """
    deadline = time.monotonic() + OUTSIDE_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            msg = (
                f"{title} at {address}, given in the environment, does not answer: start it, "
                "correct the address and its password (Kafka's: VELIB_KAFKA_SECURITY), "
                "or leave it out to use one of our own"
            )
            raise PlatformError(msg)
        time.sleep(0.5)


def _await_outside(supervisor: Supervisor, title: str, address: str, is_ready: Callable[[], bool]) -> None:
    supervisor.work(f"{title} at {address}", lambda: wait_outside(title, address, is_ready))
    supervisor.say(f"  {title} at {address} is used; none is started here")


@contextmanager
def _supervised(settings: Settings, names: Collection[str], console: Console) -> Iterator[tuple[Settings, Supervisor]]:
    """What is named of kafka, postgres, streaming, mlflow while the block runs, and who looks after it when asked."""
    unknown = set(names) - {"kafka", "postgres", "streaming", "mlflow"}
    if unknown:
        msg = f"no such service: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    with lock.held(settings.home):
        ready = set_up(settings)
        supervisor = Supervisor(ready.home, console)
        supervisor.end_leftovers()
        try:
            with asks_to_stop(supervisor.asked_to_stop):
                start_stores(supervisor, ready, names)
                if "streaming" in names:
                    supervisor.start(jobs.streaming(), stage=READERS)
                if "mlflow" in names and ready.mlflow_address is None:
                    supervisor.start(mlflow.server(ready), stage=READERS)
            yield ready, supervisor
        finally:
            supervisor.stop()


@contextmanager
def services(settings: Settings, names: Collection[str], console: Console | None = None) -> Iterator[Settings]:
    """Only what is named of kafka, postgres, streaming, mlflow, while the block runs; gives settings with ports.

    Raises:
        PlatformError: a platform already runs in the home, or a part can't be started.
        StopRequestedError: asked to stop before all were up.
    """
    with _supervised(settings, names, console or Console(quiet=True)) as (ready, _):
        yield ready


def _are_there(settings: Settings, names: Collection[str]) -> bool:
    """Whether each of the parts runs already, or elsewhere."""
    elsewhere = {
        "kafka": settings.kafka_address,
        "postgres": settings.postgres_address,
        "mlflow": settings.mlflow_address,
    }
    return all(elsewhere.get(name) or is_running(settings, name) for name in names)


@contextmanager
def needed_services(settings: Settings, names: Collection[str], console: Console) -> Iterator[Settings]:
    """What a command needs while the block runs: parts of the home that run already, or run elsewhere, else parts
    started for it.

    Raises:
        PlatformError: a part can't be started, or another command holds the home and runs others.
    """
    if _are_there(settings, names):
        yield settings
        return
    try:
        with services(settings, names, console) as ready:
            yield ready
    except StopRequestedError:
        raise KeyboardInterrupt from None


class LookAfter(Protocol):
    """Does a task while parts that die are started again; with parts that run elsewhere it just does it."""

    def __call__(self, task: Callable[[], Result], /) -> Result:
        """What the task returns or raises."""


@contextmanager
def looked_after_services(
    settings: Settings, names: Collection[str], console: Console
) -> Iterator[tuple[Settings, LookAfter]]:
    """As `needed_services`, with a way to do a task while parts started for it are started again when they die.

    Such a task runs in a thread, since only the main thread can start parts; Ctrl-C leaves it to itself.

    Raises:
        PlatformError: as `needed_services`.
    """
    if _are_there(settings, names):
        yield settings, lambda task: task()
        return
    try:
        with _supervised(settings, names, console) as (ready, supervisor):

            def look_after(task: Callable[[], Result], /) -> Result:
                with asks_to_stop(supervisor.asked_to_stop):
                    return supervisor.work("the command's own work", task, quiet=True)

            yield ready, look_after
    except StopRequestedError:
        raise KeyboardInterrupt from None


@contextmanager
def readable_store(settings: Settings, console: Console) -> Iterator[Settings]:
    """PostgreSQL for a command that only reads: a platform that is stopped shows what it holds.

    Raises:
        PlatformError: there is no such home, or PostgreSQL can't be started.
    """
    if settings.postgres_address is None and read_home_file(settings.home) is None:
        others = sorted(path.parent.name for path in data_root().glob(f"*/{HOME_FILE}"))
        msg = f"there is no platform in {settings.home} yet: start one with velib up" + (
            f", or name one that is there by --feed: {', '.join(others)}" if others else ""
        )
        raise PlatformError(msg)
    with needed_services(settings, ("postgres",), console) as ready:
        yield ready
