"""Every service of the compose file as a plain process, with the file's own commands, variables and order.

Kafka's and PostgreSQL's images are stood for by the same programs with the file's settings; names of hosts become
loopback. It takes under a minute on an idle machine.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from velib_dagster.events.memory import committed_messages, committed_reader
from velib_dagster.events.records import PollRecord, decode_poll
from velib_dagster.events.topics import KafkaError
from velib_dagster.files import write_atomically
from velib_dagster.runtime import kafka, postgres
from velib_dagster.runtime.jars import folder_of
from velib_dagster.runtime.java import java
from velib_dagster.runtime.ports import with_ports
from velib_dagster.runtime.process import Child, Part
from velib_dagster.settings import LOOPBACK, Feed, Settings
from velib_dagster.simulator.network import Network
from velib_dagster.simulator.server import SimulatorServer
from velib_dagster.store.connect import connect
from velib_dagster_tests.docker.composed import FOLDER, Service, compose, image_environment, properties
from velib_dagster_tests.end_to_end.conftest import processes_of

pytestmark = pytest.mark.platform
PASSWORD = "p@ss/w:rd%"
EVERY_SECONDS = 10
"""A simulated minute: the shortest that the platform allows."""
START_SECONDS = 240.0
STORES = ("kafka", "postgres")


@dataclass
class Server:
    """The services of one server, as far as they have been started."""

    home: Path
    services: dict[str, Service]
    environment: dict[str, str]
    rewrite: dict[str, str]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    healthy: set[str] = field(default_factory=set)

    def rewritten(self, text: str) -> str:
        for name, place in self.rewrite.items():
            text = text.replace(name, place)
        return text

    def variables(self, name: str) -> dict[str, str]:
        given = {**image_environment(), **self.services[name].environment}
        ours = {key: self.rewritten(str(value)) for key, value in given.items() if key.startswith("VELIB_")}
        return {**self.environment, **ours}

    def argv(self, words: list[str]) -> list[str]:
        return [str(Path(sys.executable).parent / words[0]), *words[1:]]

    def log(self, name: str) -> Path:
        return self.home.parent / f"{name}.log"

    def start(self, name: str) -> None:
        command = self.services[name].command
        assert command
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.argv(command),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.home.parent,
                env=self.variables(name),
                start_new_session=True,
            )

    def may_start(self, name: str) -> bool:
        reached = {
            "service_started": lambda needed: needed in self.processes,
            "service_healthy": lambda needed: needed in self.healthy,
            "service_completed_successfully": lambda needed: (
                needed in self.processes and self.processes[needed].poll() == 0
            ),
        }
        return all(reached[how.condition](needed) for needed, how in self.services[name].depends_on.items())

    def velib(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command of the platform, as `docker compose run --rm --no-deps standby velib …` runs it."""
        return subprocess.run(
            self.argv(["velib", *words]), env=self.variables("standby"), capture_output=True, text=True, check=False
        )

    def check(self, name: str) -> "subprocess.CompletedProcess[str]":
        """The service's health check, with what it says."""
        test = self.services[name].healthcheck.test
        assert test
        words = self.argv(test[1:])
        return subprocess.run(words, capture_output=True, text=True, check=False, env=self.variables(name), timeout=60)

    def alive(self) -> None:
        """Nothing has ended that should run, and what ends by itself ended well."""
        for name, process in self.processes.items():
            status = process.poll()
            well = status in {None, 0} if self.services[name].restart == "no" else status is None
            assert well, f"{name} ended with {status}:\n{self.log(name).read_text()[-3000:]}"

    def wait(self, words: str, look: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not look():
            self.alive()
            tails = "\n".join(f"{name}: {self.log(name).read_text()[-600:]}" for name in self.processes)
            assert time.monotonic() < deadline, f"{words} did not come within {seconds} s\n{tails}"
            time.sleep(0.3)

    def up(self) -> None:
        """Start everything in the order that the file's dependencies allow, as `docker compose up` does."""
        waited_for = {
            needed
            for service in self.services.values()
            for needed, how in service.depends_on.items()
            if how.condition == "service_healthy"
        }
        asked: dict[str, float] = {}

        def step() -> bool:
            for name in self.services:
                if name not in STORES and name not in self.processes and self.may_start(name):
                    self.start(name)
            for name in waited_for & set(self.processes) - self.healthy:
                if time.monotonic() > asked.get(name, 0):
                    if self.check(name).returncode == 0:
                        self.healthy.add(name)
                    asked[name] = time.monotonic() + 1
            return set(self.processes) | set(STORES) == set(self.services)

        self.wait("every service", step)

    def down(self) -> dict[str, int]:
        """Stop with the file's signals, what depends on others first; the exit statuses."""
        left = {name for name, process in self.processes.items() if process.poll() is None}
        statuses: dict[str, int] = {}
        while left:
            now = {name for name in left if not any(name in self.services[other].depends_on for other in left)}
            for name in now:
                self.processes[name].send_signal(getattr(signal, self.services[name].stop_signal))
            for name in now:
                seconds = float(self.services[name].stop_grace_period.removesuffix("s"))
                try:
                    statuses[name] = self.processes[name].wait(seconds)
                except subprocess.TimeoutExpired:  # as Compose does, and a container ends with its first process
                    inside = psutil.Process(self.processes[name].pid).children(recursive=True)
                    for process in (self.processes[name], *inside):
                        process.kill()
                    statuses[name] = self.processes[name].wait()
                    psutil.wait_procs(inside, 10)
            left -= now
        return statuses

    def kill(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        for process in processes_of(self.home):
            process.kill()


def broker(service: Service, settings: Settings, rewrite: dict[str, str]) -> Part:
    """Kafka with the properties that its image makes of the service's variables."""
    part = kafka.broker(settings)
    folder = settings.home / "kafka"
    given = properties(service.environment)
    for name in ("controller.quorum.voters", "listeners", "advertised.listeners"):
        for host in ("kafka:", "://:"):
            given[name] = given[name].replace(host, host.replace("kafka", LOOPBACK).replace("://:", f"://{LOOPBACK}:"))
        for port, place in (("9092", "kafka"), ("9093", "kafka_controller")):
            given[name] = given[name].replace(f":{port}", f":{settings.port(place)}")
    given["log.dir"] = given["log.dirs"] = str(folder / "data")

    def prepare() -> None:
        folder.mkdir(parents=True)
        (folder / "log4j2.xml").write_text(kafka._LOGGING)
        lines = "\n".join(f"{name}={value}" for name, value in given.items())
        write_atomically(folder / "server.properties", lines.encode())
        classpath = str(folder_of("kafka") / "*")
        subprocess.run(
            [
                *(java(), f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}", "-cp", classpath),
                *("kafka.tools.StorageTool", "format", "--cluster-id=5L6g3nShT-eMCtK--X86sw"),
                *("-c", str(folder / "server.properties")),
            ],
            check=True,
            capture_output=True,
        )

    # The image's broker is on the containers' own network and asks for no login.
    plain = replace(settings, kafka_address=settings.kafka)
    return replace(part, prepare=prepare, ready=lambda: kafka.is_ready(plain))


def database(service: Service, settings: Settings) -> Part:
    """PostgreSQL with the service's password and the settings of its command."""
    settings.secret("postgres")
    (settings.home / "secrets" / "postgres").write_text(str(service.environment["POSTGRES_PASSWORD"]))
    part = postgres.server(settings)
    assert service.command
    return replace(part, argv=[*part.argv, *service.command[1:]], stop_signal=getattr(signal, service.stop_signal))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Kafka and PostgreSQL run; the other services are yet to be started."""
    home, stores = tmp_path / "home", tmp_path / "stores"
    home.mkdir()
    # As image and volume are: the home is empty, the stores' folders are none of its business.
    settings = with_ports(Settings(home=stores, feed=Feed("velib", "")))
    files = tmp_path / "docker"
    files.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        text = (FOLDER / name).read_text()
        code = ("{host: dagster-code, port: 4000", f"{{host: {LOOPBACK}, port: {settings.port('dagster_code')}")
        (files / name).write_text(text.replace(*code))
    network = Network.generate(60, 1)
    with ExitStack() as stack:
        simulator = stack.enter_context(SimulatorServer(network, 0))
        given = {
            "VELIB_POSTGRES_PASSWORD": PASSWORD,
            "VELIB_FEED_URL": simulator.url,
            "VELIB_EVERY_SECONDS": str(EVERY_SECONDS),
        }
        services = compose(given).services
        image = image_environment()
        rewrite = {
            "kafka:9092": f"{LOOPBACK}:{settings.port('kafka')}",
            "postgres:5432": f"{LOOPBACK}:{settings.port('postgres')}",
            "mlflow:5000": f"{LOOPBACK}:{settings.port('mlflow')}",
            "0.0.0.0": LOOPBACK,  # noqa: S104 - what is replaced
            "dagster=3000": f"dagster={settings.port('dagster')}",
            "dagster_code=4000": f"dagster_code={settings.port('dagster_code')}",
            "mlflow=5000": f"mlflow={settings.port('mlflow')}",
            image["VELIB_HOME"]: str(home),
            image["VELIB_DAGSTER_FILES"]: str(files),
        }
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("VELIB_")}
        for name in ("VELIB_MAVEN_REPOSITORY",):
            if name in os.environ:
                surroundings[name] = os.environ[name]
        running_server = Server(home, services, surroundings, rewrite)
        stack.callback(running_server.kill)
        parts = (broker(services["kafka"], settings, rewrite), database(services["postgres"], settings))
        children = [Child(part, stores) for part in parts]
        for child in children:
            stack.callback(child.stop)
            child.spawn()
        for child in children:
            child.wait_ready()
        running_server.healthy |= set(STORES)
        yield running_server


def usable(settings: Settings) -> list[PollRecord]:
    """The usable polls that are in Kafka."""
    try:
        with committed_reader(settings) as consumer:
            messages = list(committed_messages(consumer, settings, settings.topic("polls"), 0))
    except KafkaError:
        return []
    return [record for record in (decode_poll(message.value()) for message in messages) if record.kind.usable]


def test_the_services_publish_three_minutes_and_stop_leaving_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.up()
    for name, value in server.variables("standby").items():
        if name.startswith("VELIB_"):
            monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.feed.name == "velib"
    server.wait("three minutes in Kafka", lambda: len(usable(settings)) >= 3)
    times = [record.time for record in usable(settings)]
    assert times == sorted(set(times)), "a minute was published twice, or out of order"

    def in_postgres() -> bool:
        with connect(settings) as connection:
            row = connection.execute("SELECT count(*), (SELECT count(*) FROM polls) FROM station_now").fetchone()
        return row is not None and row[0] == 60 and int(str(row[1])) >= 3

    server.wait("three minutes in PostgreSQL", in_postgres)
    for name, service in server.services.items():
        if name not in STORES and service.healthcheck.test:
            server.wait(f"health of {name}", lambda name=name: server.check(name).returncode == 0, 60)
    told = server.velib("status", "--json")
    assert told.returncode == 0, told.stdout
    parts = {part["name"]: part["up"] for part in json.loads(told.stdout)["parts"]}
    assert len(parts) == 6
    assert all(parts.values()), told.stdout
    server.alive()
    statuses = server.down()
    assert statuses["streaming"] == statuses["standby"] == 0
    last = usable(settings)[-1]
    assert last.last_cut == last.time, "the running spells were not cut at the last poll"
    # Dagster's servers end by the signal itself or with a status of their own for it; none was killed but perhaps the
    # code server, which waits for runs that are going on.
    ended = {name: {0, -15, 143} | ({-9} if name == "dagster-code" else set()) for name in statuses}
    assert not {name: status for name, status in statuses.items() if status not in ended[name]}, statuses
    assert processes_of(server.home) == []
    for name in ("standby", "dagster_web"):
        asked = server.velib("health", name)
        assert (asked.returncode == 0) == (name == "standby"), f"{name}: the check does not tell a stopped part"
