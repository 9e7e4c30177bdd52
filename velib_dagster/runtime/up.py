"""`velib up`: the whole platform of one home, from its first set-up until Ctrl-C.

Which parts there are and in what order; how a part is started is the part's own module. Only the command line calls
it.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from velib_dagster.forecast.pages import known_pages
from velib_dagster.masking import masked
from velib_dagster.runtime import dagster_services, jobs, lock, mlflow, new_home
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.lock import running_platform
from velib_dagster.runtime.services import POLLERS, READERS, services, start_stores
from velib_dagster.runtime.supervisor import StopRequestedError, Supervisor
from velib_dagster.runtime.web import answers_ok
from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.stopping import asks_to_stop

__all__ = ["running_platform", "services", "up"]

FIRST_DAYS: Final = 2
"""Days of history that a new simulated home begins with."""


def up(settings: Settings, *, allow_fallback: bool, console: Console) -> int:
    """Run the platform until Ctrl-C or SIGTERM; returns the exit status, 0 after a clean stop.

    `allow_fallback` lets a new home of the live feed become one of the simulated feed where the live one can't be
    reached.

    Raises:
        VelibError: a part can't be started, the home is in use or can't be written; everything is stopped again.
    """
    chosen = _chosen(settings, console) if allow_fallback else settings
    with lock.held(chosen.home):
        first = new_home.is_new(chosen.home) or _history_wanted(chosen.home).exists()
        if new_home.is_new(chosen.home):
            chosen = new_home.in_the_systems_zone(chosen)
            console.print(f"days of this new home are cut in {chosen.feed.timezone}", highlight=False)
        complete = new_home.set_up(chosen)
        if first and complete.feed.simulated:
            _history_wanted(complete.home).touch()
        supervisor = Supervisor(complete.home, console)
        with asks_to_stop(supervisor.asked_to_stop):
            supervisor.say(f"home {complete.home}, feed {_name(complete)}")
            try:
                supervisor.end_leftovers()
                _start(supervisor, complete)
                supervisor.say("everything is up; Ctrl-C stops it")
                supervisor.watch()
            except StopRequestedError:
                pass
            finally:
                supervisor.say("stopping …")
                supervisor.stop()
            supervisor.say("all parts have stopped")
    return 0


def _chosen(settings: Settings, console: Console) -> Settings:
    if settings.feed.simulated or not settings.feed.url or not new_home.is_new(settings.home):
        return settings
    reason = new_home.unreachable(settings.feed.url)
    if reason is None:
        return settings
    instead = new_home.simulated_instead(settings)
    # Parts read the same environment, and would poll the address that can't be reached.
    os.environ.pop("VELIB_FEED_URL", None)
    console.print(
        f"The live feed can't be reached ({reason}): {masked(settings.feed.url)}\n"
        f"Running the SIMULATED feed instead, in {instead.home}. `velib up --feed live` never falls back.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return instead


def _name(settings: Settings) -> str:
    return "SIMULATED" if settings.feed.simulated else f"{settings.feed.name} ({CREDIT})"


def _history_wanted(home: Path) -> Path:
    """Marks a home whose first days are not all in yet, so that a start broken off goes on with them."""
    return home / "run" / "history-wanted"


def _start(supervisor: Supervisor, settings: Settings) -> None:
    start_stores(supervisor, settings)
    supervisor.on_stop[READERS] = lambda: _cut(supervisor, settings)
    if settings.feed.simulated:
        supervisor.start(jobs.simulator(settings), stage=READERS)
    pages = [dagster_services.webserver(settings)]
    if settings.mlflow_address is None:
        pages.append(mlflow.server(settings))
    elif answers_ok(f"{settings.mlflow.rstrip('/')}/health"):
        supervisor.say(f"  MLflow at {settings.mlflow} is used; none is started here: {mlflow.address(settings)}")
    else:
        msg = f"MLflow at {settings.mlflow}, given in VELIB_MLFLOW, does not answer: start it or correct the address"
        raise PlatformError(msg)
    if not known_pages(settings):
        # Dagster's links to MLflow name experiments by number: they are made before its definitions load.
        supervisor.start(*pages, jobs.streaming(), stage=READERS)
        pages = []
    else:
        pages.append(jobs.streaming())
    supervisor.start(*pages, dagster_services.code_server(settings), stage=READERS)
    for target, address in known_pages(settings).items():
        supervisor.say(f"  models of {target} stations compared: {address}")
    if _history_wanted(settings.home).exists():
        _first_days(supervisor, settings)
    pollers = [dagster_services.daemon(settings)]
    if settings.feed.is_polled:
        pollers.append(jobs.standby())
    supervisor.start(*pollers, stage=POLLERS)


def _first_days(supervisor: Supervisor, settings: Settings) -> None:
    """Give a new simulated home its first days, through the same path as any other data."""
    from velib_dagster.runtime.backfill import backfill_recordings  # noqa: PLC0415 - used once in a home's life
    from velib_dagster.simulator.days import write_days  # noqa: PLC0415

    def task() -> None:
        with TemporaryDirectory(prefix="velib-first-days-") as folder:
            write_days(Path(folder), days=FIRST_DAYS)
            backfill_recordings(settings, Path(folder), supervisor.console)

    supervisor.say(f"the new home begins with {FIRST_DAYS} days of simulated history")
    try:
        supervisor.work("the first days", task, quiet=True)
    except VelibError as error:
        supervisor.say(f"the first days are not all in: {error}\nThe platform goes on; its next start tries again")
    else:
        _history_wanted(settings.home).unlink()


def _cut(supervisor: Supervisor, settings: Settings) -> None:
    """End the running spells at the last poll, now that nothing polls any more."""
    from velib_dagster.events.producer import cut_running_spells  # noqa: PLC0415 - with the Kafka client

    try:
        cut = cut_running_spells(settings)
    except VelibError as error:
        supervisor.say(f"the running spells could not be cut ({error}); the next start goes on with them")
    else:
        supervisor.say(f"  {cut} running spells cut at the last poll")
