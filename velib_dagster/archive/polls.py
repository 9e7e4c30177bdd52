"""The times of usable polls, from the feed's polls topic: what the export needs to turn spells into polls.

Nothing is written here. The archive holds spells, and a spell does not say at which polls it was seen.
"""

from datetime import datetime
from functools import partial

import msgspec

from velib_dagster.archive.errors import ArchiveError
from velib_dagster.archive.source import KafkaTopic
from velib_dagster.events.memory import reading_of
from velib_dagster.events.records import decode_poll
from velib_dagster.settings import Settings


class PollTimes(msgspec.Struct, frozen=True):
    """Times of usable polls in order; `whole` tells whether Kafka still holds the feed's first poll."""

    times: tuple[datetime, ...]
    whole: bool


def usable_poll_times(settings: Settings) -> PollTimes:
    """Times (UTC) of all usable polls that Kafka still holds; of a poll written twice the newest record counts.

    Raises:
        KafkaAwayError: Kafka does not answer.
        ArchiveError: Kafka has no polls topic of this feed.
        UnreadableError, NewerVersionError: records there can't be read, too many in a row or by a newer program.
    """
    usable: dict[str, datetime | None] = {}
    with KafkaTopic(settings, "polls") as topic:
        if not topic.exists():
            msg = (
                f"Kafka at {settings.kafka} has no topic {topic.name}: rows by poll need the times of the polls; "
                "give the address of the feed's Kafka (VELIB_KAFKA), or export spells"
            )
            raise ArchiveError(msg)
        topic.settle()
        reading = reading_of(settings, "polls")
        first, end = topic.bounds()
        for batch in topic.read(first, end):
            for record in batch:
                value = record.value
                if value is None:
                    continue  # it only closes a transaction
                poll = reading.read(record.offset, value, record.told, partial(decode_poll, value))
                if poll is None:
                    continue
                usable[poll.snapshot] = poll.time if poll.kind.usable else None
    return PollTimes(tuple(sorted({time for time in usable.values() if time is not None})), first == 0)
