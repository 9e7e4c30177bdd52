"""MLflow's REST interface over plain HTTP: what is asked often, without its client.

The client takes more than a second and 200 MB to import. Artifacts are written by it alone, in `tracking.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests

from velib_dagster.forecast.errors import TrackingError

SECONDS: Final = (3, 20)
"""To connect, and to answer."""
PAGE: Final = 500
_MISSING: Final = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
_THERE: Final = "RESOURCE_ALREADY_EXISTS"

Run = dict[str, Any]
"""A run as MLflow's REST interface tells it: `info`, `data`."""


@dataclass(frozen=True)
class Server:
    """An MLflow server by its address. Every call raises TrackingError where it is away or refuses."""

    address: str

    def get(self, path: str, values: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer; None where what is asked for does not exist."""
        answer = self._send("GET", f"api/2.0/mlflow/{path}", params=values)
        if answer.status_code in {400, 404} and _code(answer) in _MISSING:
            return None
        return self._json(answer)

    def post(self, path: str, values: Mapping[str, object]) -> dict[str, Any]:
        """What came of a change or a search."""
        return self._json(self._send("POST", f"api/2.0/mlflow/{path}", json=values))

    def create(self, path: str, values: Mapping[str, object]) -> dict[str, Any] | None:
        """What was made; None where it is there already, made by another process meanwhile."""
        answer = self._send("POST", f"api/2.0/mlflow/{path}", json=values)
        return None if _code(answer) == _THERE else self._json(answer)

    def artifact(self, run: str, path: str) -> bytes | None:
        """An artifact of a run, None where it has none of that name."""
        answer = self._send("GET", "get-artifact", params={"run_uuid": run, "path": path})
        return answer.content if answer.status_code == requests.codes.ok else None

    def runs(self, experiment: str, wanted: str) -> list[Run]:
        """The active runs that a filter finds, the newest first."""
        found: list[Run] = []
        token = ""
        while True:
            answer = self.post(
                "runs/search",
                {
                    "experiment_ids": [experiment],
                    "filter": wanted,
                    "order_by": ["attributes.start_time DESC"],
                    "max_results": PAGE,
                    **({"page_token": token} if token else {}),
                },
            )
            found += answer.get("runs", [])
            token = answer.get("next_page_token", "")
            if not token:
                return found

    def set_tag(self, run: Run, name: str, value: str) -> None:
        """Set a run's tag."""
        self.post("runs/set-tag", {"run_id": run["info"]["run_id"], "key": name, "value": value})

    def delete_tag(self, run: Run, name: str) -> None:
        """Take a tag from a run that has it."""
        self.post("runs/delete-tag", {"run_id": run["info"]["run_id"], "key": name})

    def _send(self, method: str, path: str, **given: Any) -> requests.Response:
        try:
            return requests.request(method, f"{self.address.rstrip('/')}/{path}", timeout=SECONDS, **given)
        except requests.RequestException as error:
            msg = (
                f"MLflow does not answer at {self.address} ({type(error).__name__}): start it (velib up), or correct "
                "VELIB_MLFLOW"
            )
            raise TrackingError(msg) from error

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        try:
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except (requests.RequestException, ValueError) as error:
            msg = f"MLflow at {self.address} answers {answer.status_code}: {answer.text[:200]}"
            raise TrackingError(msg) from error
        return found


def tags_of(run: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run, an experiment or a version by name."""
    holder = run.get("data", run)
    return {tag["key"]: tag.get("value", "") for tag in holder.get("tags", ())}


def metrics_of(run: Run) -> dict[str, float]:
    """The metrics of a run by name."""
    return {one["key"]: float(one["value"]) for one in run["data"].get("metrics", ())}


def _code(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("error_code"))
    except ValueError:
        return ""
