"""A whole platform for some minutes: how soon each minute's data can be read in Kafka, and what each part uses.

`python benchmarks/minutes.py --minutes 20 [--outage 10]`. The simulated feed is polled each minute. With --outage the
broker and then PostgreSQL are stopped for so many minutes each; afterwards every minute must be there, in order.
Kafka and PostgreSQL are this program's own, so that it may stop them; everything else is started by `velib up`.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka import TopicPartition
from processes import Sampler

from velib_dagster.events.kafka_security import client_security
from velib_dagster.events.memory import committed_messages, committed_reader
from velib_dagster.events.records import PollRecord, decode_poll
from velib_dagster.runtime.kafka import broker
from velib_dagster.runtime.ports import with_ports
from velib_dagster.runtime.postgres import server
from velib_dagster.runtime.process import Child, Part
from velib_dagster.settings import Feed, Settings


class Store:
    """Kafka or PostgreSQL, started and stopped at will."""

    def __init__(self, part: Part, home: Path) -> None:
        self.part, self.home, self.child = part, home, None

    def start(self) -> None:
        self.child = Child(self.part, self.home)
        self.child.spawn()
        self.child.wait_ready()

    def stop(self) -> None:
        self.child.stop()


class Watch(threading.Thread):
    """Reads the topic `polls` as it grows: when each minute's record became readable."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.settings, self.seen, self.records, self.stop = settings, {}, [], threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the broker is stopped on purpose
                print(f"  (the watch starts anew: {error})", flush=True)
                time.sleep(2)

    def _read(self) -> None:
        with committed_reader(self.settings) as consumer:
            consumer.assign([TopicPartition(self.settings.topic("polls"), 0, 0)])
            while not self.stop.is_set():
                for message in consumer.consume(100, timeout=0.2):
                    if message.error() is None:
                        poll = decode_poll(message.value())
                        self.seen.setdefault(poll.time, datetime.now(UTC))


def polls(settings: Settings) -> list[PollRecord]:
    with committed_reader(settings) as consumer:
        messages = committed_messages(consumer, settings, settings.topic("polls"), 0)
        return [decode_poll(message.value()) for message in messages]


@contextmanager
def platform(home: Path, stores: Settings) -> Iterator[subprocess.Popen]:
    login = home.parent / "kafka.properties"
    login.touch(mode=0o600)
    login.write_text("".join(f"{name}={value}\n" for name, value in client_security(stores).items()))
    environment = {
        **os.environ,
        "VELIB_KAFKA": stores.kafka,
        "VELIB_KAFKA_SECURITY": str(login),
        "VELIB_POSTGRES": f"postgresql://platform@127.0.0.1:{stores.port('postgres')}",
        "VELIB_POSTGRES_PASSWORD": stores.secret("postgres"),
    }
    words = [sys.executable, "-m", "velib_dagster.cli", "up", "--feed", "simulated", "--home", str(home)]
    log = (home.parent / "up.log").open("w")
    process = subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        while "everything is up" not in (home.parent / "up.log").read_text():
            if process.poll() is not None:
                sys.exit((home.parent / "up.log").read_text())
            time.sleep(0.5)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def told(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=20, help="quiet minutes that are measured")
    parser.add_argument("--outage", type=float, default=0, help="minutes without the broker, then without PostgreSQL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="velib-minutes-") as folder, ExitStack() as stack:
        stores = with_ports(Settings(home=Path(folder) / "stores", feed=Feed("simulated", "")))
        stores.save()
        kafka, postgres = Store(broker(stores), stores.home), Store(server(stores), stores.home)
        for store in (kafka, postgres):
            store.start()
            stack.callback(store.stop)
        home = Path(folder) / "home"
        process = stack.enter_context(platform(home, stores))
        told("everything is up")
        settings = Settings.load(home)
        watch = Watch(stores)
        watch.start()
        time.sleep(120 - time.time() % 60)  # the first minute after a start is late
        began = datetime.now(UTC)
        told(f"measuring {options.minutes} minutes")
        with (
            Sampler(process.pid) as parts,
            Sampler(kafka.child.pid) as of_kafka,
            Sampler(postgres.child.pid) as of_postgres,
        ):
            before = [sampler.snapshot() for sampler in (parts, of_kafka, of_postgres)]
            time.sleep(options.minutes * 60)
            used = {}
            for sampler, first in zip((parts, of_kafka, of_postgres), before, strict=True):
                for part, usage in sampler.by_part().items():
                    used[part] = (usage.cpu_seconds - first.get(part, 0.0), usage.peak_mb)
        latencies = sorted(
            (seen - time_.replace(second=0)).total_seconds()
            for time_, seen in watch.seen.items()
            if began - timedelta(seconds=30) <= time_ < began + timedelta(minutes=options.minutes)
        )
        report(latencies, used, options.minutes)
        if options.outage:
            outages(options.outage, kafka, postgres, stores, settings)
        watch.stop.set()


def report(latencies: list[float], used: dict[str, tuple[float, float]], minutes: int) -> None:
    if not latencies:
        sys.exit("no minute arrived")
    p95 = latencies[max(0, round(0.95 * len(latencies)) - 1)]
    print(
        f"\nminute → readable in Kafka, {len(latencies)} of {minutes} minutes: median "
        f"{statistics.median(latencies):.1f} s, p95 {p95:.1f} s, most {latencies[-1]:.1f} s"
    )
    print("\n| part | CPU, % of one core | memory, MB (largest PSS) |\n| --- | ---: | ---: |")
    for part, (seconds, megabytes) in sorted(used.items(), key=lambda item: -item[1][0]):
        print(f"| {part} | {100 * seconds / (60 * minutes):.1f} | {megabytes:.0f} |")
    print(
        f"| all | {100 * sum(s for s, _ in used.values()) / (60 * minutes):.1f} "
        f"| {sum(m for _, m in used.values()):.0f} |\n",
        flush=True,
    )


def outages(minutes: float, kafka: Store, postgres: Store, stores: Settings, settings: Settings) -> None:
    for name, store in (("Kafka", kafka), ("PostgreSQL", postgres)):
        gone = datetime.now(UTC)
        store.stop()
        told(f"{name} is stopped for {minutes:g} minutes")
        time.sleep(60 * minutes)
        store.start()
        back = datetime.now(UTC)
        told(f"{name} is back")
        time.sleep(240)
        found = polls(stores)
        times = [poll.time for poll in found]
        during = sorted({time_.replace(second=0, microsecond=0) for time_ in times if gone < time_ < back})
        wanted = int((back - gone).total_seconds() // 60)
        kept = sum(1 for _ in settings.raw.rglob("*.json"))
        told(
            f"{name}: {len(during)} of {wanted} minutes of the outage are in Kafka, "
            f"{'in order' if times == sorted(times) else 'NOT IN ORDER'}; {len(found)} poll records, {kept} snapshots"
        )


if __name__ == "__main__":
    main()
