"""A broker that stands still in the middle of a commit and goes on: the next run sends the poll, once."""

import os
import signal
import time
from pathlib import Path

import pytest

from velib_dagster.events.producer import EventProducer, publish
from velib_dagster.events.topics import KafkaError
from velib_dagster.runtime.kafka import broker
from velib_dagster.runtime.ports import with_ports
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.events.test_producer import keep_history, topic

pytestmark = [pytest.mark.kafka, pytest.mark.long]


@pytest.mark.parametrize("moment", ["begin_transaction", "commit_transaction"])
def test_the_next_run_sends_it_once_and_soon(tmp_path: Path, moment: str) -> None:
    settings = with_ports(Settings(home=tmp_path, feed=Feed("stopped", "")))
    settings.save()
    with running(broker(settings), settings.home) as child:
        assert child.pid is not None
        keep_history(settings, 3)
        producer = EventProducer(settings)
        real, pid = producer._client, child.pid

        class Stops:
            def __getattr__(self, name: str) -> object:
                if name == moment:
                    os.kill(pid, signal.SIGSTOP)
                return getattr(real, name)

        producer._client = Stops()  # type: ignore[assignment]
        try:
            with pytest.raises(KafkaError, match=r"can't be used|has taken nothing"):
                producer.publish_waiting()
        finally:
            os.kill(pid, signal.SIGCONT)
        started = time.monotonic()
        publish(settings)
        assert time.monotonic() - started < 30
        sent = [key for key, _ in topic(settings, "polls")]
        assert len(sent) == len(set(sent)) == 3
