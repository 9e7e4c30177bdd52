"""The program that serves Dagster's page: Dagster's own application behind `page_guard.py`, in uvicorn.

In place of `dagster-webserver`, which answers whoever asks. Started by the supervisor and by `velib serve dagster_web`,
as `python -m velib_dagster.orchestration.webserver`.
"""

import argparse
from collections.abc import Sequence

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__

from velib_dagster.orchestration.page_guard import PageGuard, Rules

POLL_MILLISECONDS = 2000
"""How often an open page asks for what is new, as `dagster-webserver` has it."""


def serve(host: str, port: int, workspace: str, public: Sequence[str]) -> None:
    """Serve the pages of the instance in DAGSTER_HOME until SIGINT or SIGTERM."""
    configure_loggers(formatter="colored", log_level="INFO")
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        with WorkspaceProcessContext(
            instance, version=__version__, workspace_load_target=WorkspaceFileTarget([workspace])
        ) as context:
            pages = create_app_from_workspace_process_context(context, live_data_poll_rate=POLL_MILLISECONDS)
            uvicorn.run(
                PageGuard(pages, Rules(public)),
                host=host,
                port=port,
                log_level="warning",
                proxy_headers=False,
                # A page left open holds its subscriptions for ever.
                timeout_graceful_shutdown=1,
            )


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="velib_dagster.orchestration.webserver", description=serve.__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--public", action="append", default=[], help="an address under which people open the page")
    given = parser.parse_args()
    serve(given.host, given.port, given.workspace, given.public)


if __name__ == "__main__":
    main()
