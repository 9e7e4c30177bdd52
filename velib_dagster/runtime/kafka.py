"""One Apache Kafka node (KRaft: broker and controller in one process) as a part, with its settings and readiness.

Topics are made by `events/topics.py`. The supervisor and tests use `broker`.
"""

import base64
import subprocess
import uuid
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from velib_dagster.events.kafka_security import USER, login_line
from velib_dagster.events.topics import client_config
from velib_dagster.files import write_atomically
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.jars import Tell, folder_of
from velib_dagster.runtime.java import java
from velib_dagster.runtime.ports import answers
from velib_dagster.runtime.process import Part
from velib_dagster.settings import LOOPBACK, Settings

_PROPERTIES: Final = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENTS://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENTS
# On both: other users of this machine reach loopback too.
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.clients.plain.sasl.jaas.config={login}
listener.name.controller.plain.sasl.jaas.config={login}
log.dir={data}
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# A message that was acknowledged is on disk, also when the power goes.
log.flush.interval.messages=1
# After a kill the next start waits for this session to run out.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=33554432
# That a station left is to be read after a long outage too: 30 days, as long as spells are kept.
log.cleaner.delete.retention.ms=2592000000
"""

_LOGGING: Final = """<Configuration status="WARN"><Appenders><Console name="out" target="SYSTEM_OUT">
<PatternLayout pattern="%d{yyyy-MM-dd'T'HH:mm:ssXXX} %p %c{1}: %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root>
<Logger name="kafka.server" level="INFO"/><Logger name="org.apache.kafka.server" level="INFO"/></Loggers>
</Configuration>
"""


def broker(settings: Settings, tell: Tell | None = None) -> Part:
    """The broker of this home; its jars are fetched first where they are not cached.

    Raises:
        PlatformError: no Java, or no jars.
    """
    folder = settings.home / "kafka"
    classpath = str(folder_of("kafka", tell) / "*")
    program = java()
    argv = [
        program,
        *("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"),
        f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}",
        *("-cp", classpath, "kafka.Kafka", str(folder / "server.properties")),
    ]
    return Part(
        name="kafka",
        title="Kafka",
        argv=argv,
        ready=lambda: is_ready(settings),
        ports=(settings.port("kafka"), settings.port("kafka_controller")),
        prepare=lambda: prepare(settings, program, classpath),
        ready_seconds=180,
        stop_seconds=6,
    )


def prepare(settings: Settings, program: str, classpath: str) -> None:
    """Write the broker's settings and, once, format its data folder.

    Raises:
        PlatformError: formatting failed, with Kafka's words.
    """
    folder = settings.home / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    password = settings.secret("kafka")
    properties = _PROPERTIES.format(
        host=LOOPBACK,
        port=settings.port("kafka"),
        controller=settings.port("kafka_controller"),
        data=str(data).replace("\\", "\\\\"),
        login=login_line("PLAIN", USER, password, {USER: password}),
    )
    write_atomically(folder / "server.properties", properties.encode(), mode=0o600)
    write_atomically(folder / "log4j2.xml", _LOGGING.encode())
    if (data / "meta.properties").exists():
        return
    answer = subprocess.run(
        [
            *(program, f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}", "-cp", classpath),
            *("kafka.tools.StorageTool", "format", f"--cluster-id={_cluster_id(folder)}"),
            *("-c", str(folder / "server.properties"), "--ignore-formatted"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        msg = f"Kafka's data folder {data} could not be made: {(answer.stderr or answer.stdout).strip()}"
        raise PlatformError(msg)


def _cluster_id(folder: Path) -> str:
    path = folder / "cluster_id"
    if not path.exists():
        write_atomically(path, base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"="))
    return path.read_text().strip()


def is_ready(settings: Settings) -> bool:
    """Whether the broker answers a request for its metadata."""
    if settings.kafka_address is None and not answers(settings.port("kafka")):
        return False
    # The client logs each refused connection on stderr, which is no news while waiting.
    client = AdminClient({**client_config(settings), "log_level": 0, "socket.timeout.ms": 3000})
    try:
        return bool(client.list_topics(timeout=3).brokers)
    except KafkaException:
        return False
