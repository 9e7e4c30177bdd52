"""The MLflow UI as the analyst sees it: the experiment with its runs, and the comparison page."""

from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from velib_dagster.forecast.task import Target
from velib_dagster.forecast.tracking import COMPARISON, KIND, track
from velib_dagster_tests.end_to_end.conftest import browser
from velib_dagster_tests.forecast.conftest import MODELS, Training

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
    page.goto(f"{mlflow_server}/#/experiments/{experiment}/runs")
    page.get_by_text("station-full").first.wait_for()
    for name in ("persistence", "minus_docks", *MODELS):
        page.get_by_text(f"{name} · 15 min").first.wait_for()

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
