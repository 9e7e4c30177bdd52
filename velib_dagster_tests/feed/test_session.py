"""Redirects, discovered addresses and keys, against real servers on loopback; names lead where the test says."""

import base64
import json
import socket
import time
from collections.abc import Callable

import pytest
import requests

from velib_dagster.feed.check import check_feed
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode_snapshot
from velib_dagster.feed.errors import PermanentFeedError
from velib_dagster.feed.session import REDIRECTS
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime.new_home import unreachable
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply, free_port, json_reply
from velib_dagster_tests.feed.test_decode import INFORMATION, ROW, STATUS

KEY = "TOPSECRET"


def to(url: str, status: int = 302, **how) -> Reply:
    return Reply(b"moved", status=status, headers={"Location": url}, **how)


def discovery(**urls: str) -> Reply:
    return json_reply({"data": {"en": {"feeds": [{"name": name, "url": url} for name, url in urls.items()]}}})


def polled(url: str, **how):
    return FeedClient(Feed("test", url), **how).poll()


def port(feed: LocalFeed) -> int:
    return int(feed.address.rpartition(":")[2])


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes names lead to addresses; a list is used up one look-up after the other, its last stays."""
    real = socket.getaddrinfo

    def lead(**places: list[str]) -> None:
        def found(host, port, *rest, **more):
            name = host.decode() if isinstance(host, bytes) else host
            places_of_name = places.get(str(name).replace(".", "_"))
            if places_of_name is None:
                return real(host, port, *rest, **more)
            place = places_of_name.pop(0) if len(places_of_name) > 1 else places_of_name[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port))]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return lead


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_without_reading_its_endless_body(status: int) -> None:
    with LocalFeed({"/": [to("/there", status, length=10**9)], "/there": [json_reply([ROW])]}) as feed:
        began = time.monotonic()
        fetched = polled(f"{feed.address}/")
    assert (fetched.error, fetched.followed) == (None, ())
    assert json.loads(fetched.answers[0].body) == [ROW]
    assert time.monotonic() - began < 10


def test_redirects_in_a_circle_end() -> None:
    with LocalFeed({"/": [to("/")]}) as feed:
        fetched = polled(f"{feed.address}/")
    assert f"more than {REDIRECTS} redirects" in str(fetched.error)
    assert len(feed.asked) == REDIRECTS + 1


def test_slow_redirects_end_with_the_poll_s_time() -> None:
    def slow(_query: str) -> Reply:
        time.sleep(0.8)
        return to("/")

    with LocalFeed({"/": slow}) as feed:
        began = time.monotonic()
        fetched = polled(f"{feed.address}/", budget_seconds=1.2)
    assert fetched.error is not None
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::1/x"])
def test_a_redirect_to_no_address_of_http_is_refused_in_words(where: str) -> None:
    with LocalFeed({"/": [to(where)]}) as feed:
        fetched = polled(f"{feed.address}/")
    assert "can't be asked" in str(fetched.error)
    assert len(feed.asked) == 1


def test_keys_are_not_sent_to_another_server_and_it_is_told(tmp_path) -> None:
    with LocalFeed({"/status": [json_reply(STATUS)], "/info": [json_reply(INFORMATION)]}) as other:
        at = f"http://localhost:{port(other)}"
        found = discovery(
            station_status=f"{at}/status?apikey={KEY}&lang=fr",
            station_information=f"http://me:password@localhost:{port(other)}/info",
        )
        with LocalFeed({"/gbfs.json": [found]}) as feed:
            url = f"http://me:password@127.0.0.1:{port(feed)}/gbfs.json?apikey={KEY}"
            fetched = polled(url)
            client = FeedClient(Feed("test", url))
            check = check_feed(Settings(home=tmp_path, feed=Feed("test", url)), client=client)
    assert feed.asked[0] == f"/gbfs.json?apikey={KEY}"
    assert feed.heads[0]["authorization"] == "Basic " + base64.b64encode(b"me:password").decode()
    assert set(other.asked) == {"/status?lang=fr", "/info"}
    assert not [head for head in other.heads if "authorization" in head or KEY in str(head)]
    assert (fetched.error, fetched.followed) == (None, (at,))
    assert f"followed      {at}, which the feed names: asked without its keys" in check.text()
    assert KEY not in check.text()
    assert "password" not in check.text()
    kept = SnapshotStore(tmp_path / "raw").add(fetched)
    assert SnapshotStore(tmp_path / "raw").read(kept.name).followed == (at,)


def test_a_redirect_elsewhere_carries_neither_keys_nor_cookies() -> None:
    with LocalFeed({"/x": [json_reply([ROW])]}) as other:
        place = f"http://127.0.0.1:{port(other)}/x?apikey={KEY}"
        moved = Reply(status=302, headers={"Location": place, "Set-Cookie": f"session={KEY}; Path=/"})
        with LocalFeed({"/": [moved]}) as feed:
            fetched = polled(f"http://me:password@127.0.0.1:{port(feed)}/?apikey={KEY}")
    assert other.asked == ["/x"]
    assert "authorization" not in other.heads[0]
    assert KEY not in str(other.heads[0])
    assert fetched.followed == (other.address,)


def test_headers_of_a_given_session_go_to_the_feed_alone() -> None:
    session = requests.Session()
    session.headers["X-Key"] = KEY
    with LocalFeed({"/x": [json_reply([ROW])]}) as other, LocalFeed({"/": [to(f"{other.address}/x")]}) as feed:
        fetched = FeedClient(Feed("test", f"{feed.address}/"), session).poll()
    assert fetched.error is None
    assert feed.heads[0]["x-key"] == KEY
    assert KEY not in str(other.heads)


def test_the_feed_s_own_documents_are_asked_with_its_user() -> None:
    replies: dict = {"/status": [json_reply(STATUS)]}
    with LocalFeed(replies) as feed:
        replies["/gbfs.json"] = [discovery(station_status=f"{feed.address}/status?apikey={KEY}")]
        fetched = polled(f"http://me:password@127.0.0.1:{port(feed)}/gbfs.json?apikey={KEY}")
    assert feed.asked[1] == f"/status?apikey={KEY}"
    assert "authorization" in feed.heads[1]
    assert (fetched.error, fetched.followed) == (None, ())


def test_no_key_stands_in_what_is_kept_of_a_poll(tmp_path) -> None:
    moved = Reply(
        f'{{"error": "no such key: {KEY}"}}'.encode(),
        status=403,
        headers={"Link": f"</x?token={KEY}>", "Set-Cookie": f"s={KEY}", "X-Echo": f"your key {KEY}"},
    )
    with LocalFeed({"/": [moved]}) as feed:
        url = f"http://me:password@127.0.0.1:{port(feed)}/?apikey={KEY}"
        fetched = polled(url)
        with pytest.raises(PermanentFeedError) as nowhere:
            FeedClient(Feed("test", url)).get(f"http://127.0.0.1:{port(feed)}/none?token={KEY}")
    kept = SnapshotStore(tmp_path)
    repeated = decode_snapshot(kept.add(fetched), url).reason
    assert "no such key" in repeated
    assert KEY not in repeated
    described = kept.path(kept.add(fetched).name).read_text()
    assert "answers HTTP 403" in str(fetched.error)
    for text in (described, str(fetched.error), str(nowhere.value)):
        assert KEY not in text
        assert "password" not in text
    assert "127.0.0.1" in described
    refused = polled(f"http://me:password@127.0.0.1:{free_port()}/?apikey={KEY}", budget_seconds=1.5)
    assert "Connection refused" in str(refused.error)
    assert KEY not in str(refused.error)
    assert "password" not in str(refused.error)


@pytest.mark.parametrize(
    "where", ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://[fd00::1]/", "http://[::ffff:192.168.0.1]/"]
)
def test_a_feed_does_not_lead_into_a_network(where: str) -> None:
    began = time.monotonic()
    with LocalFeed({"/": [to(where)], "/gbfs.json": [discovery(station_status=where)]}) as feed:
        errors = [str(polled(f"{feed.address}{path}").error) for path in ("/", "/gbfs.json")]
    assert all("address, and the feed" in error and "not asked" in error for error in errors), errors
    assert time.monotonic() - began < 10, "it was connected to, or tried again"


def test_a_name_that_leads_inside_is_refused_by_where_it_leads(names) -> None:
    names(rebound_example=["10.0.0.1"], metadata_example=["169.254.169.254"])
    with LocalFeed({"/": [to("http://rebound.example/x"), to("http://metadata.example/x")]}) as feed:
        for name, place in (("rebound", "10.0.0.1"), ("metadata", "169.254.169.254")):
            error = str(polled(f"{feed.address}/").error)
            assert f"{name}.example leads to {place}" in error


def test_a_name_that_led_here_and_leads_inside_a_moment_later_is_refused(names) -> None:
    names(feed_example=["127.0.0.1", "10.0.0.1"])
    with LocalFeed({"/gbfs.json": [Reply()]}) as feed:
        at = f"http://feed.example:{port(feed)}"
        feed.replies["/gbfs.json"] = [discovery(station_status=f"http://feed.example:{free_port()}/status")]
        error = str(polled(f"{at}/gbfs.json").error)
    assert "feed.example leads to 10.0.0.1" in error


def test_a_feed_of_an_inner_name_names_its_own_machine(names) -> None:
    names(feed_example=["127.0.0.1"], status_example=["127.0.0.1"])
    with LocalFeed({"/status": [json_reply(STATUS)]}) as feed:
        at = f"http://feed.example:{port(feed)}"
        feed.replies["/gbfs.json"] = [discovery(station_status=f"http://status.example:{port(feed)}/status")]
        fetched = polled(f"{at}/gbfs.json")
    assert (fetched.error, fetched.followed) == (None, (f"http://status.example:{port(feed)}",))


def test_a_proxy_is_used_and_what_its_name_shows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    replies: dict = {
        "http://feed.example/": [json_reply([ROW])],
        "http://feed.example/away": [to("http://other.example/x")],
        "http://other.example/x": [json_reply([ROW])],
        "http://feed.example/inside": [to("http://metadata.google.internal/x")],
        "http://feed.example/here": [to("http://10.0.0.1/x")],
    }
    with LocalFeed(replies) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:proxypass@127.0.0.1:{port(proxy)}")
        assert polled("http://feed.example/").error is None
        assert polled(f"http://feed.example/away?apikey={KEY}").followed == ("http://other.example",)
        assert "name inside a network" in str(polled("http://feed.example/inside").error)
        assert "private address" in str(polled("http://feed.example/here").error)
        assert all("proxy-authorization" in head for head in proxy.heads)
    assert not [path for path in proxy.asked if "internal" in path or "10.0.0.1" in path]
    refused = polled("http://feed.example/", budget_seconds=1.5)
    assert "proxypass" not in str(refused.error)


def test_whether_a_feed_can_be_reached_is_asked_by_the_same_rules() -> None:
    with LocalFeed({"/": [to("http://169.254.169.254/x")], "/good": [json_reply([ROW])]}) as feed:
        assert "not asked" in str(unreachable(f"{feed.address}/"))
        assert unreachable(f"{feed.address}/good") is None


def test_the_home_s_file_with_the_feed_s_address_is_its_owner_s_alone(tmp_path) -> None:
    Settings(home=tmp_path, feed=Feed("test", f"https://feed.example/?apikey={KEY}")).save()
    assert (tmp_path / "home.json").stat().st_mode & 0o077 == 0
    assert Settings.load(tmp_path).feed.url.endswith(KEY)
