"""The feed's three topics: what each keeps, and making or checking them.

Nothing is read or sent here. Called by the producer and when a platform starts.
"""

import logging
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from velib_dagster.events.kafka_security import client_security
from velib_dagster.settings import Settings, VelibError

_SECONDS: Final = 20.0
_DAY_MS: Final = 24 * 3600 * 1000
_KEPT: Final = "delete.retention.ms"
_OF_THE_TOPIC: Final = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
_log: Final = logging.getLogger(__name__)

TOPICS: Final[dict[str, dict[str, str]]] = {
    # Compaction leaves the active segment alone: small segments, else a start reads hours of changes. And it waits an
    # hour, else a streaming job that is minutes behind never sees the states in between.
    "states": {
        "cleanup.policy": "compact",
        "segment.bytes": str(4 << 20),
        "min.cleanable.dirty.ratio": "0.1",
        "min.compaction.lag.ms": str(3600 * 1000),
        # a streaming job that was away for days must still see that a station left
        "delete.retention.ms": str(30 * _DAY_MS),
    },
    "spells": {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)},
    # the newest record is the producer's memory: it must outlive any pause
    "polls": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": str(1 << 30)},
}
"""Name behind the feed's → what makes the topic what it is. One partition each: order stays total."""


class KafkaError(VelibError):
    """Kafka can't be reached, or is not as the platform needs it; the message says what to do."""


@dataclass(frozen=True)
class KafkaIdentity:
    """Which Kafka this is: what was read from one must never be taken as a position in another."""

    cluster_id: str
    topic_ids: dict[str, str]


def client_config(settings: Settings) -> dict[str, str | int]:
    """What every Kafka client of the platform needs to connect and to log in.

    Raises:
        SettingsError: what is to be read for the login can't be.
    """
    return {
        "bootstrap.servers": settings.kafka,
        "client.id": f"velib-dagster-{settings.feed.name}",
        **client_security(settings),
    }


def admin(settings: Settings) -> AdminClient:
    """A client for topics, quiet on the console while a broker is away: callers say so in their own words."""
    return AdminClient({**client_config(settings), "log_level": 0})


def ensure_topics(settings: Settings) -> None:
    """Make the topics that are missing and check those that exist.

    Raises:
        KafkaError: Kafka can't be reached, or an existing topic has another policy or more than one partition.
    """
    client = admin(settings)
    wanted = {settings.topic(name): config for name, config in TOPICS.items()}
    try:
        existing = client.list_topics(timeout=_SECONDS).topics
        missing = [NewTopic(name, 1, config=config) for name, config in wanted.items() if name not in existing]
        for name, future in client.create_topics(missing, request_timeout=_SECONDS).items() if missing else ():
            _made(name, future)
        differences = [
            f"{name} has {len(existing[name].partitions)} partitions, not 1"
            for name in wanted
            if name in existing and len(existing[name].partitions) != 1
        ]
        differences += _differences(client, {name: wanted[name] for name in wanted if name in existing})
    except KafkaException as error:
        msg = f"Kafka at {settings.kafka} can't be used: {error.args[0].str()}"
        raise KafkaError(msg) from error
    if differences:
        msg = "topics are not as the platform needs them: " + "; ".join(differences)
        raise KafkaError(msg)


def identity(settings: Settings) -> KafkaIdentity:
    """Ids of the cluster and of the feed's topics.

    Raises:
        KafkaError: Kafka can't be reached, or lacks a topic.
    """
    client = admin(settings)
    names = [settings.topic(name) for name in TOPICS]
    try:
        from confluent_kafka import TopicCollection  # noqa: PLC0415 - only this call needs it

        cluster = client.describe_cluster(request_timeout=_SECONDS).result()
        described = client.describe_topics(TopicCollection(names), request_timeout=_SECONDS)
        topic_ids = {name: str(future.result().topic_id) for name, future in described.items()}
    except KafkaException as error:
        msg = f"Kafka at {settings.kafka} can't be used: {error.args[0].str()}"
        raise KafkaError(msg) from error
    return KafkaIdentity(str(cluster.cluster_id), topic_ids)


def _made(name: str, future: "object") -> None:
    try:
        future.result()  # type: ignore[attr-defined]
    except KafkaException as error:
        if error.args[0].name() != "TOPIC_ALREADY_EXISTS":  # another part made it at the same moment
            msg = f"topic {name} can't be made: {error.args[0].str()}"
            raise KafkaError(msg) from error


def _differences(client: AdminClient, wanted: dict[str, dict[str, str]]) -> list[str]:
    """In words, what decides correctness and differs. Retention and segment sizes are the operator's to change."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
    if not resources:
        return []
    found: list[str] = []
    for resource, future in client.describe_configs(resources, request_timeout=_SECONDS).items():
        entries = future.result()
        policy = entries["cleanup.policy"].value
        needed = wanted[resource.name]["cleanup.policy"]
        if policy != needed:
            found.append(f"{resource.name} has cleanup.policy={policy}, not {needed}")
        elif _KEPT in wanted[resource.name] and entries[_KEPT].source != _OF_THE_TOPIC:
            _keep_tombstones(client, resource.name, wanted[resource.name][_KEPT])
    return found


def _keep_tombstones(client: AdminClient, topic: str, milliseconds: str) -> None:
    """Give a topic of an older program what this one makes it with; a value that someone chose for it stays."""
    entry = ConfigEntry(_KEPT, milliseconds, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    try:
        for future in client.incremental_alter_configs([resource], request_timeout=_SECONDS).values():
            future.result()
    except KafkaException as error:
        # it matters only where the streaming job is away for days
        _log.warning("%s can't be given %s=%s: %s", topic, _KEPT, milliseconds, error.args[0].str())
