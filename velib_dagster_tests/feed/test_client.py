"""The client against a real HTTP server on loopback: what is tried again, what is obeyed, what is kept."""

import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from velib_dagster.feed.answers import ANSWER, STATION_INFORMATION, STATION_STATUS
from velib_dagster.feed.client import BUDGET_SECONDS, CONNECT_SECONDS, FeedClient
from velib_dagster.feed.clocks import Boot
from velib_dagster.feed.decode import decode
from velib_dagster.feed.errors import PermanentFeedError, QuotaSpentError, TransientFeedError
from velib_dagster.feed.reports import PollKind
from velib_dagster.settings import Feed
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply, free_port, hours_ahead, json_reply
from velib_dagster_tests.feed.test_decode import INFORMATION, OTHER, ROW, STATUS

NOON = datetime(2024, 11, 7, 12, 0, 0, tzinfo=UTC)


def polled(feed: LocalFeed, path: str = "/", **how):
    return FeedClient(Feed("test", feed.address + path), **how).poll()


def test_a_poll_keeps_the_answer_to_the_byte_with_its_date_as_the_poll_time():
    said = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=90)
    with LocalFeed({"/": [json_reply([ROW], date=said, headers={"X-Served-By": "replica-2"})]}) as feed:
        fetched = polled(feed)
    (answer,) = fetched.answers
    assert decode(fetched.answers).reports[0].station_code == "16107"
    assert (answer.role, answer.status, answer.headers["x-served-by"]) == (ANSWER, 200, "replica-2")
    assert (fetched.poll_time, fetched.clock_offset_seconds, fetched.error) == (said, None, None)
    assert feed.agents[0].startswith("velib-dagster")


def test_a_compressed_answer_is_kept_unpacked():
    body = gzip.compress(b"[1]")
    with LocalFeed({"/": [Reply(body, headers={"Content-Encoding": "gzip"})]}) as feed:
        assert polled(feed).answers[0].body == b"[1]"


def test_a_date_an_hour_ahead_of_the_polls_before_is_not_believed_and_is_counted():
    with LocalFeed({"/": [json_reply([ROW]), json_reply([ROW], date=hours_ahead(1))]}) as feed:
        client = FeedClient(Feed("test", feed.address + "/"))
        client.poll()
        fetched = client.poll()
    assert abs(fetched.poll_time - datetime.now(UTC)) < timedelta(seconds=30)
    assert fetched.clock_offset_seconds == pytest.approx(3600, abs=5)
    assert "the local clock is believed" in fetched.told.note


def test_a_local_clock_that_is_wrong_does_not_replace_the_date():
    with LocalFeed({"/": [json_reply([ROW], date=NOON)]}) as feed:
        client = FeedClient(Feed("test", feed.address + "/"), now=lambda: NOON + timedelta(days=3652))
        times = [client.poll() for _ in range(3)]
    assert [(one.poll_time, one.told.confirmed) for one in times] == [(NOON, False), (NOON, False), (NOON, True)]
    assert times[0].clock_offset_seconds == -3652 * 86_400


def test_a_wait_is_reckoned_from_what_time_it_is_though_the_local_clock_has_jumped():
    clock = [NOON]
    replies = [json_reply([ROW], date=NOON), Reply(b"{}", status=429, headers={"Retry-After": "3600"}, date=NOON)]
    with LocalFeed({"/": replies}) as feed:
        client = FeedClient(Feed("test", feed.address + "/"), now=lambda: clock[0], boot=lambda: Boot("one", 60.0))
        client.poll()
        clock[0] += timedelta(days=1)
        fetched = client.poll()
    assert abs(fetched.quota_reset - NOON - timedelta(hours=1)) <= timedelta(seconds=30)


def test_a_recordings_date_is_believed_however_old():
    with LocalFeed({"/": [json_reply([ROW], date=NOON)]}) as feed:
        fetched = polled(feed, trust_date=True)
    assert (fetched.poll_time, fetched.clock_offset_seconds) == (NOON, None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": "soon"},
        {"Date": "Fri, 31 Dec 9999 23:59:59 -2300"},
        {"Date": "Thu, 07 Nov 2024 12:00:00 GMT, Fri, 08 Nov 2024 12:00:00 GMT"},
    ],
)
def test_without_exactly_one_readable_date_the_local_clock_counts(headers):
    with LocalFeed({"/": [json_reply([ROW], date=None, headers=headers)]}) as feed:
        fetched = polled(feed, trust_date=True, now=lambda: NOON + timedelta(microseconds=7))
    assert (fetched.poll_time, fetched.clock_offset_seconds) == (NOON, None)


def test_a_500_is_tried_again():
    with LocalFeed({"/": [Reply(b"oops", status=500), json_reply([ROW])]}) as feed:
        fetched = polled(feed)
    assert (len(feed.asked), fetched.error, fetched.answers[0].status) == (2, None, 200)


def test_a_429_is_tried_again_after_the_time_it_names():
    with LocalFeed({"/": [Reply(b"{}", status=429, headers={"Retry-After": "2"}), json_reply([ROW])]}) as feed:
        started = time.monotonic()
        fetched = polled(feed)
    assert time.monotonic() - started >= 2
    assert (len(feed.asked), fetched.error, fetched.quota_reset) == (2, None, None)


TOMORROW = (datetime.now(UTC) + timedelta(hours=20)).replace(microsecond=0)


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": format_datetime(TOMORROW, usegmt=True)},
        {"X-RateLimit-Reset": str(int(TOMORROW.timestamp()))},
        {"X-RateLimit-Reset": f"{TOMORROW:%Y-%m-%d %H:%M:%S}"},
        {"X-RateLimit-Reset": TOMORROW.isoformat()},
        {"X-RateLimit-Reset": f"{TOMORROW:%Y-%m-%dT%H:%M:%SZ}", "X-RateLimit-Remaining": "0"},
    ],
)
def test_a_spent_quota_is_asked_once_and_its_reset_is_kept_with_the_verbatim_answer(headers):
    body = {"errorcode": 10002, "error": "Too many requests", "reset_time": "tomorrow"}
    with LocalFeed({"/": [json_reply(body, status=429, headers=headers)]}) as feed:
        fetched = polled(feed)
        with pytest.raises(QuotaSpentError, match="quota opens again") as spent:
            FeedClient(Feed("test", feed.address)).get(feed.address + "/")
    assert len(feed.asked) == 2
    assert fetched.quota_reset == spent.value.reset == TOMORROW
    assert "HTTP 429" in fetched.error
    poll = decode(fetched.answers, error=fetched.error)
    assert (poll.failure, "Too many requests" in poll.reason) == (PollKind.ERROR_PAYLOAD, True)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, {"errorcode": 10005, "reset_time": f"{TOMORROW:%Y-%m-%dT%H:%M:%SZ}"}),
        ({}, {"error": {"reset": int(TOMORROW.timestamp())}}),
        ({}, {"retry_after": 72_000}),
        ({"X-RateLimit-Reset": f"{int(TOMORROW.timestamp())}000"}, {}),
        ({"RateLimit-Reset": "72000"}, {}),
        ({"RateLimit": "limit=100, remaining=0, reset=72000"}, {}),
        ({"X-Rate-Limit-Reset": str(int(TOMORROW.timestamp()))}, {}),
        ({"X-RateLimit-Reset-After": "72000.0"}, {}),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "72000"}, {}),
    ],
)
def test_a_429_is_obeyed_wherever_it_tells_its_reset(headers, body):
    with LocalFeed({"/": [json_reply(body, status=429, headers=headers)]}) as feed:
        fetched = polled(feed)
    assert len(feed.asked) == 1
    in_seconds = datetime.now(UTC) + timedelta(seconds=72_000)
    assert min(abs(fetched.quota_reset - meant) for meant in (TOMORROW, in_seconds)) < timedelta(minutes=1)


def test_a_5xx_with_rate_limit_headers_is_tried_again():
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": TOMORROW.isoformat()}
    with LocalFeed({"/": [Reply(b"oops", status=502, headers=headers), json_reply([ROW])]}) as feed:
        fetched = polled(feed)
    assert (len(feed.asked), fetched.error, fetched.quota_reset) == (2, None, None)


def test_a_5xx_that_stays_spends_no_quota():
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": TOMORROW.isoformat()}
    with LocalFeed({"/": [Reply(b"oops", status=503, headers=headers)]}) as feed:
        fetched = polled(feed, budget_seconds=2)
    assert (fetched.quota_reset, fetched.answers[0].status) == (None, 503)


def test_the_last_call_of_a_quota_is_used_and_the_reset_is_kept():
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": TOMORROW.isoformat()}
    with LocalFeed({"/": [json_reply([ROW], headers=headers)]}) as feed:
        fetched = polled(feed)
    assert (fetched.error, fetched.quota_reset) == (None, TOMORROW)


def test_a_reset_in_a_far_year_does_not_silence_the_polls_for_long():
    with LocalFeed({"/": [Reply(b"{}", status=429, headers={"X-RateLimit-Reset": "2099-01-01"})]}) as feed:
        fetched = polled(feed)
    assert fetched.quota_reset - datetime.now(UTC) < timedelta(hours=26)


def test_a_400_is_not_tried_again_and_its_answer_is_kept():
    body = {"error_code": "InvalidRESTParameterError", "message": "Invalid value for limit"}
    with LocalFeed({"/": [json_reply(body, status=400)]}) as feed:
        fetched = polled(feed)
        with pytest.raises(PermanentFeedError, match="HTTP 400"):
            FeedClient(Feed("test", feed.address)).get(feed.address + "/")
    assert len(feed.asked) == 2
    assert "Invalid value for limit" in decode(fetched.answers, error=fetched.error).reason


@pytest.mark.parametrize(
    "url", ["", "no-url", "ftp://127.0.0.1/x", "http://", "http://[", f"http://{'a' * 70}.invalid/"]
)
def test_an_address_that_is_none_is_an_error_of_the_poll(url):
    fetched = FeedClient(Feed("test", url)).poll()
    assert fetched.answers == ()
    assert "can't be asked" in fetched.error
    with pytest.raises(PermanentFeedError, match="can't be asked"):
        FeedClient(Feed("test", url)).get(url)


def test_a_discovered_address_that_is_none_is_an_error_of_the_poll():
    document = {"data": {"feeds": [{"name": "station_status", "url": "http://["}]}}
    with LocalFeed({"/": [json_reply(document)]}) as feed:
        fetched = polled(feed)
    assert "names a document that can't be asked" in fetched.error
    assert fetched.answers[0].status == 200


def test_no_answer_is_a_poll_with_its_reason_at_the_local_time():
    client = FeedClient(Feed("test", f"http://127.0.0.1:{free_port()}/"), now=lambda: NOON, budget_seconds=3)
    fetched = client.poll()
    assert (fetched.answers, fetched.poll_time) == ((), NOON)
    assert "doesn't answer" in fetched.error
    poll = decode(fetched.answers, error=fetched.error)
    assert (poll.failure, poll.reason) == (PollKind.NO_ANSWER, fetched.error)


@pytest.mark.parametrize("how", [{"length": 5000}, {"chunked": True}])
def test_a_break_off_in_mid_stream_keeps_what_came_and_is_told(how):
    half = b'[{"stationcode": "16107", "name": "K\\u00'
    with LocalFeed({"/": [Reply(half, **how)]}) as feed:
        fetched = polled(feed, budget_seconds=4)
    (answer,) = fetched.answers
    assert (answer.body, answer.truncated) == (half, True)
    assert "broke off after 40 bytes" in fetched.error
    assert decode(fetched.answers, error=fetched.error).failure is PollKind.TRUNCATED
    assert len(feed.asked) > 1


def test_a_compressed_answer_that_breaks_off_keeps_what_can_be_unpacked():
    body = gzip.compress(json.dumps([ROW | {"stationcode": str(n)} for n in range(900)]).encode())
    cut = Reply(body[: len(body) // 2], length=len(body), headers={"Content-Encoding": "gzip"})
    with LocalFeed({"/": [cut]}) as feed:
        fetched = polled(feed, budget_seconds=2)
    (answer,) = fetched.answers
    assert answer.body.startswith(b'[{"stationcode": "0"')
    assert decode(fetched.answers, error=fetched.error).failure is PollKind.TRUNCATED


def test_a_break_off_that_passes_is_no_trouble():
    with LocalFeed({"/": [Reply(b"[", length=500), json_reply([ROW])]}) as feed:
        fetched = polled(feed)
    assert (fetched.error, fetched.answers[0].truncated) == (None, False)


def test_a_server_that_drips_is_left_when_the_budget_ends():
    with LocalFeed({"/": [Reply(b"[" + b" " * 1000, drip_seconds=0.05)]}) as feed:
        started = time.monotonic()
        fetched = polled(feed, budget_seconds=2)
    assert time.monotonic() - started < 10  # the whole body takes 50 s
    assert fetched.answers[0].truncated


def test_failures_end_within_the_budget():
    assert BUDGET_SECONDS + CONNECT_SECONDS <= 45
    with LocalFeed({"/": [Reply(status=503, headers={"Retry-After": "1"})]}) as feed:
        started = time.monotonic()
        fetched = polled(feed, budget_seconds=2.5)
    assert time.monotonic() - started < 6  # 2.5 s, and room for a busy machine
    assert fetched.answers[0].status == 503


def test_a_transient_error_names_the_address_and_the_status():
    with LocalFeed({"/": [Reply(status=502)]}) as feed, pytest.raises(TransientFeedError, match=r"127.*HTTP 502"):
        FeedClient(Feed("test", feed.address), budget_seconds=2).get(feed.address + "/")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with LocalFeed({"/": [json_reply([ROW])]}) as feed:
        assert polled(feed).error is None


def test_a_session_can_be_given():
    session = requests.Session()
    session.headers["X-Key"] = "k"
    with LocalFeed({"/": [json_reply([ROW])]}) as feed:
        assert FeedClient(Feed("test", feed.address), session).poll().error is None


def discovery(address, version):
    feeds = [{"name": name, "url": f"{address}/{name}.json"} for name in (STATION_STATUS, STATION_INFORMATION)]
    feeds.append({"name": "system_information", "url": "si.json"})
    return {"data": {"feeds": feeds}} if version == 3 else {"data": {"en": {"feeds": []}, "fr": {"feeds": feeds}}}


@pytest.mark.parametrize("version", [1, 3])
def test_gbfs_is_discovered_once_and_both_documents_are_kept(version):
    said = datetime.now(UTC).replace(microsecond=0)
    with LocalFeed({}) as feed:
        feed.replies = {
            "/gbfs.json": [json_reply(discovery(feed.address, version), date=said - timedelta(seconds=50))],
            "/station_status.json": [json_reply({"data": {"stations": [STATUS]}}, date=said - timedelta(seconds=20))],
            "/station_information.json": [json_reply({"data": {"stations": [INFORMATION]}}, date=said)],
        }
        client = FeedClient(Feed("test", feed.address + "/gbfs.json"))
        fetched = client.poll()
        client.poll()
    assert [answer.role for answer in fetched.answers] == [STATION_STATUS, STATION_INFORMATION]
    assert fetched.poll_time == said - timedelta(seconds=20)
    assert decode(fetched.answers).reports[0].name == "Victor Hugo"
    assert feed.asked.count("/gbfs.json") == 1
    assert feed.asked.count("/station_status.json") == 2


def test_gbfs_documents_that_moved_are_discovered_anew():
    with LocalFeed({}) as feed:
        moved = discovery(feed.address + "/new", 3)
        feed.replies = {
            "/gbfs.json": [json_reply(discovery(feed.address, 3)), json_reply(moved)],
            "/station_status.json": [json_reply({"data": {"stations": [STATUS]}}), Reply(status=404)],
            "/new/station_status.json": [json_reply({"data": {"stations": [STATUS]}})],
            "/station_information.json": [json_reply({"data": {"stations": []}})],
            "/new/station_information.json": [json_reply({"data": {"stations": []}})],
        }
        client = FeedClient(Feed("test", feed.address + "/gbfs.json"))
        errors = [client.poll().error for _ in range(3)]
    assert errors[0] is None
    assert "HTTP 404" in errors[1]
    assert errors[2] is None


def test_gbfs_information_that_fails_leaves_the_status():
    with LocalFeed({}) as feed:
        feed.replies = {
            "/gbfs.json": [json_reply(discovery(feed.address, 3))],
            "/station_status.json": [json_reply({"data": {"stations": [STATUS]}})],
        }
        fetched = polled(feed, "/gbfs.json")
    poll = decode(fetched.answers, error=fetched.error)
    assert "HTTP 404" in fetched.error
    assert (poll.failure, len(poll.reports), poll.reason) == (None, 1, "station_information: HTTP 404: 'not here'")


def test_two_answers_of_one_feed_are_two_polls():
    with LocalFeed({"/": [json_reply([ROW]), json_reply([ROW, OTHER])]}) as feed:
        client = FeedClient(Feed("test", feed.address))
        assert [len(decode(client.poll().answers).reports) for _ in range(2)] == [1, 2]
