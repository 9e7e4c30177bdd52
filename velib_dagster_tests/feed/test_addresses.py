"""Where a feed may lead: the rules, over addresses alone."""

from ipaddress import ip_address

import pytest

from velib_dagster.feed.addresses import (
    Address,
    Place,
    RefusedAddressError,
    literal,
    place_of,
    trouble_at,
    trouble_by_name,
    without_keys,
)

PUBLIC = "93.184.216.34"
ELSEWHERE = Address.of("https://other.example/x")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (PUBLIC, Place.PUBLIC),
        ("2606:2800:220:1::1", Place.PUBLIC),
        ("127.0.0.1", Place.LOOPBACK),
        ("127.8.8.8", Place.LOOPBACK),
        ("::1", Place.LOOPBACK),
        ("0.0.0.0", Place.LOOPBACK),  # noqa: S104 - an address, nothing listens there
        ("::", Place.LOOPBACK),
        ("10.1.2.3", Place.PRIVATE),
        ("172.16.0.1", Place.PRIVATE),
        ("192.168.0.1", Place.PRIVATE),
        ("fd00:ec2::254", Place.PRIVATE),
        ("169.254.169.254", Place.LINK),
        ("fe80::1", Place.LINK),
        ("168.63.129.16", Place.LINK),
        ("100.100.100.200", Place.OTHER),
        ("224.0.0.1", Place.OTHER),
        ("ff02::1", Place.OTHER),
        ("::ffff:127.0.0.1", Place.LOOPBACK),
        ("::ffff:169.254.169.254", Place.LINK),
        ("64:ff9b::10.0.0.1", Place.PRIVATE),
        ("2002:7f00:1::", Place.LOOPBACK),
    ],
)
def test_every_kind_of_address_is_told(text: str, place: Place) -> None:
    assert place_of(ip_address(text)) is place


@pytest.mark.parametrize(
    "text", ["::127.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "192.0.0.192"]
)
def test_what_is_reserved_is_not_public(text: str) -> None:
    assert place_of(ip_address(text)) is not Place.PUBLIC


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST".lower(),
        "a.localhost",
        "[::1]",
    ],
)
def test_loopback_is_recognised_however_it_is_written(host: str) -> None:
    ip = literal(host)
    assert ip is not None
    assert place_of(ip) is Place.LOOPBACK


def test_a_name_is_no_literal_address() -> None:
    assert literal("feed.example") is None
    assert literal("localhost.example") is None


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "100.64.0.1", "0.0.0.1"]
)
def test_from_a_public_feed_nothing_inside_is_asked(text: str) -> None:
    for feed in ("https://feed.example/gbfs.json", f"http://{PUBLIC}/gbfs.json"):
        words = trouble_at(ip_address(text), ELSEWHERE, Address.of(feed), {ip_address(PUBLIC)})
        assert words is not None
        assert words.startswith("other.example leads to")
    assert trouble_at(ip_address(PUBLIC), ELSEWHERE, Address.of("https://feed.example/"), ()) is None


def test_a_feed_of_a_private_network_names_its_neighbours_and_nothing_else() -> None:
    feed = Address.of("http://10.0.0.5:8000/gbfs.json")
    for text in ("10.0.0.6", "192.168.1.1", PUBLIC):
        assert trouble_at(ip_address(text), ELSEWHERE, feed, ()) is None
    for text in ("127.0.0.1", "169.254.169.254", "100.64.0.1"):
        assert trouble_at(ip_address(text), ELSEWHERE, feed, ()) is not None


def test_a_feed_on_this_machine_names_this_machine_and_no_network() -> None:
    feed = Address.of("http://localhost:8000/gbfs.json")
    for text in ("127.0.0.1", "::1", "127.0.0.9"):
        assert trouble_at(ip_address(text), ELSEWHERE, feed, ()) is None
    for text in ("10.0.0.1", "192.168.1.1", "169.254.169.254"):
        assert trouble_at(ip_address(text), ELSEWHERE, feed, ()) is not None


def test_a_metadata_address_has_no_neighbours() -> None:
    feed = Address.of("http://169.254.1.1/gbfs.json")
    assert trouble_at(ip_address("169.254.1.1"), feed, feed, ()) is None
    assert trouble_at(ip_address("169.254.169.254"), ELSEWHERE, feed, ()) is not None


def test_a_feed_by_its_name_is_where_its_name_leads_and_its_name_may_not_move_inside() -> None:
    feed = Address.of("http://feed.example:8000/gbfs.json")
    inside, public = ip_address("10.0.0.5"), ip_address(PUBLIC)
    assert trouble_at(inside, feed, feed, ()) is None
    # the same machine, by another name or port
    assert trouble_at(inside, ELSEWHERE, feed, {inside}) is None
    assert trouble_at(ip_address("10.0.0.6"), ELSEWHERE, feed, {inside}) is not None
    # the name led to a public address, and leads inside now
    assert trouble_at(inside, feed, feed, {public}) is not None
    assert trouble_at(inside, Address.of("http://feed.example:6379/"), feed, ()) is not None


def test_behind_a_proxy_the_name_is_what_is_judged() -> None:
    feed = Address.of("https://feed.example/gbfs.json")
    for url in ("https://other.example/x", "https://feed.example/x", f"http://{PUBLIC}/"):
        assert trouble_by_name(Address.of(url), feed) is None
    for url in (
        "http://localhost/",
        "http://127.1:9090/",
        "http://2130706433/",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://kafka:9092/",
        "http://metadata.google.internal/",
        "http://printer.local./",
    ):
        assert trouble_by_name(Address.of(url), feed) is not None
    assert trouble_by_name(Address.of("http://feeds.lan/x"), Address.of("http://feeds.lan/gbfs.json")) is None


@pytest.mark.parametrize(
    ("target", "may"),
    [
        ("https://feed.example/x", True),
        ("https://FEED.example:443/x", True),
        ("https://feed.example./x", True),
        ("http://feed.example/x", False),
        ("https://feed.example:8443/x", False),
        ("https://www.feed.example/x", False),
        ("https://feed.example.evil.example/x", False),
    ],
)
def test_keys_go_to_the_feed_s_own_server_and_never_from_https_to_http(target: str, may: bool) -> None:
    assert Address.of(target).may_get_keys_of(Address.of("https://feed.example/gbfs.json")) is may


def test_keys_follow_the_feed_from_http_to_https() -> None:
    feed = Address.of("http://feed.example/gbfs.json")
    assert Address.of("https://feed.example/gbfs.json").may_get_keys_of(feed)
    assert Address.of("http://feed.example/x").may_get_keys_of(feed)
    assert not Address.of("http://feed.example:8080/x").may_get_keys_of(feed)


FEED = "https://me:password@feed.example/gbfs.json?apikey=TOPSECRET&v=2&t=9"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://b.example/x?apikey=TOPSECRET&lang=fr", "https://b.example/x?lang=fr"),
        ("https://b.example/x?key=TOPSECRET", "https://b.example/x"),
        ("https://b.example/x?t=9&page=9&v=2", "https://b.example/x?page=9&v=2"),
        ("https://me:password@b.example/x", "https://b.example/x"),
        ("https://who:else@b.example/x", "https://b.example/x"),
        ("https://b.example/x?X-Sig=a%2Fb&e=1", "https://b.example/x?X-Sig=a%2Fb&e=1"),
    ],
)
def test_another_server_is_asked_without_the_feed_s_keys(url: str, asked: str) -> None:
    assert without_keys(url, FEED) == asked


@pytest.mark.parametrize("url", ["https://b.example/TOPSECRET/x", "https://b.example/x?next=a%3DTOPSECRET"])
def test_an_address_that_hides_a_key_elsewhere_is_not_asked(url: str) -> None:
    with pytest.raises(RefusedAddressError, match=r"b\.example would be told the feed's key"):
        without_keys(url, FEED)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "https:///x", "", "http://[::1/x", "http://h:99999/"]
)
def test_what_is_no_address_of_http_is_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        Address.of(url)
