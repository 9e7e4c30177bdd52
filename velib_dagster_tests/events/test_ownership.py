"""One home writes a feed's topics."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from velib_dagster.events.memory import newest_poll
from velib_dagster.events.ownership import demand_own_topics, owner_of_topics
from velib_dagster.events.producer import EventProducer, publish
from velib_dagster.events.topics import KafkaError, ensure_topics
from velib_dagster.runtime.adopt import adopt
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.settings import Settings
from velib_dagster_tests.events.test_producer import keep, row, topic

pytestmark = pytest.mark.kafka


def test_a_second_home_of_one_name_is_refused_before_it_fences_and_may_adopt(
    kafka_settings: Settings, fresh_feed: Callable[..., Settings], kafka_login: Path, tmp_path: Path
) -> None:
    own = fresh_feed(kafka_settings)
    first = replace(own, kafka_address=own.kafka, kafka_security=kafka_login)
    second = replace(first, home=tmp_path / "second")
    second.save()
    ensure_topics(first)
    demand_own_topics(second)  # nobody writes there yet
    keep(first, 0, [row(16001, 3)])
    with EventProducer(first) as running:
        running.publish_waiting()
        assert len(topic(first, "polls")) == 1
        assert owner_of_topics(first) == first.home_id
        with pytest.raises(KafkaError, match="another home") as caught:
            publish(second)
        assert "velib adopt" in str(caught.value)
        keep(first, 1, [row(16001, 4)])
        assert running.publish_waiting().polls == 1, "it was fenced off"
    polls = topic(first, "polls")
    last = newest_poll(first)
    told: list[str] = []
    adopt(second, told.append)
    assert len(told) == 1
    assert topic(second, "polls") == [*polls, polls[-1]]
    assert newest_poll(second) == last
    demand_own_topics(second)
    with pytest.raises(KafkaError, match="another home"):
        publish(first)


def test_adopting_what_is_the_home_s_own_is_refused(
    kafka_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    with pytest.raises(PlatformError, match="of its own"):
        adopt(fresh_feed(kafka_settings), print)
