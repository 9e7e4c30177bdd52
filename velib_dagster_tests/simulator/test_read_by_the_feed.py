"""The platform's own client reads every form of the simulated feed without refusing a row, and its recordings."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode
from velib_dagster.feed.recordings import list_recordings
from velib_dagster.settings import Feed
from velib_dagster.simulator import Network, Simulation, SimulatorServer, write_days

NETWORK = Network.generate(100, 1)


@pytest.mark.parametrize("form", ["export", "records", "gbfs", "v1"])
def test_every_form_gives_one_report_a_station_with_the_true_counts(form: str) -> None:
    with SimulatorServer(NETWORK) as server:
        url = {
            "export": server.url,
            "records": f"{server.records_url}?limit=100",
            "gbfs": server.gbfs_url,
            "v1": f"{server.base_url}/api/records/1.0/search/?rows=-1",
        }[form]
        fetched = FeedClient(Feed("simulated", url, simulated=True)).poll()
    assert fetched.error is None
    poll = decode(fetched.answers)
    assert poll.failure is None
    assert poll.refused == {}
    counts = Simulation(NETWORK).at(int(fetched.poll_time.timestamp()))
    told = {r.station_code: (r.mechanical, r.ebike, r.capacity, r.is_renting) for r in poll.reports}
    truth = zip(NETWORK.stations, counts.mechanical.tolist(), counts.ebike.tolist(), strict=True)
    assert told == {s.code: (m, e, s.capacity, s.is_operating) for s, m, e in truth}


def test_written_days_are_recordings_at_their_poll_times(tmp_path: Path) -> None:
    end = datetime(2026, 10, 25, 12, tzinfo=UTC)
    write_days(tmp_path, days=1, every_seconds=3600, stations=20, end=end)
    times = [recording.time for recording in list_recordings(tmp_path)]
    assert times == [end - timedelta(hours=hours) for hours in range(23, -1, -1)]
