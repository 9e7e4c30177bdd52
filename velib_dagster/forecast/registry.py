"""Which model the platform uses: registered versions and the alias `champion`.

The rule that earns it stands in `evaluation.verdict`. Aliases: `champion-15` for each horizon in minutes, and
`champion` for the one that is asked most (15 minutes, else the shortest that was trained). Whoever loads a model loads
it by alias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from velib_dagster.forecast.task import NEXT_POLL

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION: Final = "champion"
USUAL_HORIZON: Final = 15


def alias_of(horizon: int) -> str:
    """`champion-15`; plain `champion` for the next poll."""
    return CHAMPION if horizon == NEXT_POLL else f"{CHAMPION}-{horizon}"


@dataclass(frozen=True)
class Promoted:
    """A run whose model earned the alias: the registered name, the horizon, the model's name and its run."""

    registered: str
    horizon: int
    model: str
    run_id: str
    feed: str
    version: str = ""


def promote(client: "MlflowClient", winners: Sequence[Promoted]) -> list[Promoted]:
    """Register each winner's model as a new version, then move the aliases: all versions stand before one moves."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    made = []
    for winner in winners:
        try:
            client.get_registered_model(winner.registered)
        except MlflowException:
            client.create_registered_model(winner.registered)
        source = f"{client.get_run(winner.run_id).info.artifact_uri}/model"
        version = client.create_model_version(
            winner.registered,
            source,
            winner.run_id,
            await_creation_for=0,  # it is there at once
            tags={"horizon_minutes": str(winner.horizon), "model": winner.model, "feed": winner.feed},
        )
        made.append(
            Promoted(winner.registered, winner.horizon, winner.model, winner.run_id, winner.feed, version.version)
        )
    for one in made:
        client.set_registered_model_alias(one.registered, alias_of(one.horizon), one.version)
    for name in dict.fromkeys(one.registered for one in made):
        own = {one.horizon: one for one in made if one.registered == name}
        usual = own.get(USUAL_HORIZON) or own[min(own)]
        client.set_registered_model_alias(name, CHAMPION, usual.version)
    return made
