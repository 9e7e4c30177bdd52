"""A feed on this machine that answers with recordings, each under its own path and with its own time as the only Date.

So recordings go through the client and the raw store like the live feed. Called by `poll.py`; no store here.
"""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

import msgspec

from velib_dagster.feed.answers import ANSWER, STATION_STATUS
from velib_dagster.feed.errors import RecordingError
from velib_dagster.feed.recordings import Recording, RecordingReader
from velib_dagster.settings import LOOPBACK

_DISCOVERY: Final = "gbfs.json"
_KEPT: Final = 4


class ReplayServer:
    """Serves recordings while it is open; number i at `url(i)`, a GBFS one as discovery, status and information.

    The bytes are read as they are asked for: in order, one archive is unpacked at a time.
    """

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._recordings = recordings
        self._reader = RecordingReader(recordings)
        self._lock = threading.Lock()
        self._newest: dict[int, dict[str, bytes]] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.trouble: str | None = None
        """What the newest recording that couldn't be read suffers from."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self._lock:
            self._reader.close()

    @property
    def address(self) -> str:
        """The server's own address."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def urls(self) -> list[str]:
        """The address of every recording, in order."""
        return [self.url(number) for number in range(len(self._recordings))]

    def url(self, number: int) -> str:
        """The address of the `number`-th recording: its answer, or the discovery document of its GBFS answers."""
        gbfs = STATION_STATUS in self._recordings[number].parts
        return f"{self.address}/{number}" + (f"/{_DISCOVERY}" if gbfs else "")

    def answer(self, path: str) -> tuple[datetime, bytes] | None:
        """Time and body of what a path names, None where it names nothing.

        Raises:
            RecordingError: the recording can't be read.
        """
        number_text, _, document = path.strip("/").partition("/")
        if not number_text.isdigit() or int(number_text) >= len(self._recordings):
            return None
        number = int(number_text)
        recording = self._recordings[number]
        if document == _DISCOVERY and STATION_STATUS in recording.parts:
            feeds = [{"name": role, "url": f"{self.address}/{number}/{role}.json"} for role in recording.parts]
            return recording.time, msgspec.json.encode({"data": {"en": {"feeds": feeds}}})
        role = document.removesuffix(".json") if document else ANSWER
        if role not in recording.parts or (document and role == ANSWER):
            return None
        return recording.time, self._bodies(number)[role]

    def _bodies(self, number: int) -> dict[str, bytes]:
        """The answers of a recording; the newest few are kept for a second try or a second document."""
        with self._lock:
            bodies = self._newest.get(number)
            if bodies is None:
                try:
                    bodies = self._newest[number] = self._reader.read(self._recordings[number])
                except RecordingError as error:
                    self.trouble = str(error)
                    raise
                if len(self._newest) > _KEPT:
                    del self._newest[next(iter(self._newest))]
            return bodies


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client may keep its connection open

    def __init__(self, replay: ReplayServer) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.replay = replay


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the last piece of each body waits 40 ms for the client
    server: _Server
    _time: datetime | None = None

    def do_GET(self) -> None:
        """Answer with a recording."""
        self._time = None
        try:
            found = self.server.replay.answer(self.path)
        except RecordingError as error:
            # 410 is not tried again: the file stays unreadable.
            self.send_error(HTTPStatus.GONE, "recording can't be read", str(error))
            return
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._time, body = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The one Date of the answer: `send_response` writes what this returns, so nothing adds a second."""
        if self._time is None:
            return super().date_time_string(timestamp)
        return format_datetime(self._time.astimezone(UTC), usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the client tells what went wrong."""
