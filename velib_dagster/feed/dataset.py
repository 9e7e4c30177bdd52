"""The dataset as its users ask for it: rows of the live table, and one station, with the API's own field names.

The minute poll doesn't come here (`client.py`, `poll.py`): nothing is kept and nothing is validated beyond the number
of rows.
"""

import re
from typing import Any, Final, TypeVar

import msgspec

from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.errors import FeedError
from velib_dagster.feed.rows import UNDECODABLE
from velib_dagster.homes import VELIB_URL
from velib_dagster.settings import Feed, Settings

PAGE: Final = 100
"""Most rows that one call of `/records` gives, whatever its limit asks."""
_DATASET: Final = re.compile(r"(?P<dataset>.*/api/explore/v2\.\d/catalog/datasets/[^/?]+)")

Row = dict[str, Any]
T = TypeVar("T")


class _Record(msgspec.Struct):
    fields: Row


class _Wrapped(msgspec.Struct):
    record: _Record


class _Page(msgspec.Struct):
    """A page of v2.1 has its rows in `results`, one of v2.0 in `records`, below `record.fields`."""

    total_count: int
    results: list[Row] | None = None
    records: list[_Wrapped] | None = None

    @property
    def rows(self) -> list[Row]:
        return self.results if self.results is not None else [one.record.fields for one in self.records or []]


def get_velib_data(nrows: int, *, url: str | None = None) -> list[Row]:
    """The first `nrows` stations by station code (all if there are fewer), with the field names of the API.

    Up to 100 rows are one page of `/records`; more are one `/exports/json`, whose number of rows is checked against
    `total_count`. `url` is any address of the dataset (Explore v2.1); by default the feed of the settings where that is
    one, else the live Vélib' feed.

    Raises:
        ValueError: nrows is below 1.
        FeedError: the feed doesn't answer, or gives another number of rows than it should.
    """
    if nrows < 1:
        msg = f"nrows must be at least 1, not {nrows}"
        raise ValueError(msg)
    dataset = dataset_url(url)
    client = FeedClient(Feed("dataset", dataset))
    page = _records(client, dataset, {"limit": str(min(nrows, PAGE)), "order_by": "stationcode"})
    wanted = min(nrows, page.total_count)
    if nrows <= PAGE:
        rows = page.rows
    else:
        asked = {"limit": str(nrows), "order_by": "stationcode"}
        answer = client.get(f"{dataset}/exports/json", asked)
        rows = _decoded(answer.body, list[Row], answer.url)
        # The table may lose or gain a station between the two calls; a broken-off export lacks far more.
        if wanted < nrows and abs(len(rows) - wanted) <= 2:
            return rows
    if len(rows) != wanted:
        msg = f"{dataset} gave {len(rows)} rows of {wanted} (it counts {page.total_count}): try again"
        raise FeedError(msg)
    return rows


def get_station(code: str, *, url: str | None = None) -> Row:
    """The row of one station, with the field names of the API; `url` as for `get_velib_data`.

    Raises:
        LookupError: the feed has no station of that code.
        FeedError: the feed doesn't answer.
    """
    dataset = dataset_url(url)
    wanted = str(code).strip()
    escaped = wanted.replace("\\", "\\\\").replace('"', '\\"')
    client = FeedClient(Feed("dataset", dataset))
    page = _records(client, dataset, {"where": f'stationcode="{escaped}"', "limit": "1"})
    if not page.rows:
        msg = f"the feed has no station {wanted!r}: codes are listed by get_velib_data, 4 to 6 digits (16107)"
        raise LookupError(msg)
    return page.rows[0]


def dataset_url(url: str | None = None) -> str:
    """The address of the dataset that an Explore v2.1 address belongs to, without what follows its name.

    Raises:
        ValueError: `url` is given and is none.
    """
    if url is not None:
        found = _DATASET.match(url)
        if found is None:
            msg = f"{url} is no address of an Explore v2.1 dataset (…/api/explore/v2.1/catalog/datasets/NAME)"
            raise ValueError(msg)
        return found["dataset"]
    found = _DATASET.match(Settings.load().feed.url) or _DATASET.match(VELIB_URL)
    assert found is not None, VELIB_URL  # noqa: S101 - a constant of ours
    return found["dataset"]


def _records(client: FeedClient, dataset: str, params: dict[str, str]) -> _Page:
    answer = client.get(f"{dataset}/records", params)
    page = _decoded(answer.body, _Page, answer.url)
    if page.results is None and page.records is None:
        msg = f"{answer.url} gave no rows, neither as Explore v2.1 (results) nor as v2.0 (records): use a v2.1 address"
        raise FeedError(msg)
    return page


def _decoded(body: bytes, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNDECODABLE as error:
        msg = f"{url} gave no such data ({error}): try again"
        raise FeedError(msg) from error
