"""The champions that the platform forecasts with, and the rivals that stand in for them, read from MLflow over HTTP.

Registered models are asked for by alias only; what is read is a run's `scorer.json`.
"""

from dataclasses import dataclass

from velib_dagster.forecast.errors import TrackingError
from velib_dagster.forecast.names import STANDS_IN, WORTH, experiment_name, model_name
from velib_dagster.forecast.registry import alias_of
from velib_dagster.forecast.rivals import usual_stand_in
from velib_dagster.forecast.scorer import FILE, Scorer
from velib_dagster.forecast.server import Server, tags_of
from velib_dagster.forecast.task import Target


@dataclass(frozen=True)
class Champion:
    """What an event and horizon are forecast with, ready to score: the registered version that holds the alias, or the
    rival that stands in where none does (`version` None)."""

    target: Target
    horizon: int
    version: int | None
    run_id: str
    model: str
    scorer: Scorer
    why: str = ""
    """Of a rival: why this one, in words."""
    worth: str = ""
    """What its risks are worth, in words; empty where there is nothing to warn of."""


def champion(address: str, target: Target, horizon: int, feed: str) -> Champion | None:
    """The champion of an event and horizon; None where no version has the alias.

    Raises:
        TrackingError: MLflow is away, or its answer is no model of this program.
    """
    server = Server(address)
    named = {"name": model_name(feed, target), "alias": alias_of(horizon)}
    answer = server.get("registered-models/alias", named)
    if answer is None:
        return None
    found = answer["model_version"]
    document = server.artifact(found["run_id"], FILE)
    if document is None:
        msg = f"{named['name']} version {found['version']} at {address} has no {FILE}: train again (velib train)"
        raise TrackingError(msg)
    scorer = Scorer.from_json(document)
    tags = tags_of(found)
    version = int(found["version"])
    return Champion(target, horizon, version, found["run_id"], tags.get("model", ""), scorer, worth=tags.get(WORTH, ""))


def stand_in(address: str, target: Target, horizon: int, feed: str, timezone: str) -> Champion:
    """The best rival of the newest training of the event and horizon; before any training, −count as recorded days of
    Paris calibrate it.

    Raises:
        TrackingError: MLflow is away, or its answer is no model of this program.
    """
    server = Server(address)
    found = server.get("experiments/get-by-name", {"experiment_name": experiment_name(feed, target)})
    if found is not None:
        wanted = f"tags.`{STANDS_IN}` = '{horizon}' AND attributes.status = 'FINISHED'"
        for run in server.runs(str(found["experiment"]["experiment_id"]), wanted)[:1]:
            run_id = str(run["info"]["run_id"])
            if (document := server.artifact(run_id, FILE)) is not None:
                scorer = Scorer.from_json(document)
                why = "the best rival on the validation days of the newest training"
                return Champion(target, horizon, None, run_id, scorer.document["model"], scorer, why)
    scorer = usual_stand_in(target, horizon, timezone)
    why = "nothing is trained for this horizon yet: recorded days of Paris say how often such a count runs out"
    return Champion(target, horizon, None, "", scorer.document["model"], scorer, why)
