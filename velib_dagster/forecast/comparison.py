"""The experiments as people compare models in them: there before the first training, the newest runs and the champions
marked, the comparison as a note.

All of it is told from what MLflow holds, so that experiments of earlier versions are shown the same way. What things
are called stands in `names.py`; runs are written by `tracking.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from velib_dagster.forecast.names import (
    CHAMPION_TAG,
    COMPARED,
    EXPERIMENT_TAGS,
    KIND,
    NOTE_TAG,
    TRAINING,
    VIEW_TAG,
    WORTH,
    experiment_name,
    view_key,
    view_state,
)
from velib_dagster.forecast.registry import USUAL_HORIZON
from velib_dagster.forecast.server import Run, Server, metrics_of, tags_of
from velib_dagster.forecast.task import NEXT_POLL, Target

NO_TRAINING: Final = "no training yet"
_NOTE_CHARACTERS: Final = 18_000
"""MLflow takes 20,000 in an experiment's tag."""
_TRAININGS: Final = 10
"""Trainings, the newest, in which a horizon's scores are looked for."""
_FINISHED: Final = "attributes.status = 'FINISHED'"


@dataclass(frozen=True)
class Scored:
    """One score of the comparison; `mark` tells of which registered version it is, where it is champion."""

    name: str
    horizon: str
    metrics: Mapping[str, float]
    mark: str = ""
    training: str = ""
    """Title of the training that it is of."""


def experiments(server: Server, feed: str) -> dict[Target, str]:
    """The experiment of each event over all stations by id; made, with the note that nothing is trained yet, where
    there is none.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    return {target: experiment_of(server, feed, target) for target in Target}


def experiment_of(
    server: Server, feed: str, target: Target, station_code: str | None = None, *, uneven: bool = False
) -> str:
    """The id of an event's experiment, one station's or that of months too; made where there is none.

    One of before experiments carried the feed's name is taken over by renaming it, unless it holds runs of another
    feed.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    name = experiment_name(feed, target, station_code, uneven=uneven)
    found = server.get("experiments/get-by-name", {"experiment_name": name})
    if found is None and not _taken_over(server, name, feed):
        server.create("experiments/create", {"name": name, "tags": _tags(EXPERIMENT_TAGS)})
    found = found or server.get("experiments/get-by-name", {"experiment_name": name}) or {}
    held = found["experiment"]
    made = str(held["experiment_id"])
    if held.get("lifecycle_stage") == "deleted":
        server.post("experiments/restore", {"experiment_id": made})
    horizon = NEXT_POLL if uneven else USUAL_HORIZON
    if tags_of(held).get(VIEW_TAG + view_key(horizon)) != view_state(horizon):
        show(server, made, target, name)
    return made


def show(server: Server, held: str, target: Target, registered: str) -> None:
    """Mark what is compared now: of each horizon the scores of its newest training, and the champions; write the views
    and the note.

    `registered` is the name of the registered model, and of the experiment `held`.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    trainings = server.runs(held, f"tags.`{KIND}` = 'training' AND {_FINISHED}")
    scores: dict[str, list[Run]] = {}
    for training in trainings[:_TRAININGS]:
        own = server.runs(held, f"tags.`{TRAINING}` = '{training['info']['run_id']}' AND {_FINISHED}")
        for horizon in {tags_of(run).get("horizon", "") for run in own} - scores.keys():
            scores[horizon] = [run for run in own if tags_of(run).get("horizon", "") == horizon]
    champions = _champions(server, registered)
    marks = {run["info"]["run_id"]: words for run, words in champions}
    shown = {run["info"]["run_id"]: run for run in (*chain(*scores.values()), *(run for run, _ in champions))}
    for run in server.runs(held, f"tags.`{COMPARED}` LIKE '%'"):
        if run["info"]["run_id"] not in shown:
            server.delete_tag(run, COMPARED)
    for run in server.runs(held, f"tags.`{CHAMPION_TAG}` LIKE '%'"):
        if run["info"]["run_id"] not in marks:
            server.delete_tag(run, CHAMPION_TAG)
    for number, run in shown.items():
        server.set_tag(run, COMPARED, tags_of(run).get("horizon", ""))
        if number in marks:
            server.set_tag(run, CHAMPION_TAG, marks[number])
    minutes = {_minutes(tags_of(run).get("horizon", "")) for run in shown.values()}
    for number_of_minutes in sorted(minutes if NEXT_POLL in minutes else {*minutes, USUAL_HORIZON}):
        _tag(server, held, VIEW_TAG + view_key(number_of_minutes), view_state(number_of_minutes))
    titles = {run["info"]["run_id"]: str(run["info"].get("run_name", "")) for run in trainings}
    told = [
        Scored(
            _score_name(run),
            tags_of(run).get("horizon", ""),
            metrics_of(run),
            marks.get(number, ""),
            titles.get(tags_of(run).get(TRAINING, ""), ""),
        )
        for number, run in shown.items()
    ]
    for name, value in EXPERIMENT_TAGS.items():
        _tag(server, held, name, value)
    _tag(server, held, NOTE_TAG, note(target, registered, trainings[0] if trainings else None, told))


def note(target: Target, registered: str, newest: Run | None, told: Sequence[Scored]) -> str:
    """The comparison in Markdown: who is champion, what the figures are worth, a table for each horizon."""
    champions = ", ".join(f"{one.name} in {one.horizon} ({one.mark})" for one in told if one.mark)
    title = f"**Will the station be {target}?** {registered}"
    if newest is None:
        return (
            f"{title}: {NO_TRAINING}. The first one runs by itself as soon as the archive has days to train, to "
            "validate and to test; `velib train` starts one."
        )
    tags = tags_of(newest)
    simulated = " SIMULATED: figures of an invented network." if tags.get("simulated") == "true" else ""
    chosen = champions or "none; the platform forecasts with the best rival"
    lines = [f"{title}, {tags.get('mlflow.runName', 'training')}. Champion: {chosen}.{simulated}"]
    if words := tags.get(WORTH):
        lines.append(words)
    for horizon in dict.fromkeys(one.horizon for one in sorted(told, key=lambda one: _minutes(one.horizon))):
        own = [one for one in told if one.horizon == horizon]
        of = next((one.training for one in own if not one.mark and one.training), "")
        heading = horizon if of in {"", tags.get("mlflow.runName")} else f"{horizon}, {of}"
        lines.append(f"### {heading}\n\n" + _table(own))
    lines.append(
        "Measured on the test days, which neither the models nor their thresholds have seen; a champion is chosen on "
        "the validation days. Brackets: 95 % bootstrap intervals. Onsets: PR-AUC on rows without the event at the "
        "origin, where persistence knows nothing. ★: champion now, of an earlier training where its figures are of "
        "other days."
    )
    text = "\n\n".join(lines)
    return text if len(text) <= _NOTE_CHARACTERS else text[:_NOTE_CHARACTERS].rpartition("\n")[0]


def _table(scores: Sequence[Scored]) -> str:
    head = "| score | PR-AUC | onsets | F1 | Brier | calibration error |\n| --- | --- | --- | --- | --- | --- |"
    ranked = sorted(scores, key=lambda one: (-one.metrics.get("test_pr_auc", -1.0), one.name))
    return "\n".join([head, *(_row(one) for one in ranked)])


def _row(one: Scored) -> str:
    def figure(name: str, digits: int = 3) -> str:
        value = one.metrics.get(name)
        return "–" if value is None else f"{value:.{digits}f}"

    interval = f"[{figure('test_pr_auc_low')}, {figure('test_pr_auc_high')}]"
    cells = (
        f"**{one.name}** ★" if one.mark else one.name,
        f"{figure('test_pr_auc')} {interval}",
        figure("test_onset_pr_auc"),
        figure("test_f1"),
        figure("test_brier", 4),
        figure("test_calibration_error", 4),
    )
    return f"| {' | '.join(cells)} |"


def _champions(server: Server, registered: str) -> list[tuple[Run, str]]:
    """The champions' runs, each with its mark; those whose run was deleted are left out."""
    found = server.get("registered-models/get", {"name": registered})
    if found is None:
        return []
    marked: dict[str, list[str]] = {}
    for alias in found["registered_model"].get("aliases", ()):
        marked.setdefault(str(alias["version"]), []).append(str(alias["alias"]))
    runs = []
    for version in sorted(marked, key=int):
        held = server.get("model-versions/get", {"name": registered, "version": version})
        run = server.get("runs/get", {"run_id": held["model_version"].get("run_id", "")}) if held else None
        if run is not None:
            runs.append((run["run"], f"★ version {version}"))
    return runs


def _taken_over(server: Server, name: str, feed: str) -> bool:
    """Whether an experiment of before had the name without the feed's, and was renamed."""
    former = name.removeprefix(f"{feed}.")
    found = server.get("experiments/get-by-name", {"experiment_name": former})
    if found is None or found["experiment"].get("lifecycle_stage") == "deleted":
        return False
    held = str(found["experiment"]["experiment_id"])
    own = server.runs(held, f"tags.`feed` = '{feed}'")
    if not own or len(own) < len(server.runs(held, "")):
        return False
    server.post("experiments/update", {"experiment_id": held, "new_name": name})
    return True


def _score_name(run: Run) -> str:
    return str(run["info"].get("run_name", "")).partition(" · ")[0]


def _minutes(horizon: str) -> int:
    number = horizon.partition(" ")[0]
    return int(number) if number.isdigit() else NEXT_POLL


def _tag(server: Server, held: str, name: str, value: str) -> None:
    server.post("experiments/set-experiment-tag", {"experiment_id": held, "key": name, "value": value})


def _tags(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items()]
