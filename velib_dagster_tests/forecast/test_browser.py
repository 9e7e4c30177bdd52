"""The MLflow UI as the analyst sees it: the experiment with its runs, and the comparison page."""

import os
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from velib_dagster.forecast.names import DECIDING, KIND, comparison_address
from velib_dagster.forecast.task import Target
from velib_dagster.forecast.tracking import COMPARISON, track
from velib_dagster_tests.end_to_end.conftest import browser
from velib_dagster_tests.forecast.conftest import MODELS, Training

SCREENSHOTS = os.environ.get("VELIB_SCREENSHOTS")

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["browser"]


@pytest.mark.browser
@pytest.mark.spark
def test_the_ui_shows_the_experiment_with_its_runs_and_the_comparison(
    browser: "BrowserContext", trained: Training, mlflow_server: str
) -> None:
    tracked = track(mlflow_server, trained.source, trained.options, trained.outcomes, feed="seen", simulated=True)
    experiment = tracked.experiments[Target.FULL]
    page = browser.new_page()
    page.goto(comparison_address(mlflow_server, experiment, 15))
    page.get_by_text("seen.station-full").first.wait_for()
    for name in ("persistence", "minus_docks", *MODELS):
        page.get_by_text(f"{name} · 15 min").first.wait_for()
    heads = page.locator(".ag-header-cell")
    for name in ("champion", *DECIDING):
        heads.filter(has_text=name).first.wait_for()
    wanted = trained.outcome.champion
    assert wanted is not None
    page.get_by_text("★ version 1").first.wait_for()
    ranked = sorted(trained.outcome.evaluations.values(), key=lambda one: -one.test.pr_auc)
    shown = page.locator(".ag-row", has_text=" · 15 min").all_inner_texts()
    # Above a run's name its row has what is only seen under the pointer.
    assert [text.split(" · ")[0].splitlines()[-1] for text in shown] == [one.name for one in ranked]
    page.get_by_text(f"Champion: {wanted.name} in 15 min").first.wait_for()
    assert "workflowType=machine_learning" in page.url
    page.get_by_text("Model training").first.wait_for()
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/mlflow.png")

    client = MlflowClient(mlflow_server, mlflow_server)
    parent = client.search_runs([experiment], f"tags.`{KIND}` = 'training'")[0].info.run_id
    page.goto(f"{mlflow_server}/#/experiments/{experiment}/runs/{parent}/artifacts/{COMPARISON}")
    shown = page.frame_locator("iframe").first
    shown.get_by_role("heading", name="Will the station be full?").wait_for()
    shown.get_by_text("SIMULATED").first.wait_for()
    assert shown.locator("tbody tr").count() == 3 + len(MODELS)
    assert shown.locator("tr.champion").count() == 1
    assert shown.locator("img").count() == 3
    page.close()
