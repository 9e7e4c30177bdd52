"""The bootstrap: what is drawn, and that its quick measures are the plain ones; no Spark."""

import numpy as np
import pytest

from velib_dagster.forecast import bootstrap, measures


def rows(seed: int = 1, count: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    score = drawn.integers(0, 12, count) / 12
    return drawn.random(count) < score**2, score, drawn.integers(0, 20, count), drawn.integers(0, 6, count)


def test_on_a_few_days_stations_are_drawn_within_their_hour() -> None:
    _, _, station, hour = rows()
    unit, block, words = bootstrap.units(station, hour, np.zeros(len(station), dtype=np.int64))
    assert "stations within one-hour blocks" in words
    for drawn in bootstrap.draws(block, 5, seed=3):
        sizes = np.bincount(block)
        assert np.bincount(block, drawn).tolist() == sizes.tolist()
    assert len(block) == len({*zip(station.tolist(), hour.tolist(), strict=True)})
    assert unit.max() == len(block) - 1


def test_on_many_days_whole_days_are_drawn() -> None:
    day = np.repeat(np.arange(bootstrap.LEAST_DAYS), 3)
    unit, block, words = bootstrap.units(day, day, day)
    assert words == "days"
    assert unit.tolist() == day.tolist()
    assert set(block.tolist()) == {0}


def test_the_quick_measures_are_the_plain_ones_in_every_draw() -> None:
    truth, score, station, hour = rows()
    unit, block, _ = bootstrap.units(station, hour, np.zeros(len(station), dtype=np.int64))
    onset = score < 0.8
    scored = bootstrap.Scored(score, score >= 0.5, (score - truth) ** 2)
    found = bootstrap.samples(truth, onset, {"one": scored}, unit, block, 7, seed=5)["one"]
    for number, drawn in enumerate(bootstrap.draws(block, 7, seed=5)):
        again = np.repeat(np.arange(len(truth)), drawn[unit].astype(int))
        assert found["pr_auc"][number] == pytest.approx(measures.average_precision(truth[again], score[again]))
        early = again[onset[again]]
        assert found["onset_pr_auc"][number] == pytest.approx(measures.average_precision(truth[early], score[early]))
        assert found["f1"][number] == pytest.approx(measures.decide(truth[again], score[again], 0.5).f1)
        assert found["brier"][number] == pytest.approx(measures.brier(truth[again], score[again]), rel=1e-5)


def test_the_same_seed_draws_the_same() -> None:
    block = np.zeros(9, dtype=np.int64)
    one, two, other = (np.array(list(bootstrap.draws(block, 4, seed))) for seed in (1, 1, 2))
    assert (one == two).all()
    assert (one != other).any()


def test_an_interval_holds_the_middle_of_the_draws() -> None:
    found = bootstrap.interval(0.5, np.append(np.linspace(0, 1, 1001), np.nan))
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
    assert not bootstrap.Interval(0.0, -0.1, 0.1).excludes_zero
    assert bootstrap.Interval(-0.2, -0.3, -0.1).excludes_zero
