"""Which model the platform uses: registered versions and the alias `champion`.

The rule that earns it stands in `evaluation.verdict`, names in `names.py`. Aliases: `champion-15` for each horizon in
minutes, and `champion` for the one that is asked most (15 minutes, else the shortest that was trained). Whoever loads a
model loads it by alias.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from velib_dagster.forecast.names import WORTH
from velib_dagster.forecast.task import NEXT_POLL

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION: Final = "champion"
USUAL_HORIZON: Final = 15


def alias_of(horizon: int) -> str:
    """`champion-15`; plain `champion` for the next poll."""
    return CHAMPION if horizon == NEXT_POLL else f"{CHAMPION}-{horizon}"


def usual(horizons: Sequence[int]) -> int:
    """The horizon that is asked most: 15 minutes, else the shortest."""
    return USUAL_HORIZON if USUAL_HORIZON in horizons else min(horizons)


@dataclass(frozen=True)
class Promoted:
    """A run whose model earned the alias: the registered name, the horizon, the model's name and its run; what its
    figures are worth, in words."""

    registered: str
    horizon: int
    model: str
    run_id: str
    feed: str
    version: str = ""
    worth: str = ""


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
            tags={
                "horizon_minutes": str(winner.horizon),
                "model": winner.model,
                "feed": winner.feed,
                **({WORTH: winner.worth} if winner.worth else {}),
            },
        )
        made.append(replace(winner, version=version.version))
    for one in made:
        client.set_registered_model_alias(one.registered, alias_of(one.horizon), one.version)
    for name in dict.fromkeys(one.registered for one in made):
        own = {one.horizon: one for one in made if one.registered == name}
        client.set_registered_model_alias(name, CHAMPION, own[usual(list(own))].version)
    return made
