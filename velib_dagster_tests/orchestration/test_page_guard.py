"""Which requests reach Dagster's page: the rules over heads as browsers and programs send them, and the wrapper."""

import asyncio
from http import HTTPStatus

import pytest

from velib_dagster.orchestration.page_guard import Asked, Message, PageGuard, Receive, Rules, Scope, Send

HOME = "127.0.0.1:3000"
JSON = {"content-type": "application/json"}
PAGE = {"accept": "text/html,application/xhtml+xml"}
EVIL = "http://evil.example"
MISDIRECTED, FORBIDDEN = HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.FORBIDDEN


def asked(method: str, path: str, host: str | None = HOME, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(method, path, [*([("host", host)] if host is not None else []), *named.items()])


def judged(request: Asked, *public: str) -> HTTPStatus | None:
    refused = Rules(public).refusal(request)
    assert refused is None or len(refused.words) > 20
    return refused.status if refused else None


@pytest.mark.parametrize(
    "host", [HOME, "localhost:3000", "LOCALHOST:8080", "localhost", "[::1]:3000", "127.0.0.2:3000"]
)
def test_the_page_answers_under_the_names_of_loopback(host: str) -> None:
    assert judged(asked("GET", "/", host, **PAGE)) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:3000",
        "evil.example@localhost",
        "localhost:3000/evil.example",
        "localhost evil.example",
        "0.0.0.0:3000",
        "192.168.1.4:3000",
        "[::ffff:10.0.0.1]:3000",
        "127.1:3000",
    ],
)
def test_under_another_name_nothing_is_answered(host: str | None) -> None:
    assert judged(asked("GET", "/", host, **PAGE)) is MISDIRECTED
    assert judged(asked("POST", "/graphql", host, **JSON)) is MISDIRECTED
    assert judged(asked("", "/graphql", host)) is MISDIRECTED


def test_a_public_name_is_answered_with_the_origin_that_it_names() -> None:
    public = ("https://dagster.example.org", "10.0.0.4:8000")
    own = {"origin": "https://dagster.example.org", "sec_fetch_site": "same-origin"}
    assert judged(asked("POST", "/graphql", "dagster.example.org", **JSON, **own), *public) is None
    assert judged(asked("POST", "/graphql", "Dagster.example.org:443", **JSON, **own), *public) is None
    # a proxy in front that asks by the name of the machine behind it
    assert judged(asked("POST", "/graphql", "localhost:3000", **JSON, **own), *public) is None
    assert judged(asked("", "/graphql", "localhost:3000", **own), *public) is None
    there = {"origin": "http://10.0.0.4:8000"}
    assert judged(asked("POST", "/graphql", "10.0.0.4:8000", **JSON, **there), *public) is None
    assert judged(asked("POST", "/graphql", "10.0.0.4:8000", **JSON, origin=EVIL), *public) is FORBIDDEN
    assert judged(asked("GET", "/", "other.example.org", **PAGE), *public) is MISDIRECTED
    plain = {"origin": "http://dagster.example.org"}
    assert judged(asked("POST", "/graphql", "localhost:3000", **JSON, **plain), *public) is FORBIDDEN


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "",
        "http://localhost:8888",  # another program's page on this machine
        "http://127.0.0.1",
        "http://127.0.0.1:3000.evil.example",
        "http://evil.example/127.0.0.1:3000",
        "http://127.0.0.1:3000@evil.example",
        "chrome-extension://127.0.0.1:3000",
        "http://127.0.0.1:3000, http://evil.example",
    ],
)
def test_nothing_is_taken_from_another_site_s_page(origin: str) -> None:
    for request in (
        asked("POST", "/graphql", **JSON, origin=origin),
        asked("", "/graphql", origin=origin),
        asked("GET", "/logs/a.out", origin=origin),
        asked("OPTIONS", "/graphql", origin=origin),
    ):
        assert judged(request) is FORBIDDEN


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "something-new"])
def test_what_the_browser_calls_another_site_s_is_refused_without_an_origin_too(site: str) -> None:
    assert judged(asked("POST", "/graphql", **JSON, sec_fetch_site=site)) is FORBIDDEN
    assert judged(asked("GET", "/logs/a.out", sec_fetch_site=site, sec_fetch_mode="no-cors")) is FORBIDDEN
    frame = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
    assert judged(asked("GET", "/", **PAGE, sec_fetch_site=site, **frame)) is FORBIDDEN


def test_a_link_from_elsewhere_opens_a_page_and_no_query() -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert judged(asked("GET", "/runs/1", **PAGE, **link)) is None
    assert judged(asked("GET", "/graphql", **PAGE, **link)) is FORBIDDEN
    assert judged(asked("POST", "/graphql", **JSON, **link)) is FORBIDDEN


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/graphql\n"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_graphql_by_get_is_the_page_to_try_it_and_nothing_else(method: str, path: str) -> None:
    assert judged(asked(method, path)) is FORBIDDEN
    assert judged(asked(method, path, accept="*/*")) is FORBIDDEN
    assert judged(asked(method, path, accept="image/avif,image/webp")) is FORBIDDEN
    assert judged(asked(method, path, **PAGE)) is None


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        # Dagster looks for the words anywhere in it, and a browser sends this without asking
        "text/plain; charset=application/json",
        "text/plain;application/json",
        "application/jsonx",
    ],
)
def test_graphql_by_post_is_json_and_nothing_else(kind: str | None) -> None:
    assert judged(asked("POST", "/graphql", **({} if kind is None else {"content_type": kind}))) is FORBIDDEN


def test_programs_of_this_machine_ask_as_ever() -> None:
    assert judged(asked("GET", "/server_info")) is None
    assert judged(asked("POST", "/graphql", **JSON)) is None
    assert judged(asked("POST", "/graphql", content_type="Application/JSON; charset=utf-8")) is None
    assert judged(asked("", "/graphql")) is None


@pytest.mark.parametrize("what", ["materialization", "check", "observation"])
def test_no_report_is_taken(what: str) -> None:
    assert judged(asked("POST", f"/report_asset_{what}/station_stats", **JSON)) is FORBIDDEN
    assert judged(asked("POST", f"/report_asset_{what}/station_stats")) is FORBIDDEN


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(method: str) -> None:
    assert judged(asked(method, "/graphql", **JSON)) is FORBIDDEN
    assert judged(asked(method, "/", **JSON)) is FORBIDDEN


def test_a_header_that_decides_and_comes_twice_is_refused() -> None:
    once = asked("POST", "/graphql", **JSON, origin=f"http://{HOME}")
    assert judged(once) is None
    for name, value in once.headers:
        assert judged(Asked("POST", "/graphql", [*once.headers, (name, value)])) is FORBIDDEN


def answer(scope: Scope) -> tuple[list[Message], list[Scope]]:
    """What the wrapper sends, and what reached the application behind it."""
    sent: list[Message] = []
    reached: list[Scope] = []

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        reached.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b"page"})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(PageGuard(application, Rules())(scope, receive, send))
    return sent, reached


def scope_of(kind: str, host: str, **more: object) -> Scope:
    return {"type": kind, "method": "GET", "path": "/graphql", "headers": [(b"host", host.encode())], **more}


def test_a_refused_request_gets_words_and_never_reaches_dagster() -> None:
    sent, reached = answer(scope_of("http", "evil.example"))
    assert reached == []
    assert sent[0]["status"] == 421
    assert b"'evil.example'" in sent[1]["body"]
    assert b"VELIB_DAGSTER_PUBLIC" in sent[1]["body"]


def test_a_refused_websocket_is_refused_before_it_opens() -> None:
    sent, reached = answer(scope_of("websocket", "evil.example"))
    assert (sent, reached) == ([{"type": "websocket.close", "code": 1008}], [])
    sent, reached = answer(scope_of("websocket", "evil.example", extensions={"websocket.http.response": {}}))
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (sent[0]["status"], reached) == (421, [])


def test_a_page_can_t_be_shown_inside_another_site_s() -> None:
    scope = scope_of("http", HOME, path="/")
    sent, reached = answer(scope)
    assert reached == [scope]
    assert (b"x-frame-options", b"SAMEORIGIN") in sent[0]["headers"]
    assert (b"content-type", b"text/html") in sent[0]["headers"]


def test_what_is_no_request_passes() -> None:
    scope: Scope = {"type": "lifespan"}
    assert answer(scope) == ([], [scope])
