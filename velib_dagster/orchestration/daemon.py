"""Dagster's daemon, once the pools of heavy work are in its instance: `python -m velib_dagster.orchestration.daemon`.

Dagster makes a pool when a run first names it, and lets every run that waits at that moment through at once.
"""

import dagster as dg
from dagster._daemon.cli import main

from velib_dagster.orchestration.shared import POOLS


def make_pools(instance: dg.DagsterInstance) -> None:
    """Make the pools that are missing; one whose slots were changed on Dagster's pages stays as it is."""
    storage = instance.event_log_storage
    known = storage.get_concurrency_keys()
    for pool, slots in POOLS.items():
        if pool not in known:
            storage.set_concurrency_slots(pool, slots)


if __name__ == "__main__":
    with dg.DagsterInstance.get() as found:
        make_pools(found)
    main()
