"""What `velib status` asks of, where nothing runs."""

from pathlib import Path

import pytest

from velib_dagster.runtime.status import platform_status
from velib_dagster.settings import Settings, feed_named


@pytest.mark.parametrize(("feed", "expected"), [("live", True), ("simulated", True), ("recordings", False)])
def test_only_a_feed_that_is_polled_has_a_standby_poller(feed: str, expected: bool, tmp_path: Path) -> None:
    found = platform_status(Settings(home=tmp_path, feed=feed_named(feed)))
    names = [part.name for part in found.parts]
    assert names[:4] == ["Kafka", "PostgreSQL", "Dagster", "MLflow"]
    assert ("standby poller" in names) is expected
    assert not found.healthy
    assert not any(part.up for part in found.parts)
