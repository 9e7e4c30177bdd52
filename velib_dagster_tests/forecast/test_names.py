"""Names and addresses in MLflow, the comparison's note, and what figures are worth: text alone."""

import json
from datetime import date, timedelta
from urllib.parse import parse_qs, urlsplit

from velib_dagster.forecast.comparison import Scored, note
from velib_dagster.forecast.names import (
    DECIDING,
    WORTH,
    comparison_address,
    experiment_name,
    model_name,
    view_state,
)
from velib_dagster.forecast.task import NEXT_POLL, Split, Target
from velib_dagster.forecast.worth import worth_of

NEWEST = {
    "info": {"run_id": "r"},
    "data": {"tags": [{"key": "mlflow.runName", "value": "training on x"}, {"key": WORTH, "value": "Learned little."}]},
}


def test_two_feeds_share_no_name() -> None:
    assert model_name("velib", Target.FULL) == "velib.station-full"
    named = {
        experiment_name(feed, target, code, uneven=uneven)
        for feed in ("velib", "simulated")
        for target in Target
        for code in (None, "16107")
        for uneven in (False, True)
    }
    assert len(named) == 16


def test_the_address_opens_the_view_for_trained_models_by_the_key_of_its_horizon() -> None:
    address = comparison_address("http://127.0.0.1:5000/", "7", 15)
    fragment = urlsplit(urlsplit(address).fragment)
    assert fragment.path == "/experiments/7/runs"
    assert parse_qs(fragment.query) == {"workflowType": ["machine_learning"], "viewStateShareKey": ["15-min"]}
    assert "next-poll" in comparison_address("http://127.0.0.1:5000", "7", NEXT_POLL)


def test_a_view_shows_the_measures_that_decide_the_best_first() -> None:
    state = json.loads(json.loads(view_state(30))["state"])
    assert state["searchFilter"] == "tags.`velib.view` = '30 min'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test_pr_auc`", False)
    assert state["selectedColumns"] == ["tags.`champion`", *(f"metrics.`{name}`" for name in DECIDING)]


def test_the_note_ranks_each_horizon_and_names_the_champion() -> None:
    scores = [
        Scored("minus_docks", "15 min", {"test_pr_auc": 0.4, "test_pr_auc_low": 0.3, "test_pr_auc_high": 0.5}),
        Scored("gbt_lags", "15 min", {"test_pr_auc": 0.45, "test_f1": 0.5, "test_brier": 0.0123}, "★ version 3"),
        Scored("gbt_lags", "5 min", {"test_pr_auc": 0.6}),
    ]
    text = note(Target.FULL, "velib.station-full", NEWEST, scores)
    assert text.startswith("**Will the station be full?** velib.station-full, training on x. Champion: gbt_lags in 15")
    assert "Learned little." in text
    assert text.index("### 5 min") < text.index("### 15 min")
    assert text.index("| **gbt_lags** ★ | 0.450 [–, –] | – | 0.500 | 0.0123 | – |") < text.index(
        "| minus_docks | 0.400 [0.300, 0.500] | – | – | – | – |"
    )
    assert "Champion: none; the platform forecasts with the best rival" in note(Target.FULL, "x", NEWEST, scores[:1])


def test_a_note_fits_what_mlflow_takes() -> None:
    many = [Scored(f"model_{n}", f"{h} min", {"test_pr_auc": 0.5}) for n in range(200) for h in (5, 15, 30, 60)]
    assert len(note(Target.FULL, "x", NEWEST, many)) < 20_000


def test_what_figures_are_worth_follows_the_days() -> None:
    first = date(2026, 3, 2)

    def told(count: int, split: Split, *, simulated: bool = False) -> str:
        return worth_of([first + timedelta(days=n) for n in range(count)], split, simulated=simulated)

    within = told(3, Split(first + timedelta(days=1), first + timedelta(days=1), 1, 13))
    assert within.startswith("A first try on 3 days")
    assert "may be chance" in within
    few = told(5, Split(first + timedelta(days=3), first + timedelta(days=4)))
    assert few.startswith("Learned from 3 days and tested on 1 day, of 5 archived; 21 are wanted")
    assert "Hours and weekdays are not learned yet" in few
    assert told(28, Split(first + timedelta(days=18), first + timedelta(days=21))) == ""
    assert told(28, Split(first + timedelta(days=18), first + timedelta(days=21)), simulated=True).startswith(
        "SIMULATED"
    )
