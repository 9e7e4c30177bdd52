"""What the forecast's schedules launch, and the words of a tick that launches nothing."""

import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest

from velib_dagster.archive.commit import Commit, FileLength, Source, write_commit
from velib_dagster.orchestration.forecast_schedules import LEAST_DAYS, too_few_days
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.schedules import default_schedules
from velib_dagster.settings import Feed, Settings

NOON = datetime(2024, 11, 7, 12, tzinfo=UTC)


def tick(name: str, instance: dg.DagsterInstance, platform: Platform) -> str | None:
    schedule = next(found for found in default_schedules() if found.name == name)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NOON, resources={"platform": platform}
    ) as context:
        return schedule.evaluate_tick(context).skip_message


def test_weekly_training_waits_for_three_weeks_of_data(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    assert "the archive has 0 days, and weekly training begins with 21" in str(tick("train_weekly", instance, platform))
    home.archive.mkdir()
    days = [(NOON + timedelta(days=number)).date() for number in range(LEAST_DAYS)]
    source = Source(topic="t", cluster_id="c", topic_id="t")
    lengths = {day: FileLength(10, 1) for day in days}
    write_commit(home.archive, Commit(source=source, timezone="Europe/Paris", next_offset=1, files=lengths))
    assert too_few_days(home) is None
    assert "MLflow unreachable" in str(tick("train_weekly", instance, platform))


class _NothingRegistered(BaseHTTPRequestHandler):
    """Answers as MLflow does where no model has the name."""

    def do_GET(self) -> None:
        body = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model not found"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_forecasts_wait_for_mlflow_and_for_a_champion(
    instance: dg.DagsterInstance, platform: Platform, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "MLflow unreachable" in str(tick("forecast_every_ten_minutes", instance, platform))
    with ThreadingHTTPServer(("127.0.0.1", 0), _NothingRegistered) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("VELIB_MLFLOW", f"http://127.0.0.1:{server.server_port}")
        assert "no model has earned the alias" in str(tick("forecast_every_ten_minutes", instance, platform))
        server.shutdown()
    Settings(home=home.home, feed=Feed("recordings", "")).save()
    assert "the feed recordings has no address to poll" in str(tick("forecast_every_ten_minutes", instance, platform))
