"""The session in which a feed is asked: redirects one by one, each connection checked, keys to the feed alone.

Holds no rule of its own (`addresses.py`); made by `client.py` and by whoever looks whether a feed can be reached.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Generator
from typing import Any, Final, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, requote_uri, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from velib_dagster.feed.addresses import IP, Address, RefusedAddressError, trouble_at, trouble_by_name, without_keys

REDIRECTS: Final = 5
"""How many are followed for one request: a shortened link, https, www, and a moved document."""

Check = Callable[[str, int, IP], None]
"""(host, port, IP address before connecting): raises RefusedAddressError."""
Connected = Callable[[str, int, IP], None]


class FeedSession(requests.Session):
    """Asks one feed, and what it names or redirects to.

    `followed` has the servers other than the feed's own that were asked, in order, until somebody clears it. Headers,
    authentication, certificates and adapters of a session that is `given` are used; its headers at the feed's own
    server alone, since they may be keys.
    """

    def __init__(self, feed: str, given: requests.Session | None = None) -> None:
        super().__init__()
        self.max_redirects = REDIRECTS
        self.followed: dict[str, None] = {}
        self._url = feed
        self._connected: set[IP] = set()
        adapter = _CheckedAdapter(self._check, self._remember)
        for prefix in ("http://", "https://"):
            self.mount(prefix, adapter)
        usual = self.headers.keys()
        self._own_headers = [] if given is None else [name for name in given.headers if name not in usual]
        if given is not None:
            self.auth, self.verify, self.cert, self.cookies = given.auth, given.verify, given.cert, given.cookies
            self.proxies.update(given.proxies)
            self.headers.update(given.headers)
            for prefix, own in given.adapters.items():
                if type(own) is not HTTPAdapter:
                    self.mount(prefix, own)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """One request, without the feed's keys where it goes elsewhere; follows redirects by this session's rules.

        Raises:
            RefusedAddressError: the address is none that is asked.
            requests.RequestException: as in any session.
        """
        feed, target = Address.of(self._url), Address.of(request.url or "")
        proxies = kwargs.get("proxies") or {}
        trouble = trouble_by_name(target, feed) if select_proxy(request.url or "", proxies) else None
        if trouble is not None:
            raise RefusedAddressError(trouble)
        if not target.is_same_host(feed):
            self.followed[str(target)] = None
        if target.may_get_keys_of(feed):
            user, password = get_auth_from_url(self._url)
            if user and "Authorization" not in request.headers:
                HTTPBasicAuth(user, password)(request)
        else:
            for header in ("Authorization", "Cookie", *self._own_headers):
                request.headers.pop(header, None)
            request.url = without_keys(request.url or "", self._url)
        return super().send(request, **kwargs)

    def resolve_redirects(  # type: ignore[override]
        self,
        resp: requests.Response,
        req: requests.PreparedRequest,
        stream: bool = False,
        timeout: tuple[float, float] = (5.0, 20.0),
        **kwargs: Any,
    ) -> Generator[requests.Response, None, None]:
        """The answers behind a redirect, one by one, all together in the time of one request.

        A redirect's body is not read, however long it is, and ends its connection.
        """
        if kwargs.pop("yield_requests", False):  # asked by `send` for each answer, to show what it would ask next
            return
        deadline = time.monotonic() + sum(timeout)
        count = 0
        while (location := self.get_redirect_target(resp)) is not None:
            resp.close()
            count += 1
            left = deadline - time.monotonic()
            if count > self.max_redirects or left <= 0:
                msg = f"more than {self.max_redirects} redirects, or too slow ones"
                raise requests.TooManyRedirects(msg, response=resp)
            following = req.copy()
            following.prepare_url(requests.compat.urljoin(resp.url, requote_uri(location)), None)
            following.headers.pop("Cookie", None)
            following.prepare_cookies(self.cookies)
            self.trust_env = is_outside(following.url or "")
            kwargs["proxies"] = self.rebuild_proxies(following, None)  # type: ignore[no-untyped-call]
            limits = (min(timeout[0], left), min(timeout[1], left))
            req, resp = following, self.send(following, stream=stream, timeout=limits, allow_redirects=False, **kwargs)
            yield resp

    def _check(self, host: str, port: int, ip: IP) -> None:
        feed = Address.of(self._url)
        trouble = trouble_at(ip, self._target(host, port), feed, self._connected)
        if trouble is not None:
            raise RefusedAddressError(trouble)

    def _remember(self, host: str, port: int, ip: IP) -> None:
        if self._target(host, port).is_same_host(Address.of(self._url)):
            self._connected.add(ip)

    def _target(self, host: str, port: int) -> Address:
        scheme = {80: "http", 443: "https"}.get(port, Address.of(self._url).scheme)
        return Address(scheme, host.lower().strip("[]").rstrip("."), port)


def is_outside(url: str) -> bool:
    """Whether an address is not this machine's own, so that proxies and netrc of the environment are meant for it."""
    return (urllib3.util.parse_url(url).host or "").strip("[]") not in {"127.0.0.1", "localhost", "::1"}


class _CheckedAdapter(HTTPAdapter):
    """Connects only where the check lets it; through a proxy it is the proxy that connects."""

    def __init__(self, check: Check, connected: Connected) -> None:
        self._check, self._after = check, connected
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        manager = cast("urllib3.PoolManager", self.poolmanager)
        check, after = self._check, self._after

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _connect(self, super()._new_conn, check, after)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _connect(self, super()._new_conn, check, after)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _connect(
    connection: HTTPConnection, new: Callable[[], socket.socket], check: Check, after: Connected
) -> socket.socket:
    """A socket to the first address of the host that may be connected to and answers; the name is looked up once."""
    name = connection._dns_host
    port = connection.port or 0
    try:
        found = socket.getaddrinfo(name.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    trouble: Exception = NewConnectionError(connection, f"{name} has no address")
    try:
        for text in dict.fromkeys(str(info[4][0]) for info in found):
            ip = ipaddress.ip_address(text)
            try:
                check(name, port, ip)
                connection._dns_host = text
                made = new()
            except (RefusedAddressError, ConnectTimeoutError, NewConnectionError) as error:
                # of several failures the last counts, but none hides that an address was refused
                trouble = trouble if isinstance(trouble, RefusedAddressError) else error
                continue
            after(name, port, ip)
            return made
    finally:
        connection._dns_host = name
    raise trouble
