"""Bodies as servers send them: compressed or not whatever the headers say, in any character set, almost JSON."""

import gzip
import json
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode
from velib_dagster.feed.reports import PollKind
from velib_dagster.settings import Feed
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply
from velib_dagster_tests.feed.test_decode import ROW, an_answer

ROWS = [ROW | {"stationcode": str(16101 + n), "name": f"Quai éà {n}"} for n in range(5)]
TEXT = json.dumps(ROWS, ensure_ascii=False)
PLAIN = TEXT.encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(PLAIN), None),
        (zlib.compress(PLAIN), None),
        (gzip.compress(gzip.compress(PLAIN)), None),
        (gzip.compress(gzip.compress(PLAIN)), "gzip"),
        (gzip.compress(PLAIN[:900]) + gzip.compress(PLAIN[900:]), "gzip"),
        (PLAIN, "gzip"),
        (PLAIN, "deflate"),
        (gzip.compress(PLAIN), "deflate"),
        (zlib.compress(PLAIN), "gzip"),
        (raw_deflate(PLAIN), "deflate"),
        (gzip.compress(PLAIN), "x-gzip"),
    ],
)
def test_a_body_is_unpacked_by_what_it_is(body, encoding) -> None:
    headers = {"Content-Encoding": encoding} if encoding else {}
    with LocalFeed({"/": [Reply(body, headers=headers)]}) as feed:
        fetched = FeedClient(Feed("test", feed.address)).poll()
        assert len(feed.asked) == 1
    assert len(decode(fetched.answers).reports) == len(ROWS)


def test_compressed_bytes_that_break_off_are_truncated() -> None:
    assert decode([an_answer(gzip.compress(PLAIN)[:-30])]).failure is PollKind.TRUNCATED


def test_a_small_body_that_unpacks_without_end_is_cut(monkeypatch) -> None:
    monkeypatch.setattr("velib_dagster.feed.bodies.LARGEST_BYTES", 100_000)
    bomb = gzip.compress(b"[" + b" " * 1_000_000 + b"]")
    assert decode([an_answer(bomb)]).failure is PollKind.TRUNCATED


@pytest.mark.parametrize(
    ("charset", "content_type"),
    [
        ("utf-8", "application/json; charset=ISO-8859-1"),
        ("iso-8859-1", 'application/json; charset="ISO-8859-1"'),
        ("cp1252", "text/plain;charset=windows-1252"),
        ("utf-16", "application/json"),
        ("utf-16-le", "application/json"),
        ("utf-8-sig", "application/json"),
        ("utf-8-sig", "application/json; charset=latin-1"),
    ],
)
def test_names_are_read_in_the_character_set_they_are_written_in(charset, content_type) -> None:
    poll = decode([an_answer(TEXT.encode(charset), headers={"content-type": content_type})])
    assert [report.name for report in poll.reports] == [row["name"] for row in ROWS]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=nonsense", ";;=", "a; charset="]
)
def test_bytes_of_no_known_character_set_cost_their_letters_alone(content_type) -> None:
    poll = decode([an_answer(TEXT.encode("latin-1"), headers={"content-type": content_type})])
    assert len(poll.reports) == len(ROWS)
    assert poll.reports[0].name == "Quai \ufffd\ufffd 0"
    assert poll.mended["answer_not_utf_8"] == 1


BAD = [
    '"capacity": NaN', '"capacity": -Infinity', '"name": "a\tb"', '"name": "a\x01b"',
    '"name": "a\\x41"', '"name": "a\\u12"', '"name": "half \\ud83d"', '"capacity": undefined', '"capacity": ',
    '"capacity": 007', '"capacity": .5', '"name": "a "quoted" b"', '"name": "one " quote"', '"capacity": 35,,',
    '"capacity": True', "'name': 'x'", '"capacity": {', '"capacity": ]',
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("shape", ["{}", '{{"total_count": 5, "results": {}}}'])
def test_one_bad_value_costs_at_most_its_row(bad, place, shape) -> None:
    rows = [json.dumps(row) for row in ROWS]
    rows[place] = rows[place][:-1] + ", " + bad + "}"
    poll = decode([an_answer(shape.format("[" + ", ".join(rows) + "]").encode())])
    assert poll.failure is None, poll.reason
    codes = {report.station_code for report in poll.reports}
    assert codes >= {row["stationcode"] for n, row in enumerate(ROWS) if n != place}
    assert poll.mended["answer_not_quite_json"] == 1


@pytest.mark.parametrize("bad", ['"capacity": 1e999', '"name": "no end'])
def test_a_number_without_bounds_and_a_text_without_end_cost_at_most_their_row(bad) -> None:
    rows = [json.dumps(row) for row in ROWS]
    rows[1] = rows[1][:-1] + ", " + bad + "}"
    assert len(decode([an_answer(("[" + ", ".join(rows) + "]").encode())]).reports) >= len(ROWS) - 1


def test_an_invalid_byte_costs_its_letter_alone() -> None:
    poll = decode([an_answer(PLAIN.replace("é".encode(), b"\xff", 1))])
    assert len(poll.reports) == len(ROWS)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(BAD[:9]), st.integers(min_value=0))
def test_a_bad_value_does_not_make_a_cut_answer_whole(bad, cut) -> None:
    rows = [json.dumps(row) for row in ROWS]
    rows[0] = rows[0][:-1] + ", " + bad + "}"
    body = ('{"total_count": 5, "results": [' + ", ".join(rows) + "]}").encode()
    first = len(rows[0]) + 40
    assert decode([an_answer(body[: first + cut % (len(body) - first - 1)])]).failure is PollKind.TRUNCATED


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a":"' + b'\\"' * 200_000,
        b'[{"a":NaN,"b":"' + b'\\"' * 200_000 + b"]",
        b'[{"a":x},' * 90_000 + b"]",
        b'[{"a":x},' + b'{"a":' * 200_000 + b"]",
        b'[{"a":x' + b"}" * 200_000 + b"]",
    ],
    ids=["quotes", "quotes and NaN", "rows", "depth", "brackets"],
)
def test_no_broken_answer_takes_a_poll_long(body) -> None:
    started = time.process_time()
    assert decode([an_answer(body)]).failure is not None
    assert time.process_time() - started < 10  # half a second where nothing is quadratic
