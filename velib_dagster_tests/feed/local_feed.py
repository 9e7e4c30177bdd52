"""A feed on loopback whose every answer is written down beforehand, to the byte where that matters."""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass
class Reply:
    """One answer: `date` is a time, None for no Date header; `length` announces another length than the body's."""

    body: bytes = b"[]"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    date: datetime | None = field(default_factory=lambda: datetime.now(UTC))
    length: int | None = None
    chunked: bool = False
    drip_seconds: float = 0.0


def json_reply(value: object, **how) -> Reply:
    return Reply(json.dumps(value).encode(), **how)


def hours_ahead(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


class LocalFeed:
    """Serves `replies[path]`: a list is used up one by one (its last stays), a function gets the query string."""

    def __init__(self, replies: dict[str, list[Reply] | Callable[[str], Reply]]) -> None:
        self.replies = replies
        self.asked: list[str] = []
        self.agents: list[str | None] = []
        self.heads: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _reply(self, path: str, query: str) -> Reply:
        found = self.replies.get(path)
        if found is None:
            return Reply(b"not here", status=404)
        if callable(found):
            return found(query)
        return found.pop(0) if len(found) > 1 else found[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        feed = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                feed.asked.append(self.path)
                feed.agents.append(self.headers.get("User-Agent"))
                feed.heads.append({name.lower(): value for name, value in self.headers.items()})
                reply = feed._reply(path, query)
                self.send_response_only(reply.status)
                if reply.date is not None:
                    self.send_header("Date", format_datetime(reply.date, usegmt=True))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                else:
                    self.send_header("Content-Length", str(reply.length or len(reply.body)))
                self.end_headers()
                if reply.chunked:  # never sends the last chunk
                    self.wfile.write(f"{len(reply.body):x}\r\n".encode() + reply.body + b"\r\n")
                elif reply.drip_seconds:
                    for byte in reply.body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.drip_seconds)
                else:
                    self.wfile.write(reply.body)
                if reply.chunked or reply.length is not None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_WR)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
