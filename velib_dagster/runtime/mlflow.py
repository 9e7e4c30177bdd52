"""The MLflow server as a part: backend in PostgreSQL, artifacts in the home.

Only the supervisor starts it; who logs models reads its address from the settings.
"""

import sys
from urllib.parse import urlsplit

from velib_dagster.runtime.postgres import ensure_database
from velib_dagster.runtime.process import Part
from velib_dagster.runtime.web import answers_ok
from velib_dagster.settings import LOOPBACK, Settings


def database(settings: Settings) -> str:
    """Name of the server's database: with the feed's name, so that platforms may share a PostgreSQL server."""
    return f"{settings.database}_mlflow"


def sqlalchemy_url(settings: Settings, database: str) -> str:
    """Address of a database for SQLAlchemy, with the password; the driver is named, since its default has changed."""
    return settings.postgres(database).replace("postgresql://", "postgresql+psycopg2://", 1)


def allowed_hosts(settings: Settings) -> tuple[str, ...]:
    """Values of `Host` that the server answers to; it refuses all others (403), against DNS rebinding."""
    named = (settings.mlflow_address, settings.mlflow_public)
    return (
        *("localhost", "localhost:*", LOOPBACK, f"{LOOPBACK}:*"),
        *dict.fromkeys(urlsplit(address).netloc for address in named if address),
    )


def allowed_origins(settings: Settings) -> tuple[str, ...]:
    """Origins whose pages may change something: the public address; those of loopback may anyway, others never.

    MLflow's own page sends its origin with all that it asks by POST, lists of runs among it.
    """
    parts = urlsplit(settings.mlflow_public or "")
    return (f"{parts.scheme}://{parts.netloc}",) if parts.netloc else ()


def server(settings: Settings) -> Part:
    """The MLflow server of this home; PostgreSQL must run."""
    port = settings.port("mlflow")
    artifacts = settings.home / "mlflow"

    def prepare() -> None:
        artifacts.mkdir(parents=True, exist_ok=True)
        ensure_database(settings, database(settings), formerly="mlflow")

    return Part(
        name="mlflow",
        title="MLflow",
        argv=[
            *(sys.executable, "-m", "mlflow", "server", "--serve-artifacts", "--artifacts-destination"),
            *(str(artifacts), "--host", settings.host, "--port", str(port), "--workers", "1"),
            *("--allowed-hosts", ",".join(allowed_hosts(settings))),
            *(("--cors-allowed-origins", ",".join(origins)) if (origins := allowed_origins(settings)) else ()),
        ],
        env={
            # A variable, since a command line can be read by every user of the machine.
            "MLFLOW_BACKEND_STORE_URI": sqlalchemy_url(settings, database(settings)),
            # Eight more processes otherwise, for jobs that nobody sends.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        ready=lambda: answers_ok(f"http://{LOOPBACK}:{port}/health"),
        ports=(port,),
        prepare=prepare,
        stop_seconds=4,
        url=lambda: address(settings),
    )


def address(settings: Settings) -> str:
    """What a person opens: the page where the models of a full station are compared, which leads to the others."""
    from velib_dagster.forecast.errors import TrackingError  # noqa: PLC0415 - only once the server runs
    from velib_dagster.forecast.names import experiments_address  # noqa: PLC0415
    from velib_dagster.forecast.pages import comparison_pages  # noqa: PLC0415
    from velib_dagster.forecast.task import Target  # noqa: PLC0415

    try:
        return comparison_pages(settings)[Target.FULL]
    except TrackingError:
        return experiments_address(settings.mlflow_page)  # the server's own log says why
