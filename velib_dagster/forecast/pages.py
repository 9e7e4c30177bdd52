"""Where people compare the models of a feed: the addresses for terminals and for Dagster's pages.

MLflow's addresses have experiments by number, so that they are asked for once and kept in the home: definitions are
loaded without connecting to anything.
"""

import json
from pathlib import Path
from typing import Final

from velib_dagster.forecast.carried import carry_over
from velib_dagster.forecast.comparison import experiments
from velib_dagster.forecast.names import comparison_address
from velib_dagster.forecast.registry import USUAL_HORIZON
from velib_dagster.forecast.server import Server
from velib_dagster.forecast.task import Target
from velib_dagster.settings import Settings

FILE: Final = "mlflow.json"
"""File of the home with the numbers of the experiments, and of which server they are."""


def comparison_pages(settings: Settings) -> dict[Target, str]:
    """Event → address at which its runs are compared; experiments are made, or taken over from their names of before.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    server = Server(settings.mlflow)
    carry_over(server, settings.feed.name)
    found = experiments(server, settings.feed.name)
    content = {"address": settings.mlflow, "experiments": {target.value: number for target, number in found.items()}}
    encoded = json.dumps(content, indent=1).encode()
    if _path(settings).parent.is_dir() and (not _path(settings).exists() or _path(settings).read_bytes() != encoded):
        _path(settings).write_bytes(encoded)  # one cut off is no worse than none: it is written anew
    return _addresses(settings, found)


def known_pages(settings: Settings) -> dict[Target, str]:
    """The same as far as the home knows them; nothing is asked."""
    try:
        content = json.loads(_path(settings).read_bytes())
        if content["address"] != settings.mlflow:
            return {}
        return _addresses(settings, {target: str(content["experiments"][target.value]) for target in Target})
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # it is written anew at the next forecast


def _addresses(settings: Settings, found: dict[Target, str]) -> dict[Target, str]:
    page = settings.mlflow_page
    return {target: comparison_address(page, number, USUAL_HORIZON) for target, number in found.items()}


def _path(settings: Settings) -> Path:
    return settings.home / FILE
