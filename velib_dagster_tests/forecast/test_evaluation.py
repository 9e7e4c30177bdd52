"""The registry's rule, and figures by group; no Spark."""

from dataclasses import replace

import numpy as np
import pytest

from velib_dagster.forecast.evaluation import (
    Evaluation,
    Rows,
    Score,
    by_group,
    champion_of,
    evaluate,
    persistence_mae,
    verdict,
)
from velib_dagster.forecast.task import Target


def rows(seed: int, count: int = 3000) -> Rows:
    """A station's docks fall by chance; full comes more often the fewer there are."""
    drawn = np.random.default_rng(seed)
    last = drawn.integers(0, 15, count).astype(float)
    truth = drawn.random(count) < np.where(last == 0, 0.6, 0.25 / (1 + last))
    number = np.arange(count)
    return Rows(
        station=number % 30,
        at=number * 60,
        day=np.full(count, 20_000),
        hour=number // 60 % 24,
        truth=truth,
        last=last,
        after=np.where(truth, 0.0, last),
        rate=np.full(count, 0.1),
    )


def knowing(rows: Rows, seed: int) -> np.ndarray:
    """A score that has heard something of what comes."""
    noise = np.random.default_rng(seed).random(len(rows))
    return np.clip(0.35 / (1 + rows.last) + 0.5 * rows.truth * noise, 0, 1)


@pytest.fixture(scope="module")
def evaluations() -> dict[str, Evaluation]:
    validation, test = rows(1), rows(2)
    models = [
        Score("knows", knowing(validation, 3), knowing(test, 4)),
        Score("guesses", np.random.default_rng(5).random(3000), np.random.default_rng(6).random(3000)),
    ]
    return evaluate(Target.FULL, validation, test, models, draws=30, seed=1)


def test_who_knows_more_than_the_rivals_becomes_champion(evaluations: dict[str, Evaluation]) -> None:
    found = champion_of(Target.FULL, evaluations)
    assert found is not None
    assert (found.name, found.earned) == ("knows", True)
    assert evaluations["knows"].better_than["minus_docks"]["pr_auc"].excludes_zero


def test_who_guesses_is_told_what_it_lost_in(evaluations: dict[str, Evaluation]) -> None:
    found = verdict(Target.FULL, evaluations["guesses"], evaluations)
    assert not found.earned
    assert [reason.partition(" 0.")[0] for reason in found.reasons] == ["PR-AUC", "F1", "onset PR-AUC"]


@pytest.mark.parametrize("part", ["validation", "validation_onset"])
def test_every_condition_of_the_rule_counts(evaluations: dict[str, Evaluation], part: str) -> None:
    knows = evaluations["knows"]
    worse = replace(knows, **{part: replace(getattr(knows, part), pr_auc=0.01)})
    assert not verdict(Target.FULL, worse, evaluations).earned
    assert champion_of(Target.FULL, {**evaluations, "knows": worse}) is None


def test_the_rule_looks_at_the_validation_days_only(evaluations: dict[str, Evaluation]) -> None:
    knows = evaluations["knows"]
    lucky = replace(knows, test=replace(knows.test, pr_auc=0.0, f1=0.0))
    assert verdict(Target.FULL, lucky, evaluations).earned


def test_a_rival_never_becomes_champion(evaluations: dict[str, Evaluation]) -> None:
    rivals = {name: one for name, one in evaluations.items() if one.rival}
    assert set(rivals) == {"persistence", "minus_docks", "history_rate"}
    assert champion_of(Target.FULL, rivals) is None


def test_a_better_brier_score_is_a_smaller_one_and_counts_above_zero(evaluations: dict[str, Evaluation]) -> None:
    knows = evaluations["knows"]
    gain = knows.better_than["persistence"]["brier"]
    assert gain.value == pytest.approx(evaluations["persistence"].test.brier - knows.test.brier)  # type: ignore[operator]
    assert gain.low > 0


def test_groups_add_up_to_the_whole() -> None:
    test = rows(2)
    score = Score("rate", test.rate, test.rate)
    found = by_group(test, [str(hour) for hour in range(24)], test.hour, score, 0.05)
    assert sum(one.rows for one in found) == len(test)
    assert sum(one.events for one in found) == int(test.truth.sum())
    whole = sum(one.mae * one.rows for one in found) / len(test)
    assert whole == pytest.approx(persistence_mae(test))
