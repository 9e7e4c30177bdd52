"""Every case of `../shared/feed-cases` that is about what feeds do, against its right value, and check-feed beside it.

The same rules are tested on generated input elsewhere, so that they are held where the folder is absent too.
"""

import pytest

from velib_dagster.feed import get_velib_data
from velib_dagster_tests.feed import shared_cases
from velib_dagster_tests.feed.local_feed import LocalFeed
from velib_dagster_tests.feed.shared_cases import Case, differences, disagreement, run, run_recordings

ELSEWHERE = {
    "21": "time: clock jumps",
    "23": "time: days whose midnight is skipped",
    "24": "recordings of another zone",
    "25": "codes of other digits",
    "26": "bounded poll records",
    "27": "two cities on one host",
    "28": "exports",
    "29": "exports",
    "30": "exports",
    "31": "exports",
    "32": "exports",
    "33": "platform",
    "34": "platform",
    "35": "platform",
}
"""Cases that are not run here, and what they are about."""
FOLDERS = {"40"}
"""Cases of recordings, which have no feed to ask."""

CASES = shared_cases.cases()
FEEDS = [case for case in CASES if case.number not in ELSEWHERE.keys() | FOLDERS]

if not shared_cases.FOLDER.is_dir():
    pytest.skip(f"no cases: {shared_cases.FOLDER} does not exist", allow_module_level=True)


@pytest.mark.parametrize("case", FEEDS, ids=str)
def test_the_chain_and_check_feed_do_what_is_right(case: Case, tmp_path) -> None:
    seen = run(case, tmp_path)
    assert differences(case.right, seen) == []
    assert disagreement(seen) is None


@pytest.mark.parametrize("case", [case for case in CASES if case.number in FOLDERS], ids=str)
def test_recordings_of_other_collectors_are_read(case: Case, tmp_path) -> None:
    assert differences(case.right, run_recordings(case, tmp_path)) == []


def test_an_explore_v2_0_address_gives_rows() -> None:
    (case,) = (case for case in CASES if case.number == "20")
    with LocalFeed({}) as server:
        shared_cases.served(case.input, server)
        rows = get_velib_data(3, url=f"{server.address}/api/explore/v2.0/catalog/datasets/velib")
    assert [row["stationcode"] for row in rows] == ["16101", "16102", "16103"]
