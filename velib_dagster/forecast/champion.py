"""The champions that the platform forecasts with, read from MLflow over plain HTTP.

MLflow's own client takes more than a second and 200 MB to import, at each forecast of every ten minutes. Registered
models are asked for by alias only; what is read is a run's `scorer.json`.
"""

from dataclasses import dataclass
from typing import Any, Final

import requests

from velib_dagster.forecast.errors import TrackingError
from velib_dagster.forecast.registry import alias_of
from velib_dagster.forecast.scorer import FILE, Scorer
from velib_dagster.forecast.task import USED_HORIZONS, Target

SECONDS: Final = (3, 20)
"""To connect, and to answer."""
_NOT_THERE: Final = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class Champion:
    """A registered version that holds the alias of its horizon, ready to score."""

    target: Target
    horizon: int
    version: int
    run_id: str
    model: str
    scorer: Scorer


def has_champion(address: str, feed: str) -> bool:
    """Whether the platform could forecast anything.

    Raises:
        TrackingError: MLflow is away, or answers what it should not.
    """
    return any(_version(address, target, horizon, feed) for target in Target for horizon in USED_HORIZONS)


def champion(address: str, target: Target, horizon: int, feed: str) -> Champion | None:
    """The champion of an event and horizon; None where no version has the alias, or it was trained on another feed.

    Raises:
        TrackingError: MLflow is away, or its answer is no model of this program.
    """
    found = _version(address, target, horizon, feed)
    if found is None:
        return None
    document = _get(address, "get-artifact", {"run_uuid": found["run_id"], "path": FILE})
    if document.status_code != requests.codes.ok:
        msg = f"{target.model} version {found['version']} at {address} has no {FILE}: train again (velib train)"
        raise TrackingError(msg)
    scorer = Scorer.from_json(document.content)
    return Champion(target, horizon, int(found["version"]), found["run_id"], found["tags"].get("model", ""), scorer)


def _version(address: str, target: Target, horizon: int, feed: str) -> dict[str, Any] | None:
    """The version with the alias of the horizon, its tags as a dict; None without one of this feed."""
    named = {"name": target.model, "alias": alias_of(horizon)}
    answer = _get(address, "api/2.0/mlflow/registered-models/alias", named)
    if answer.status_code in {400, 404} and _code(answer) in {_NOT_THERE, "INVALID_PARAMETER_VALUE"}:
        return None
    found: dict[str, Any] = _json(answer, address)["model_version"]
    found["tags"] = {tag["key"]: tag["value"] for tag in found.get("tags", ())}
    return found if found["tags"].get("feed") == feed else None


def _get(address: str, path: str, values: dict[str, str]) -> requests.Response:
    try:
        return requests.get(f"{address}/{path}", params=values, timeout=SECONDS)
    except requests.RequestException as error:
        why = type(error).__name__
        msg = f"MLflow does not answer at {address} ({why}): start it (velib up), or correct VELIB_MLFLOW"
        raise TrackingError(msg) from error


def _code(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("error_code"))
    except ValueError:
        return ""


def _json(answer: requests.Response, address: str) -> dict[str, Any]:
    try:
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        msg = f"MLflow at {address} answers {answer.status_code}: {answer.text[:200]}"
        raise TrackingError(msg) from error
    return found
