"""`freezes.csv`: each freeze once, whatever is read again."""

from datetime import timedelta
from pathlib import Path

import pytest

from velib_dagster.archive.commit import Source
from velib_dagster.archive.frozen import FROZEN_FILE, mark_freezes, read_freezes
from velib_dagster.archive.source import Record
from velib_dagster.events.records import encode
from velib_dagster_tests.events.test_pace import BUSY, DAY, at, history, records_of

SOURCE = Source(topic="here.polls", cluster_id="c", topic_id="t")


class Polls:
    """A topic of poll records; it remembers from where it was read."""

    def __init__(self, values: list[bytes | None], source: Source = SOURCE) -> None:
        self.values, self.source = values, source
        self.starts: list[int] = []

    def bounds(self) -> tuple[int, int]:
        return 0, len(self.values)

    def written(self) -> int:
        return len(self.values)

    def read(self, first: int, end: int):
        self.starts.append(first)
        yield [Record(offset, self.values[offset]) for offset in range(first, end)]


@pytest.fixture(scope="module")
def values() -> list[bytes | None]:
    frozen = range(DAY + 150, DAY + 215)
    records = records_of(history(range(DAY + 240), BUSY, frozen=frozen))
    return [*(encode(record) for record in records), None, b"{}"]


def test_a_freeze_is_one_row_however_its_polls_are_cut_and_read_again(tmp_path: Path, values) -> None:
    for end in (DAY + 160, DAY + 180, DAY + 200, len(values), len(values)):
        mark_freezes(tmp_path, Polls(values[:end]))
    text = (tmp_path / FROZEN_FILE).read_bytes().decode()
    since, until = at(DAY + 150), at(DAY + 214)
    assert text == f"since,until,seconds\r\n{since:%Y-%m-%dT%H:%M:%SZ},{until:%Y-%m-%dT%H:%M:%SZ},3840\r\n"
    assert read_freezes(tmp_path) == {since: since + timedelta(seconds=3840)}
    (tmp_path / "frozen" / "position.json").unlink()
    mark_freezes(tmp_path, Polls(values))
    assert (tmp_path / FROZEN_FILE).read_bytes().decode() == text


def test_only_what_is_new_is_read_unless_the_topic_is_another(tmp_path: Path, values) -> None:
    topic = Polls(values)
    mark_freezes(tmp_path, topic)
    topic.values = [*values, values[-3]]
    mark_freezes(tmp_path, topic)
    assert topic.starts == [0, len(values)]
    other = Polls(values, Source(topic="here.polls", cluster_id="c", topic_id="another"))
    mark_freezes(tmp_path, other)
    assert other.starts == [0]


def test_without_a_freeze_there_is_no_file(tmp_path: Path, values) -> None:
    assert mark_freezes(tmp_path, Polls(values[:100])) == {}
    assert not (tmp_path / FROZEN_FILE).exists()
