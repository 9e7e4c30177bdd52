"""What the tests of the forecast share: a Spark session for few rows, one training, one MLflow server."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from pyspark.sql import SparkSession

from velib_dagster.forecast import models, sources, training
from velib_dagster.forecast.request import Options
from velib_dagster.forecast.sources import ArchiveOptions, Source
from velib_dagster.forecast.task import Target
from velib_dagster.forecast.training import Outcome
from velib_dagster_tests.forecast.make import network

MODELS = ("logistic_lags", "gbt_lags", "forest_rich")


@dataclass(frozen=True)
class Training:
    """A training of three models, full in 15 minutes, on a small network."""

    source: Source
    options: Options
    outcomes: list[Outcome]
    said: list[str]

    @property
    def outcome(self) -> Outcome:
        return self.outcomes[0]


@pytest.fixture(scope="session", autouse=True)
def quick_models() -> Iterator[None]:
    """Few trees: what is tested is the same with many."""
    few = {"gbt": {"maxIter": 4, "maxDepth": 3}, "forest": {"numTrees": 6, "maxDepth": 5}, "logistic": {"maxIter": 10}}
    with pytest.MonkeyPatch.context() as patch:
        quick = tuple(replace(one, parameters={**one.parameters, **few[one.kind]}) for one in models.MODELS)
        patch.setattr(training, "MODELS", quick)
        yield


@pytest.fixture(scope="session")
def source(small: SparkSession) -> Source:
    """Five days of sixteen stations as rows of features."""
    options = ArchiveOptions(horizons=(15,), step_seconds=300)
    return sources.from_spells(small, network(), "Europe/Paris", options, {"archive_next_offset": 7})


@pytest.fixture(scope="session")
def trained(source: Source) -> Training:
    options = Options(targets=(Target.FULL,), models=MODELS, draws=20)
    said: list[str] = []
    return Training(source, options, training.train(source, options, said.append), said)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server of the tests' own, on SQLite."""
    from velib_dagster_tests.forecast.servers import running_mlflow

    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as address:
        yield address
