"""Which home writes the feed's topics: two homes of one name on one Kafka would take turns in fencing each other off.

Each poll's record carries the home in its header `home`. Reads the newest of them; written by `producer.py`. Asked
before a producer opens, which fences, and when a platform starts.
"""

from typing import Final

from velib_dagster.events.memory import committed_messages, committed_reader, stable_offsets
from velib_dagster.events.poll_name import Headers
from velib_dagster.events.topics import KafkaError
from velib_dagster.settings import Settings

HOME_HEADER: Final = "home"
"""The header's key; its value is the home's id. Records of versions before this one have none."""
_LOOK_BACK: Final = 64


def home_headers(settings: Settings) -> list[tuple[str, str | bytes | None]]:
    """The headers that say which home sends a poll's record."""
    return [(HOME_HEADER, settings.home_id.encode())] if settings.home_id else []


def owner_of_topics(settings: Settings) -> str | None:
    """Id of the home that sent the newest poll; None where there is none, or an older version sent it.

    Raises:
        KafkaError: Kafka can't be reached or the topic is missing.
    """
    topic = settings.topic("polls")
    with committed_reader(settings) as consumer:
        low, high = stable_offsets(consumer, settings, topic)
        step = _LOOK_BACK
        while high > low:
            start = max(low, high - step)
            headers = [
                message.headers()
                for message in committed_messages(consumer, settings, topic, start)
                if message.value() is not None
            ]
            if headers:
                return _home_of(headers[-1])
            if start == low:
                break
            step *= 8
    return None


def demand_own_topics(settings: Settings) -> None:
    """Check that no other home writes the feed's topics in a Kafka that is given; one of our own is in the home.

    Raises:
        KafkaError: another home does; says what to do.
    """
    if settings.kafka_address is None or not settings.home_id:
        return
    owner = owner_of_topics(settings)
    if owner is None or owner == settings.home_id:
        return
    msg = (
        f"the topics {settings.topic('…')} in Kafka at {settings.kafka} are written by another home (id {owner}; "
        f"{settings.home} has {settings.home_id}): two homes of one feed's name would overwrite each other. Use that "
        "home, or begin one with a name of its own (--name, VELIB_FEED_NAME). Where that home is gone for good: "
        "velib adopt"
    )
    raise KafkaError(msg)


def _home_of(headers: Headers | None) -> str | None:
    value = dict(headers).get(HOME_HEADER) if headers else None
    return value.decode() if isinstance(value, bytes) else value
