"""What things are called in MLflow, and the addresses at which people compare them; pure text.

Names carry the feed's name, as topics and databases do, so that platforms of several feeds share one MLflow server.
"""

import json
from typing import Final
from urllib.parse import urlencode

from velib_dagster.forecast.task import NEXT_POLL, Target

COMPARED: Final = "velib.view"
"""Tag of the runs that are compared now, with their horizon: those of the newest training, and the champions'."""
CHAMPION_TAG: Final = "champion"
"""Tag of a champion's run, shown as a column."""
STANDS_IN: Final = "velib.stands_in"
"""Tag of the best rival of a training and horizon: the platform forecasts with it where no model is champion."""
KIND: Final = "velib.kind"
"""Tag that tells the run of a training from those of its models and rivals."""
TRAINING: Final = "velib.training"
"""Tag with the run of the training that a score belongs to. MLflow's own nesting would hide the scores at first."""
WORTH: Final = "velib.worth"
"""Tag of a training's run: what its figures are worth, in words."""
DECIDING: Final = (
    "test_pr_auc",
    "test_pr_auc_low",
    "test_pr_auc_high",
    "test_onset_pr_auc",
    "test_f1",
    "test_brier",
    "test_calibration_error",
)
"""The measures by which models are compared, in the order of the columns."""
VIEW_TAG: Final = "mlflow.sharedViewState."
NOTE_TAG: Final = "mlflow.note.content"
EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's pages take the experiment for one of language models."""


def model_name(feed: str, target: Target) -> str:
    """`velib.station-full`: the registered model of a feed's event, over all stations."""
    return f"{feed}.{target.model}"


def experiment_name(feed: str, target: Target, station_code: str | None = None, *, uneven: bool = False) -> str:
    """`velib.station-full`; one station's has its code behind it, that of Parquet months `-next-poll`: their models
    can't stand for one another. The registered model has the same name."""
    return model_name(feed, target) + ("-next-poll" if uneven else "") + (f"-{station_code}" if station_code else "")


def horizon_name(horizon: int) -> str:
    """`15 min`, or `next poll`."""
    return "next poll" if horizon == NEXT_POLL else f"{horizon} min"


def view_key(horizon: int) -> str:
    """Key of the shared view of a horizon: `15-min`."""
    return horizon_name(horizon).replace(" ", "-")


def view_state(horizon: int) -> str:
    """The value of the experiment's tag that keeps a view: the runs compared now of one horizon, the best PR-AUC first,
    the measures that decide as columns.

    As MLflow 3.17's page writes it where somebody saves a view; `mlflow.sharedViewState.KEY` is the tag.
    """
    columns = [f"tags.`{CHAMPION_TAG}`", *(f"metrics.`{name}`" for name in DECIDING)]
    state = {
        "searchFilter": f"tags.`{COMPARED}` = '{horizon_name(horizon)}'",
        "orderByKey": "metrics.`test_pr_auc`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": columns,
    }
    named = {"name": f"{horizon_name(horizon)}: which model is best", "createdAt": 0, "updatedAt": 0}
    return json.dumps({**named, "state": json.dumps(state)})


def comparison_address(page: str, experiment: str, horizon: int) -> str:
    """Where the runs of an experiment are compared: MLflow's view for trained models, by the shared view."""
    values = urlencode({"workflowType": "machine_learning", "viewStateShareKey": view_key(horizon)})
    return f"{page.rstrip('/')}/#/experiments/{experiment}/runs?{values}"


def experiments_address(page: str) -> str:
    """The list of experiments in MLflow's view for trained models."""
    return f"{page.rstrip('/')}/#/experiments?{urlencode({'workflowType': 'machine_learning'})}"
