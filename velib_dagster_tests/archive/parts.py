"""What the archive's tests share: spells to order, and a topic in memory that stands for Kafka."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from velib_dagster.archive.commit import Source
from velib_dagster.archive.source import Record
from velib_dagster.events.readable import Told
from velib_dagster.events.records import Spell, encode

START = datetime(2024, 11, 7, 8, 0, tzinfo=UTC)


def spell(since: datetime = START, seconds: int = 60, **changes: Any) -> Spell:
    values: dict[str, Any] = {
        "station_code": "21310",
        "name": "Cimetière d'Ivry",
        "zone": "Paris 16e",
        "cell": "881fb46645fffff",
        "lat": 48.86,
        "lon": 2.27,
        "capacity": 35,
        "since": since,
        "until": since + timedelta(seconds=seconds),
        "seconds": seconds,
        "bikes": 3,
        "mechanical": 1,
        "ebike": 2,
        "docks": 31,
        "is_installed": True,
        "is_renting": True,
        "is_returning": True,
        "last_reported": datetime(2024, 11, 7, 7, 2, 11, tzinfo=UTC),
    }
    return Spell(**(values | changes))


def many(count: int, start: datetime = START) -> list[Spell]:
    """Spells of 30 stations, minute after minute; a part of them without e-bikes known."""
    return [
        spell(
            start + timedelta(minutes=number // 30),
            station_code=str(1001 + number % 30),
            bikes=number % 40,
            ebike=None if number % 7 == 0 else number % 5,
            is_renting=number % 11 != 0,
        )
        for number in range(count)
    ]


class TopicInMemory:
    """A topic with transaction markers: every `marked`-th offset holds no record. `polls` are the records' headers."""

    def __init__(
        self,
        spells: Sequence[Spell | bytes | None],
        *,
        polls: Sequence[str | None] = (),
        cluster: str = "cluster-a",
        marked: int = 7,
        first: int = 0,
        batch: int = 100,
    ) -> None:
        self.source = Source(topic="feed.spells", cluster_id=cluster, topic_id="topic-a")
        self.records: list[Record] = []
        self.first = first
        self.batch = batch
        offset = 0
        for item, poll in zip_longest(spells, polls):
            if offset % marked == marked - 1:
                offset += 1
            self.records.append(Record(offset, encode(item) if isinstance(item, Spell) else item, Told(poll)))
            offset += 1
        self.end = offset

    def bounds(self) -> tuple[int, int]:
        return self.first, self.end

    def written(self) -> int:
        return self.end

    def read(self, first: int, end: int) -> Iterator[list[Record]]:
        chosen = [record for record in self.records if first <= record.offset < end]
        for start in range(0, len(chosen), self.batch):
            yield chosen[start : start + self.batch]
