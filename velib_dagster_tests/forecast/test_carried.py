"""Models and experiments of before names carried the feed's: carried over at first use, once, each to its feed."""

import mlflow
import pytest
from mlflow import MlflowClient

from velib_dagster.forecast.carried import carry_over
from velib_dagster.forecast.champion import champion
from velib_dagster.forecast.comparison import experiments
from velib_dagster.forecast.names import COMPARED, KIND, TRAINING
from velib_dagster.forecast.registry import Promoted, promote
from velib_dagster.forecast.rivals import usual_stand_in
from velib_dagster.forecast.server import Server
from velib_dagster.forecast.task import Target

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def client(mlflow_server: str) -> MlflowClient:
    return MlflowClient(mlflow_server, mlflow_server)


def former_run(client: MlflowClient, experiment: str, feed: str, horizon: int) -> str:
    """A training of before with one score, as MLflow then held it."""
    parent = client.create_run(experiment, tags={"feed": feed, KIND: "training"}, run_name="training on x").info.run_id
    tags = {"feed": feed, KIND: "model", TRAINING: parent, "horizon": f"{horizon} min"}
    run = client.create_run(experiment, tags=tags, run_name=f"gbt_lags · {horizon} min").info.run_id
    client.log_metric(run, "test_pr_auc", 0.5)
    client.log_text(run, usual_stand_in(Target.FULL, horizon, "Europe/Paris").to_json(), "scorer.json")
    for one in (parent, run):
        client.set_terminated(one, "FINISHED")
    return str(run)


def test_versions_aliases_and_experiments_are_carried_over_once_each_to_its_feed(
    client: MlflowClient, mlflow_server: str
) -> None:
    mlflow.set_tracking_uri(mlflow_server)
    server = Server(mlflow_server)
    shared = client.create_experiment("station-full")
    for feed, horizon in (("paris", 15), ("lyon", 30), ("paris", 30)):
        run = former_run(client, shared, feed, horizon)
        promote(client, [Promoted("station-full", horizon, "gbt_lags", run, feed)])
    own = client.create_experiment("station-empty")
    alone = former_run(client, own, "paris", 15)

    for _ in range(2):
        for feed in ("paris", "lyon"):
            carry_over(server, feed)
    found = champion(mlflow_server, Target.FULL, 15, "paris")
    assert found is not None
    assert (found.version, found.model) == (1, "gbt_lags")
    newest = champion(mlflow_server, Target.FULL, 30, "paris")
    assert newest is not None
    assert newest.version == 2
    assert champion(mlflow_server, Target.FULL, 30, "lyon") is None, "Paris had taken the alias they shared"
    assert [len(client.search_model_versions(f"name = '{feed}.station-full'")) for feed in ("paris", "lyon")] == [2, 1]
    assert len(client.search_model_versions("name = 'station-full'")) == 3, "the old ones stay"

    held = experiments(server, "paris")
    assert experiments(server, "paris") == held
    assert held[Target.FULL] != shared, "it holds another feed's runs"
    assert held[Target.EMPTY] == own
    assert client.get_experiment(own).name == "paris.station-empty"
    assert client.get_run(alone).data.tags[COMPARED] == "15 min"


def test_a_new_champion_is_not_replaced_by_one_of_before(client: MlflowClient, mlflow_server: str) -> None:
    mlflow.set_tracking_uri(mlflow_server)
    held = experiments(Server(mlflow_server), "nice")[Target.EMPTY]
    before, after = (former_run(client, held, "nice", 15) for _ in range(2))
    promote(client, [Promoted("station-empty", 15, "gbt_lags", before, "nice")])
    promote(client, [Promoted("nice.station-empty", 15, "gbt_lags", after, "nice")])
    carry_over(Server(mlflow_server), "nice")
    found = champion(mlflow_server, Target.EMPTY, 15, "nice")
    assert found is not None
    assert found.run_id == after
