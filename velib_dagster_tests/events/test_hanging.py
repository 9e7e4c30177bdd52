"""A transaction that was ended in some topics and not in others: whatever is missing, each poll ends up there once."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.writer import archive_once
from velib_dagster.events import hanging
from velib_dagster.events.hanging import hanging_topics
from velib_dagster.events.memory import committed_messages, committed_reader, read_memory
from velib_dagster.events.producer import EventProducer, cut_running_spells, publish
from velib_dagster.events.readable import told_by
from velib_dagster.events.topics import TOPICS, KafkaError
from velib_dagster.runtime.kafka import broker
from velib_dagster.runtime.ports import with_ports
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.archive.broker import Sender
from velib_dagster_tests.archive.parts import many
from velib_dagster_tests.events.test_producer import keep, keep_history, row
from velib_dagster_tests.events.transactions import (
    COMPLETE_ABORT,
    COMPLETE_COMMIT,
    PREPARE_ABORT,
    PREPARE_COMMIT,
    rewrite,
    send_and_die,
)

pytestmark = pytest.mark.kafka
ALL = ("states", "spells", "polls")


@dataclass(frozen=True)
class Case:
    """The coordinator's state as a restarted broker finds it, and the topics that are then still to be marked."""

    name: str
    status: int | None
    marked: tuple[str, ...] = ()
    whole: bool = True
    """Nothing hangs once the broker is up again."""
    seldom: bool = True
    """Left to the long tests: one like it is tried at each change."""


CASES = (
    Case("producer killed before it asked for the commit", None, seldom=False),
    Case("broker killed before the first mark", PREPARE_COMMIT, ALL, seldom=False),
    Case("all marks lost", COMPLETE_COMMIT, (), whole=False),
    *(Case(f"only {name} marked", PREPARE_COMMIT, (name,), whole=False, seldom=name != "spells") for name in ALL),
    *(
        Case(
            f"mark of {name} lost",
            PREPARE_COMMIT,
            tuple(n for n in ALL if n != name),
            whole=False,
            seldom=name != "polls",
        )
        for name in ALL
    ),
    Case("broker killed before the first mark of an abort", PREPARE_ABORT, ALL),
    Case("all marks of an abort lost", COMPLETE_ABORT, (), whole=False, seldom=False),
    *(Case(f"abort of {name} alone marked", PREPARE_ABORT, (name,), whole=False) for name in ALL),
)


def keep_more(settings: Settings) -> None:
    """Five polls more, over a mark of ten minutes."""
    for n in range(8, 13):
        keep(settings, n, [row(16000 + s, (n // (s % 3 + 1)) % 5) for s in range(20)])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hanging, "SETTLE_SECONDS", 2.0)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = with_ports(Settings(home=tmp_path_factory.mktemp("hanging"), feed=Feed("hanging", "")))
    settings.save()
    return settings


def feed_of(platform: Settings, number: int | str) -> Settings:
    home = platform.home / f"home_{number}"
    settings = replace(platform, home=home, feed=replace(platform.feed, name=f"case_{number}"))
    settings.save()
    shutil.copytree(platform.home / "secrets", home / "secrets", dirs_exist_ok=True)
    return settings


@pytest.fixture(scope="module")
def broken(platform: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A broker that was killed and started again, which found the transaction of each case to be run in its state."""
    wanted = {item.callspec.params.get("number") for item in request.session.items if hasattr(item, "callspec")}
    with running(broker(platform), platform.home) as child:
        for number, case in enumerate(CASES):
            if number not in wanted:
                continue
            settings = feed_of(platform, number)
            keep_history(settings, 8)
            with EventProducer(settings) as producer:
                producer.publish_waiting(polls_per_transaction=8)
            archive_once(settings)
            keep_more(settings)
            send_and_die(settings)
            if case.status is not None:
                rewrite(settings, case.status, case.marked)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        while child.status() is None:
            time.sleep(0.05)
    with running(broker(platform), platform.home):
        yield platform


@pytest.fixture(scope="module")
def undisturbed(broken: Settings) -> Settings:
    settings = feed_of(broken, "undisturbed")
    keep_history(settings, 8)
    keep_more(settings)
    publish(settings)
    cut_running_spells(settings)
    archive_once(settings)
    return settings


def settled(settings: Settings, seconds: float = 10) -> list[str]:
    """The topics that hang, once the broker has written all the marks that it means to write."""
    until = time.monotonic() + seconds
    while hanging_topics(settings) and time.monotonic() < until:
        time.sleep(0.1)
    return [found.topic.rpartition(".")[2] for found in hanging_topics(settings)]


def demand_hanging(settings: Settings, names: set[str]) -> None:
    """The state that is to be mended; the broker still writes the marks that it means to write."""
    until = time.monotonic() + 10
    while (found := {topic.topic.rpartition(".")[2] for topic in hanging_topics(settings)}) != names:
        assert time.monotonic() < until, found
        time.sleep(0.1)


def kept(settings: Settings, name: str) -> list[tuple[str, bytes, bytes | None]]:
    """What a reader keeps that passes over what it has: poll, key and record, in the topic's order."""
    found: dict[tuple[str, bytes, bytes | None], None] = {}
    with committed_reader(settings) as consumer:
        for message in committed_messages(consumer, settings, settings.topic(name), 0):
            poll = told_by(message.headers()).poll
            if poll is not None:
                found[poll, message.key(), message.value()] = None
    return list(found)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=case.name.replace(" ", "-"), marks=[pytest.mark.long] if case.seldom else [])
        for number, case in enumerate(CASES)
    ],
)
def test_after_any_end_of_a_transaction_each_poll_is_there_once(
    number: int, broken: Settings, undisturbed: Settings
) -> None:
    case, settings = CASES[number], feed_of(broken, number)
    if case.whole is False:
        demand_hanging(settings, set(ALL) - set(case.marked))
    archive_once(settings)
    publish(settings)
    cut_running_spells(settings)
    assert settled(settings) == []
    assert read_memory(settings) == read_memory(undisturbed)
    for name in TOPICS:
        assert kept(settings, name) == kept(undisturbed, name), name
    archive_once(settings)
    assert list(read_spells(settings.archive)) == list(read_spells(undisturbed.archive))
    assert publish(settings).polls == 0


def test_what_is_whole_in_polls_alone_is_sent_again(broken: Settings, undisturbed: Settings) -> None:
    """As when the end of a later transaction, an abort, closed one that hung in the other topics."""
    settings = feed_of(broken, "alone")
    keep_history(settings, 8)
    publish(settings)
    keep_more(settings)
    with EventProducer(settings) as producer:
        real = producer._client

        class PollsAlone:
            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def produce(self, topic: str, *arguments: object, **options: object) -> None:
                if topic == settings.topic("polls"):
                    real.produce(topic, *arguments, **options)

        producer._client = PollsAlone()
        producer.publish_waiting(polls_per_transaction=2)
    assert publish(settings).polls == 5
    cut_running_spells(settings)
    assert read_memory(settings) == read_memory(undisturbed)
    archive_once(settings)
    assert list(read_spells(settings.archive)) == list(read_spells(undisturbed.archive))


def test_a_transaction_of_somebody_else_is_waited_for_and_then_named_with_the_command_that_ends_it(
    broken: Settings,
) -> None:
    settings = feed_of(broken, "foreign")
    keep_history(settings, 2)
    sender = Sender(settings)
    sender.producer.begin_transaction()
    for spell in many(3):
        sender.producer.produce(settings.topic("spells"), b"{}", spell.station_code)
    sender.producer.flush(10)
    with pytest.raises(KafkaError, match=r"abort --topic case_foreign\.spells --partition 0 --start-offset 0") as told:
        publish(settings)
    assert "nothing is sent" in str(told.value)
    sender.producer.abort_transaction(10)
    assert publish(settings).polls == 2
