"""What people see of an address: never a password, never a key."""

import pytest

from velib_dagster.masking import masked, masked_header, secrets_of

SECRET = "s3cr3t/k+y=="


@pytest.mark.parametrize(
    "address",
    [
        "https://host/gbfs.json?apikey=TOPSECRET",
        "https://host/gbfs.json?lang=fr&API_KEY=TOPSECRET&limit=1",
        "https://host/gbfs.json?access_token=TOPSECRET#here",
        "https://host/gbfs.json#token=TOPSECRET",
        "https://host/x?whatever-else=TOPSECRET",
        "https://host/x?k=TOP%53ECRET&x=TOPSECRET;y=TOPSECRET",
        "https://user:TOPSECRET@host/x",
        "https://TOPSECRET@host/x",
        "https://user:p@TOPSECRET@host:8443/x?sig=TOPSECRET",
        "//user:TOPSECRET@host/x",
    ],
)
def test_no_key_of_an_address_is_seen_alone_or_in_a_text(address: str) -> None:
    for text in (address, f"{address} doesn't answer: {address!r}", f'<a href="{address}">'):
        shown = masked(text)
        assert "TOPSECRET" not in shown
        assert "TOP%53ECRET" not in shown
        assert "host" in shown


@pytest.mark.parametrize(
    "text",
    [
        "https://opendata.paris.fr/api/explore/v2.1/catalog/datasets/velib/records?limit=100&order_by=stationcode",
        'https://host/records?where=stationcode%3D"16107"&lang=fr#top',
        "HTTP 500 at 12:00, mail me@example.org, a=b and c=d; what else?",
        "no such station: 16107 (is it one?)",
        "",
    ],
)
def test_what_is_no_key_is_left_alone(text: str) -> None:
    assert masked(text) == text


def test_the_keys_of_a_known_address_are_covered_wherever_they_stand() -> None:
    address = "https://me:pa%20ssword@host/x?apikey=s3cr3t%2Fk%2By%3D%3D&limit=100"
    for text in (
        f"unknown key {SECRET}!",
        "url: /x?a=1&b=s3cr3t%2Fk%2By%3D%3D",
        "as pa ssword or pa%20ssword or pa+ssword",
    ):
        shown = masked(text, address)
        assert not [secret for secret in secrets_of(address) if secret in shown], shown
        assert "***" in shown
    # too short to be told from other text
    assert masked("1 row of 11", "https://host/x?v2=1") == "1 row of 11"


def test_headers_that_carry_keys_are_covered() -> None:
    assert masked_header("Set-Cookie", "session=abc; Path=/") == "***"
    assert masked_header("location", "https://host/x?token=TOPSECRET") == "https://host/x?token=***"
    assert masked_header("content-type", "application/json; charset=utf-8") == "application/json; charset=utf-8"
