"""The simulated network over HTTP, on loopback, at the real feed's paths.

It must not know how answers are made up; `velib simulate`, the supervisor and tests start it.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from itertools import count
from socketserver import TCPServer, ThreadingMixIn
from threading import Lock, Thread
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec

from velib_dagster.settings import LOOPBACK
from velib_dagster.simulator import answers
from velib_dagster.simulator.network import Network
from velib_dagster.simulator.simulation import Simulation

EXPLORE: Final = f"/api/explore/v2.1/catalog/datasets/{answers.DATASET}"
V1: Final = "/api/records/1.0/search"
GBFS: Final = "/gbfs"
CALLS_A_DAY: Final = 50_000
"""What the rate headers promise; more are answered all the same."""

IDLE_SECONDS: Final = 60


class SimulatorServer:
    """Serves a network at `clock`'s time, in epoch seconds, the present unless given.

    Answers and their `Date` are of the same second.
    In a `with` block it serves from a thread of its own; `serve_forever` serves in the caller's until `stop`.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, network: Network, port: int = 0, *, clock: Callable[[], float] = time.time) -> None:
        self.simulation = Simulation(network)
        self.clock = clock
        self._calls = count(1)
        self._calls_lock = Lock()
        try:
            self._server = _Server(self, port)
        except OSError as error:
            msg = f"the simulator can't listen on {LOOPBACK}:{port} ({error.strerror}): free the port or give another"
            raise OSError(error.errno, msg) from error
        self._serves = False
        self._thread: Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        """Address without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """Address of the export, as `homes.VELIB_URL` is the real one's."""
        return f"{self.base_url}{EXPLORE}/exports/json"

    @property
    def records_url(self) -> str:
        """Address of the pages of records."""
        return f"{self.base_url}{EXPLORE}/records"

    @property
    def gbfs_url(self) -> str:
        """Address of the GBFS discovery."""
        return f"{self.base_url}{GBFS}/gbfs.json"

    def serve_forever(self) -> None:
        """Answer requests until `stop` is called from another thread."""
        self._serves = True
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """End `serve_forever`, if it was called, and free the port. Call it from another thread."""
        if self._serves:
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._serves = True
        self._thread = Thread(target=self.serve_forever, name="simulator", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def answer(self, target: str, now: int) -> tuple[HTTPStatus, bytes]:
        """Status and body for a request target (path and query) at an epoch second."""
        parts = urlsplit(target)
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            body = self._body(parts.path.rstrip("/"), asked, now)
        except answers.BadParameterError as error:
            content = {"error_code": error.error_code, "message": error.message}
            return HTTPStatus.BAD_REQUEST, msgspec.json.encode(content)
        if body is None:
            content = {"error_code": "NotFound", "message": f"Nothing is served at {parts.path}."}
            return HTTPStatus.NOT_FOUND, msgspec.json.encode(content)
        return HTTPStatus.OK, msgspec.json.encode(body)

    def _body(self, path: str, asked: dict[str, str], now: int) -> answers.Row | list[answers.Row] | None:
        network = self.simulation.network
        bodies: dict[str, Callable[[], answers.Row | list[answers.Row]]] = {
            f"{EXPLORE}/exports/json": lambda: answers.explore_export(network, self.simulation.at(now), asked),
            f"{EXPLORE}/records": lambda: answers.explore_records(network, self.simulation.at(now), asked),
            V1: lambda: answers.v1_records(network, self.simulation.at(now), asked),
            f"{GBFS}/gbfs.json": lambda: answers.gbfs_discovery(f"{self.base_url}{GBFS}", now),
            f"{GBFS}/system_information.json": lambda: answers.gbfs_system(now),
            f"{GBFS}/station_information.json": lambda: answers.gbfs_information(network, now),
            f"{GBFS}/station_status.json": lambda: answers.gbfs_status(network, self.simulation.at(now)),
        }
        body = bodies.get(path)
        return None if body is None else body()

    def calls_left(self) -> int:
        """Count one call and give what the day's quota then leaves."""
        with self._calls_lock:
            return max(0, CALLS_A_DAY - next(self._calls))


class _Server(ThreadingMixIn, TCPServer):
    # http.server's own class looks the host's name up, which can take seconds without a name server.
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, owner: SimulatorServer, port: int) -> None:
        self.owner = owner
        super().__init__((LOOPBACK, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is none of the server's errors; others go to standard error as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "simulator"
    sys_version = ""
    timeout = IDLE_SECONDS
    # Head and body leave together: two small writes would wait for each other on a kept connection.
    wbufsize = 1 << 16
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.now = int(self.server.owner.clock())

    def parse_request(self) -> bool:
        # Each request on a kept connection has its own second, refused ones too.
        self.now = int(self.server.owner.clock())
        return super().parse_request()

    def do_GET(self) -> None:
        owner = self.server.owner
        status, body = owner.answer(self.path, self.now)
        midnight = datetime.fromtimestamp(self.now, UTC).replace(hour=0, minute=0, second=0) + timedelta(days=1)
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-RateLimit-Limit", str(CALLS_A_DAY))
        self.send_header("X-RateLimit-Remaining", str(owner.calls_left()))
        self.send_header("X-RateLimit-Reset", midnight.isoformat(sep=" "))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        # send_response puts this into the one Date header: the second that the counts are of.
        return formatdate(self.now if timestamp is None else timestamp, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""
