"""Registered versions and aliases of before models carried the feed's name, carried over to the name of now.

At first use: a forecast finds its champion under the new name at once. The old model stays as it was, for another
platform that shares the server may not have come so far.
"""

from typing import Any, Final

from velib_dagster.forecast.names import model_name
from velib_dagster.forecast.server import Server, tags_of
from velib_dagster.forecast.task import Target

CARRIED: Final = "velib.carried_over"
"""Tag of a registered model: nothing is left to carry over."""
FROM: Final = "velib.carried_from"
"""Tag of a version: which one it was, so that one carried over twice is there once."""


def carry_over(server: Server, feed: str) -> None:
    """Give the feed's versions and aliases of the old names to the new ones; nothing to do is fine.

    Aliases come last, so that a carrying over that breaks off is done again.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    for target in Target:
        name = model_name(feed, target)
        held = _model(server, name)
        if held is not None and tags_of(held).get(CARRIED):
            continue
        former = _model(server, target.model)
        own = _versions(server, target.model, feed) if former is not None else []
        if former is None or not own:
            continue
        if held is None:
            server.create("registered-models/create", {"name": name})
        numbers = _carried(server, name, own)
        taken = {alias["alias"] for alias in (held or {}).get("aliases", ())}
        for alias in former.get("aliases", ()):
            if alias["version"] in numbers and alias["alias"] not in taken:
                values = {"name": name, "alias": alias["alias"], "version": numbers[alias["version"]]}
                server.post("registered-models/alias", values)
        server.post("registered-models/set-tag", {"name": name, "key": CARRIED, "value": "done"})


def _carried(server: Server, name: str, own: list[dict[str, Any]]) -> dict[str, str]:
    """Old version → new version, each made where it is not there yet."""
    numbers = {tags_of(one)[FROM]: one["version"] for one in _versions(server, name) if FROM in tags_of(one)}
    for one in own:
        if one["version"] in numbers:
            continue
        tags = {**tags_of(one), FROM: one["version"]}
        made = server.post(
            "model-versions/create",
            {
                "name": name,
                "source": one["source"],
                "run_id": one.get("run_id", ""),
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            },
        )
        numbers[one["version"]] = made["model_version"]["version"]
    return {old: str(new) for old, new in numbers.items()}


def _model(server: Server, name: str) -> dict[str, Any] | None:
    found = server.get("registered-models/get", {"name": name})
    return None if found is None else found["registered_model"]


def _versions(server: Server, name: str, feed: str | None = None) -> list[dict[str, Any]]:
    """Versions of a model in order, all or those trained on a feed."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        asked = {"filter": f"name = '{name}'", "max_results": "200", **({"page_token": token} if token else {})}
        answer = server.get("model-versions/search", asked) or {}
        found += answer.get("model_versions", [])
        token = answer.get("next_page_token", "")
        if not token:
            break
    own = [one for one in found if feed is None or tags_of(one).get("feed") == feed]
    return sorted(own, key=lambda one: int(one["version"]))
