"""A feed's topics on the session's broker, filled by a transactional producer as the platform's own does."""

from collections.abc import Iterable

from confluent_kafka import Producer

from velib_dagster.events.records import PollRecord, Spell, encode
from velib_dagster.events.topics import client_config, ensure_topics
from velib_dagster.settings import Settings


class Sender:
    """Sends records in transactions; `abort=True` sends some that must never be seen."""

    def __init__(self, settings: Settings) -> None:
        ensure_topics(settings)
        self.settings = settings
        name = f"{settings.feed.name}-test"
        self.producer = Producer({**client_config(settings), "transactional.id": name, "linger.ms": 5})
        self.producer.init_transactions(20)

    def send(self, records: Iterable[Spell | PollRecord], *, abort: bool = False) -> None:
        self.producer.begin_transaction()
        for number, record in enumerate(records):
            topic, key = ("spells", record.station_code) if isinstance(record, Spell) else ("polls", record.snapshot)
            self.producer.produce(self.settings.topic(topic), encode(record), key)
            if number % 20_000 == 0:
                self.producer.flush(20)
        if abort:
            self.producer.flush(20)
            self.producer.abort_transaction(20)
        else:
            self.producer.commit_transaction(20)

    def send_in_steps(self, spells: list[Spell], size: int) -> None:
        for start in range(0, len(spells), size):
            self.send(spells[start : start + size])
