"""Who may ask Dagster's page for what: rules over a request's head, and the ASGI wrapper that holds them.

Dagster's own webserver executes GraphQL for whatever reaches it, so that any web page that the operator's browser opens
could launch and delete runs. Knows nothing of Dagster but its paths; `webserver.py` puts it around the application.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

GRAPHQL: Final = "/graphql"
HEADERS: Final = (
    (b"x-frame-options", b"SAMEORIGIN"),  # a page that shows ours in a frame could have its buttons pressed
    (b"cross-origin-resource-policy", b"same-origin"),
)

_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_ORIGIN: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@]+)")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_OWN: Final = frozenset({"same-origin", "none"})
_ONCE: Final = ("host", "origin", "content-type", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
_SHOWN: Final = 100


@dataclass(frozen=True)
class Asked:
    """What a request says of itself before its body: `method` is empty for a WebSocket; header names in lower case."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]

    @classmethod
    def by(cls, scope: Scope) -> Self:
        """The head of an ASGI request."""
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        return cls("" if scope["type"] == "websocket" else scope["method"], scope["path"], headers)

    def header(self, name: str) -> str | None:
        """A header's value without surrounding space, None where it is absent."""
        return next((value.strip() for key, value in self.headers if key == name), None)


@dataclass(frozen=True)
class Refusal:
    """The answer instead of Dagster's: a status, and why in words."""

    status: HTTPStatus
    words: str


class Rules:
    """Which requests pass: those to a loopback name or to one of the public names, from the page itself or no page.

    A public name is `https://dagster.example.org`, or a bare name or `name:port` where either scheme is meant.
    """

    def __init__(self, public: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._origins: set[str] = set()
        for address in public:
            scheme, _, authority = address.rpartition("://")
            for one in (scheme,) if scheme else ("http", "https"):
                self._origins.add(_origin(one, authority.lower()))
            self._names.add(urlsplit(f"//{authority}").hostname or authority)

    def refusal(self, asked: Asked) -> Refusal | None:
        """Why a request gets no answer of Dagster's, None where it passes."""
        names = [name for name, _ in asked.headers]
        if twice := next((name for name in _ONCE if names.count(name) > 1), None):
            return _forbidden(f"The request has the header {twice} twice.")
        host = (asked.header("host") or "").lower()
        return self._of_host(host) or self._of_site(asked, host) or _of_deed(asked)

    def _of_host(self, host: str) -> Refusal | None:
        """Against names that somebody else makes point here (DNS rebinding); the port can't be forged by a name."""
        found = _HOST.fullmatch(host)
        if found and (_is_loopback(found["name"]) or found["name"].strip("[]") in self._names):
            return None
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"Dagster's page does not answer under the name {host[:_SHOWN]!r}: open it as localhost, or add the name "
            "to VELIB_DAGSTER_PUBLIC and start the page again.",
        )

    def _of_site(self, asked: Asked, host: str) -> Refusal | None:
        """Against other sites' pages, those of this machine's other ports among them."""
        origin = asked.header("origin")
        if origin is not None and not self._is_own(origin.lower(), host):
            return _forbidden(f"Dagster's page takes nothing from another site's page ({origin[:_SHOWN]!r}).")
        site = asked.header("sec-fetch-site")
        if site is None or site in _OWN or _is_opened(asked):
            return None
        return _forbidden(
            f"Dagster's page takes nothing from the page of another site (Sec-Fetch-Site {site[:_SHOWN]!r})."
        )

    def _is_own(self, origin: str, host: str) -> bool:
        found = _ORIGIN.fullmatch(origin)
        if found is None:  # also "null", which a page in a sandbox sends
            return False
        plain = _origin(found["scheme"], found["authority"])
        return plain == _origin(found["scheme"], host) or plain in self._origins


def _of_deed(asked: Asked) -> Refusal | None:
    """Against what a page can have a browser do without asking it: changes come as JSON by POST, which it can't."""
    # A path that merely begins so may still be routed there: Starlette's patterns let a line feed at the end pass.
    graphql = asked.path.startswith(GRAPHQL)
    match asked.method:
        case "":
            return None if asked.path == GRAPHQL else _forbidden(f"Dagster's WebSocket is at {GRAPHQL}.")
        case "GET" | "HEAD":
            if graphql and "text/html" not in (asked.header("accept") or ""):
                return _forbidden("GraphQL is asked by POST with Content-Type application/json, not by GET.")
            return None
        case "POST":
            kind = (asked.header("content-type") or "").partition(";")[0].strip().lower()
            if asked.path == GRAPHQL and kind == "application/json":
                return None
            if graphql:
                return _forbidden("GraphQL is asked by POST with Content-Type application/json and no other.")
    return _forbidden(
        f"Dagster's page takes no {asked.method[:_SHOWN]} here: only GET, and POST at {GRAPHQL}. What happened outside "
        "is reported from Python, by DagsterInstance.report_runless_asset_event."
    )


def _is_opened(asked: Asked) -> bool:
    """Whether a person follows a link to a page of ours, in a tab of its own: that shows it, and changes nothing."""
    return (
        asked.method == "GET"
        and not asked.path.startswith(GRAPHQL)
        and asked.header("sec-fetch-mode") == "navigate"
        and asked.header("sec-fetch-dest") == "document"
    )


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _origin(scheme: str, authority: str) -> str:
    """Scheme, name and port as one text, the scheme's own port left out."""
    return f"{scheme}://{authority.removesuffix(':' + _DEFAULT_PORTS[scheme])}"


def _forbidden(words: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, words)


class PageGuard:
    """An ASGI application around another one, which gets only what the rules let pass."""

    def __init__(self, application: Application, rules: Rules) -> None:
        self._application = application
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        refused = self._rules.refusal(Asked.by(scope))
        if refused is not None:
            await _refuse(scope, send, refused)
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._application(scope, receive, framed)


async def _refuse(scope: Scope, send: Send, refused: Refusal) -> None:
    kind = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http"
    body = f"{refused.words}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        # The rest of the body was not read: what follows on this connection could not be told from it.
        (b"connection", b"close"),
        *HEADERS,
    ]
    await send({"type": f"{kind}.response.start", "status": int(refused.status), "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
