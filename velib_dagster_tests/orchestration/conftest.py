"""What tests of Dagster's part share: a home, a feed on this machine, an instance that can be looked into."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from velib_dagster.orchestration.resources import Platform
from velib_dagster.settings import Feed, Settings


def station(code: str, bikes: int, docks: int) -> dict[str, object]:
    return {
        "stationcode": code,
        "name": f"Station {code}",
        "is_installed": "OUI",
        "capacity": bikes + docks,
        "numdocksavailable": docks,
        "numbikesavailable": bikes,
        "mechanical": bikes,
        "ebike": 0,
        "is_renting": "OUI",
        "is_returning": "OUI",
        "duedate": "2024-11-07T07:45:12+00:00",
        "coordonnees_geo": {"lon": 2.27, "lat": 48.86},
        "nom_arrondissement_communes": "Paris",
        "code_insee_commune": "75056",
    }


class LocalFeed:
    """An Explore export on loopback whose body, status and Date the test sets; counts how often it was asked."""

    def __init__(self) -> None:
        self.body = json.dumps([station("16107", 3, 32), station("8026", 0, 20)]).encode()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.offset = timedelta(0)
        self.asked = 0
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                feed.asked += 1
                self.send_response_only(feed.status)
                self.send_header("Date", format_datetime(datetime.now(UTC) + feed.offset, usegmt=True))
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(feed.body)))
                for name, value in feed.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(feed.body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/exports/json"


@pytest.fixture
def local_feed() -> Iterator[LocalFeed]:
    feed = LocalFeed()
    thread = threading.Thread(target=feed.server.serve_forever, daemon=True)
    thread.start()
    yield feed
    feed.server.shutdown()
    feed.server.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path, local_feed: LocalFeed) -> Settings:
    """Settings of a home whose feed is the local one; Kafka's port is one where nothing listens."""
    settings = Settings(
        home=tmp_path / "home", feed=Feed("here", local_feed.url), ports={"kafka": 9, "postgres": 9, "mlflow": 9}
    )
    settings.save()
    return settings


@pytest.fixture
def platform(home: Settings) -> Platform:
    return Platform(home=str(home.home))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance on SQLite; schedules need one, and retention has files to delete there."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as made:
        yield made
