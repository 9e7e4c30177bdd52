"""A Kafka of one's own that asks for TLS and a login: admin, producer, consumer and Spark all get in, others don't."""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyspark.sql import SparkSession

from velib_dagster.events.memory import committed_messages, committed_reader, newest_poll
from velib_dagster.events.topics import ensure_topics
from velib_dagster.files import write_atomically
from velib_dagster.runtime import kafka
from velib_dagster.runtime.new_home import set_up
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings
from velib_dagster.streaming.job import kafka_options
from velib_dagster_tests.streaming.conftest import Sender, wait_for
from velib_dagster_tests.streaming.make import START, poll

pytestmark = [pytest.mark.kafka, pytest.mark.spark]


def certificates(folder: Path) -> None:
    """`ca.pem`, and `server.pem`: key and certificate of 127.0.0.1, signed by it."""
    day = timedelta(days=1)
    now = datetime.now(UTC)
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(extension, critical=False)
            .sign(ca_key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(signed(authority, ca_key.public_key(), x509.BasicConstraints(True, None)))
    (folder / "server.pem").write_bytes(private + signed(server, key.public_key(), place))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a platform whose Kafka is a broker of somebody else's, behind SASL_SSL."""
    theirs = set_up(Settings(home=tmp_path / "theirs", feed=Feed("some_feed", "")))
    certificates(tmp_path)
    security = tmp_path / "kafka.properties"
    security.write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=platform\n"
        f"sasl.password={theirs.secret('kafka')}\nssl.ca.location=ca.pem\n"
    )
    settings = Settings(
        home=tmp_path / "ours", feed=Feed("some_feed", ""), kafka_address=theirs.kafka, kafka_security=security
    )
    part = kafka.broker(theirs)

    def prepare() -> None:
        assert part.prepare is not None
        part.prepare()
        path = theirs.home / "kafka" / "server.properties"
        text = path.read_text().replace("CLIENTS:SASL_PLAINTEXT", "CLIENTS:SASL_SSL")
        text += (
            f"ssl.keystore.type=PEM\nssl.keystore.location={tmp_path / 'server.pem'}\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={tmp_path / 'ca.pem'}\n"
        )
        write_atomically(path, text.encode())

    with running(replace(part, prepare=prepare, ready=lambda: kafka.is_ready(settings)), theirs.home):
        yield settings


def test_every_client_of_the_platform_gets_in_and_others_do_not(guarded: Settings, spark: SparkSession) -> None:
    ensure_topics(guarded)
    Sender(guarded).send(polls=[poll(START)])
    wait_for(lambda: newest_poll(guarded), what="the mark of the commit")
    with committed_reader(guarded) as consumer:
        (kept,) = committed_messages(consumer, guarded, guarded.topic("polls"), 0)
    read = (
        spark.read.format("kafka")
        .options(**kafka_options(guarded))
        .option("subscribe", guarded.topic("polls"))
        .option("kafka.isolation.level", "read_committed")
        .load()
    )
    assert [bytes(row.value) for row in read.collect()] == [kept.value()]
    stranger = AdminClient({"bootstrap.servers": guarded.kafka, "log_level": 0})
    with pytest.raises(KafkaException):
        stranger.list_topics(timeout=3)
