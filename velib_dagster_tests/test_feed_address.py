"""When two addresses are one feed, and the names that they give."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velib_dagster.feed_address import NAME_LENGTH, address_trouble, identity, name_of, name_trouble
from velib_dagster.masking import masked

LYON = "https://feeds.example/contracts/lyon/gbfs/gbfs.json"


@pytest.mark.parametrize(
    "same",
    [
        "http://feeds.example/contracts/lyon/gbfs/gbfs.json",
        "https://FEEDS.example:443/contracts/lyon/gbfs/gbfs.json/",
        "http://feeds.example:80//contracts/lyon/gbfs/gbfs.json",
        "https://feeds.example./contracts/%6Cyon/gbfs/gbfs.json#top",
        "https://bob:s3cret@feeds.example/contracts/lyon/gbfs/gbfs.json",
        *(f"{LYON}?{key}=abc" for key in ("key", "apiKey", "api_key", "access_token", "subscription-key", "sig")),
    ],
)
def test_spellings_of_one_address_are_one_feed(same: str) -> None:
    assert identity(same) == identity(LYON)
    assert name_of(same) == name_of(LYON)


@pytest.mark.parametrize(
    "other",
    [
        "https://feeds.example/contracts/bruxelles/gbfs/gbfs.json",
        "https://feeds.example/contracts/Lyon/gbfs/gbfs.json",
        "https://feeds.example/contracts/lyon/gbfs/v2/gbfs.json",
        "https://feeds.example:8443/contracts/lyon/gbfs/gbfs.json",
        "https://feeds.example/contracts-lyon/gbfs/gbfs.json",
        "https://feeds.example/contracts%2Flyon/gbfs/gbfs.json",
        "https://other.example/contracts/lyon/gbfs/gbfs.json",
        f"{LYON}?contract=lyon",
        f"{LYON}?keywords=lyon",
        "https://feeds.example/",
    ],
)
def test_another_path_port_host_or_question_is_another_feed(other: str) -> None:
    assert name_of(other) != name_of(LYON)


def test_the_order_of_a_query_does_not_count_and_its_values_do() -> None:
    url = "https://feeds.example/stations"
    assert name_of(f"{url}?contract=lyon&lang=fr&key=1") == name_of(f"{url}?key=2&lang=fr&contract=lyon")
    assert name_of(f"{url}?contract=lyon") != name_of(f"{url}?contract=bruxelles")


def test_a_name_has_the_telling_words() -> None:
    assert re.fullmatch("feeds_example_lyon_[0-9a-f]{8}", name_of(LYON))
    assert re.fullmatch("gbfs_lyft_com_bay_[0-9a-f]{8}", name_of("https://gbfs.lyft.com/gbfs/2.3/bay/gbfs.json"))
    assert re.fullmatch("feed_127_0_0_1_[0-9a-f]{8}", name_of("http://127.0.0.1:8000/gbfs.json"))
    assert re.fullmatch("x_example_lyon_[0-9a-f]{8}", name_of("https://x.example/v1/?contract=lyon&apikey=s3cret"))


words = st.text(st.characters(codec="utf-8", exclude_characters="/?#[]@", exclude_categories=["Cc", "Cs", "Z"]))


@given(st.lists(words, max_size=6), st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=80))
def test_every_name_fits_a_database_and_a_topic(path: list[str], host: str) -> None:
    url = f"https://h{host}/{'/'.join(path)}"
    if address_trouble(url) is not None:
        return
    name = name_of(url)
    assert name_trouble(name) is None, name
    assert len(f"{name}_dagster".encode()) <= 63
    assert re.fullmatch("[a-z][a-z0-9_]*", name)


def test_long_addresses_that_differ_at_their_end_have_names_apart() -> None:
    first, second = (f"https://{'a' * 60}.example/{'b' * 90}/{end}/gbfs.json" for end in ("north", "south"))
    assert name_of(first) != name_of(second)
    assert max(len(name_of(first)), len(name_of(second))) <= NAME_LENGTH


@pytest.mark.parametrize(
    "name",
    ["", "Lyon", "9lyon", "lyon-sud", "_lyon", "l.yon", "é", "a" * 56, "postgres", "pg_lyon", "x_dagster", "x_mlflow"],
)
def test_a_name_that_nothing_can_carry_is_refused(name: str) -> None:
    assert name_trouble(name)


def test_an_address_is_shown_without_what_is_secret() -> None:
    text = masked("https://bob:s3cret@x.example:8443/a?contract=lyon&api_key=s3cret&token=s3cret")
    assert text == "https://x.example:8443/a?contract=lyon&api_key=***&token=***"
