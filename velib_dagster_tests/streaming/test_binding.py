import os
from dataclasses import replace

import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster.streaming.binding import (
    FILE,
    Binding,
    bind_checkpoints,
    current_binding,
    drop_former,
    drop_unbegun,
    only_job,
)
from velib_dagster.streaming.errors import StreamError
from velib_dagster.streaming.job import CHECKPOINTS, FORMER_CHECKPOINTS

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


def binding_of(settings: Settings) -> Binding:
    migrate(settings)
    with connect(settings) as connection:
        return current_binding(settings, connection)


def test_the_same_kafka_and_database_are_accepted_again(feed: Settings) -> None:
    bind_checkpoints(feed, binding_of(feed))
    bind_checkpoints(feed, binding_of(feed))


def test_another_cluster_other_topics_and_another_database_are_refused_with_the_remedy(feed: Settings) -> None:
    current = binding_of(feed)
    bind_checkpoints(feed, current)
    topic = feed.topic("spells")
    for other, words in (
        (replace(current, cluster_id="another"), "cluster another"),
        (replace(current, topic_ids=current.topic_ids | {topic: "another"}), topic),
        (replace(current, database_made="2020-01-01 00:00:00+00:00"), "database made at"),
    ):
        with pytest.raises(StreamError, match=words) as caught:
            bind_checkpoints(feed, other)
        assert f"delete the folder {feed.checkpoints}" in str(caught.value)
    bind_checkpoints(feed, current)


def test_a_damaged_binding_is_named(feed: Settings) -> None:
    current = binding_of(feed)
    bind_checkpoints(feed, current)
    (feed.checkpoints / FILE).write_text("{")
    with pytest.raises(StreamError, match=FILE):
        bind_checkpoints(feed, current)


def test_a_second_job_of_the_home_is_refused_and_names_the_first(feed: Settings) -> None:
    with only_job(feed), pytest.raises(StreamError, match=f"process {os.getpid()}"), only_job(feed):
        pass
    with only_job(feed):
        assert (feed.home / "run").is_dir()


def test_a_query_that_planned_no_batch_begins_anew_and_any_other_goes_on(feed: Settings) -> None:
    bind_checkpoints(feed, binding_of(feed))
    for query, planned in (("states", ".0.half.tmp"), ("polls", "0"), ("windows", "117")):
        (feed.checkpoints / query / "offsets").mkdir(parents=True)
        (feed.checkpoints / query / "offsets" / planned).touch()
        (feed.checkpoints / query / "metadata").touch()
    (feed.checkpoints / "unbegun" / "state").mkdir(parents=True)
    (feed.checkpoints / "left" / "offsets").mkdir(parents=True)
    (feed.checkpoints / "left" / "offsets" / "4").touch()
    drop_unbegun(feed)
    assert sorted(path.name for path in feed.checkpoints.iterdir()) == [FILE, "polls", "windows"]


def test_the_folder_of_a_query_of_an_earlier_version_goes(feed: Settings) -> None:
    bind_checkpoints(feed, binding_of(feed))
    (feed.checkpoints / "station_windows" / "state").mkdir(parents=True)
    (feed.checkpoints / CHECKPOINTS["windows"] / "state").mkdir(parents=True)
    for _ in range(2):
        drop_former(feed, FORMER_CHECKPOINTS)
        assert sorted(path.name for path in feed.checkpoints.iterdir()) == sorted([FILE, CHECKPOINTS["windows"]])
    assert not set(FORMER_CHECKPOINTS) & set(CHECKPOINTS.values())
