"""What must be there before the parts of a server start: folders, topics, databases, migrations.

`velib prepare` calls it once a start; nothing goes on running. On a laptop `velib up` does the same by its supervisor.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Final

import psycopg

from velib_dagster.runtime import dagster_services, kafka, lock, mlflow, postgres
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.new_home import set_up
from velib_dagster.runtime.process import surroundings
from velib_dagster.runtime.services import wait_outside
from velib_dagster.settings import Settings

_UPGRADE_MLFLOW: Final = "import os; from mlflow.db import upgrade; upgrade.callback(os.environ['VELIB_UPGRADED'])"
"""MLflow's own command takes the address with its password as an argument, which every user can read."""


def prepare(settings: Settings, say: Callable[[str], None]) -> None:
    """Bring the home, Kafka and PostgreSQL to what this program needs; a second time changes nothing.

    Raises:
        PlatformError: Kafka or PostgreSQL is not given or doesn't answer, a `velib up` runs in the home, or a
            migration of Dagster or MLflow failed, with its words.
        KafkaError, StoreError: topics or schema can't be made as needed.
    """
    if settings.kafka_address is None or settings.postgres_address is None:
        msg = "velib prepare needs VELIB_KAFKA and VELIB_POSTGRES: it starts neither (velib up does)"
        raise PlatformError(msg)
    from velib_dagster.events.ownership import demand_own_topics  # noqa: PLC0415 - with their clients, half a second
    from velib_dagster.events.topics import ensure_topics  # noqa: PLC0415
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415

    with lock.held(settings.home):
        ready = set_up(settings)
        where = settings.postgres_address.rpartition("@")[2]
        wait_outside("Kafka", ready.kafka, lambda: kafka.is_ready(ready))
        wait_outside("PostgreSQL", where, lambda: postgres.is_ready(ready))
        ensure_topics(ready)
        demand_own_topics(ready)
        say(f"topics of {ready.feed.name} are in {ready.kafka}")
        say(f"schema of database {ready.database} is at version {migrate(ready)}")
        dagster_services.prepare(ready)
        _run("Dagster", [sys.executable, "-m", "dagster", "instance", "migrate"], dagster_services.environment(ready))
        say("Dagster's storage is migrated")
        say(_upgrade_mlflow(ready))
    say(f"{ready.home} is ready")


def _upgrade_mlflow(settings: Settings) -> str:
    name = mlflow.database(settings)
    postgres.ensure_database(settings, name, formerly="mlflow")
    with psycopg.connect(settings.postgres(name)) as connection:
        row = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return "MLflow's database is new; the server makes its tables"
    url = mlflow.sqlalchemy_url(settings, name)
    _run("MLflow", [sys.executable, "-c", _UPGRADE_MLFLOW], {"VELIB_UPGRADED": url})
    return "MLflow's database is migrated"


def _run(title: str, argv: list[str], environment: dict[str, str]) -> None:
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, env={**surroundings(), **environment})
    if answer.returncode != 0:
        msg = f"{title}'s database could not be migrated: {(answer.stderr or answer.stdout).strip()[-2000:]}"
        raise PlatformError(msg)
