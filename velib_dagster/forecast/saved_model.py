"""A fitted pipeline as an MLflow model in a folder: signature, input example, pinned requirements; no server asked."""

import logging
import platform
from pathlib import Path

import numpy as np

from velib_dagster.forecast.task import NEXT_POLL, FeatureSet, lag_names
from velib_dagster.forecast.training import Outcome, Trained


def save_model(folder: Path, outcome: Outcome, trained: Trained) -> None:
    """The Spark pipeline as an MLflow model with signature, input example and pinned requirements."""
    import mlflow.spark  # noqa: PLC0415
    import pyspark  # noqa: PLC0415
    from mlflow.models import infer_signature  # noqa: PLC0415

    # It looks for a pip that uv's environments don't have, at each model, and says so.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    example = outcome.example.select(trained.scorer.columns).to_pandas()
    mlflow.spark.save_model(
        trained.pipeline,
        str(folder),
        signature=infer_signature(example, np.zeros(len(example))),
        input_example=example,
        pip_requirements=[f"mlflow=={mlflow.__version__}", f"pyspark=={pyspark.__version__}"],
        metadata={
            "target": outcome.task.target.value,
            "horizon_minutes": outcome.task.horizon,
            "lags": lag_names(outcome.task.target),
            "rich": trained.model.features is FeatureSet.RICH,
            "next_poll": outcome.task.horizon == NEXT_POLL,
            "python": platform.python_version(),
        },
    )
