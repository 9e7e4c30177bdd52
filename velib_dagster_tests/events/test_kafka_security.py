"""How clients log in to Kafka: what the file may say, what librdkafka and Java make of it; no broker."""

import stat
from pathlib import Path

import pytest

from velib_dagster.events.kafka_security import client_security, java_security, login_line
from velib_dagster.events.topics import client_config
from velib_dagster.settings import Feed, Settings, SettingsError


def settings(tmp_path: Path, text: str | None = None) -> Settings:
    path = tmp_path / "kafka.properties"
    if text is not None:
        path.write_text(text)
    return Settings(
        home=tmp_path / "home",
        feed=Feed("f", ""),
        kafka_address="kafka.example:9093",
        kafka_security=None if text is None else path,
    )


def test_our_own_broker_gets_a_generated_password_that_only_this_user_may_read(tmp_path: Path) -> None:
    own = Settings(home=tmp_path, feed=Feed("f", ""), ports={"kafka": 9092})
    config = client_config(own)
    assert config["security.protocol"] == "SASL_PLAINTEXT"
    assert config["sasl.password"] == own.secret("kafka")
    assert stat.S_IMODE((tmp_path / "secrets" / "kafka").stat().st_mode) == 0o600
    assert own.secret("kafka") in java_security(own)["sasl.jaas.config"]


def test_a_kafka_of_one_s_own_without_a_file_is_asked_without_a_login(tmp_path: Path) -> None:
    assert client_security(settings(tmp_path)) == {}
    assert java_security(settings(tmp_path)) == {}
    assert not (tmp_path / "home").exists()


def test_a_file_gives_both_clients_the_same_login_and_certificates(tmp_path: Path) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).write_text(f"text of {name}")
    given = settings(
        tmp_path,
        """# of the authority's cluster
        security.protocol = SASL_SSL
        sasl.mechanism=SCRAM-SHA-512
        sasl.username=velib
        sasl.password=a"b\\c = d
        ssl.ca.location=ca.pem
        ssl.certificate.location=client.pem
        ssl.key.location=client.key
        ssl.endpoint.identification.algorithm=none
        """,
    )
    assert client_security(given)["sasl.password"] == 'a"b\\c = d'
    assert client_security(given)["ssl.ca.location"] == str(tmp_path / "ca.pem")
    assert java_security(given) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="velib" password="a\\"b\\\\c = d";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tmp_path / "ca.pem"),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": "text of client.pem",
        "ssl.keystore.key": "text of client.key",
        "ssl.endpoint.identification.algorithm": "",
    }


def test_a_broker_s_line_names_who_may_log_in() -> None:
    assert login_line("PLAIN", "a", "b", {"a": "b"}).endswith('required username="a" password="b" user_a="b";')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("security.protocol=SSL\nbootstrap.servers=x", "line 2: 'bootstrap.servers' is unknown"),
        ("security.protocol", "line 1: there is no ="),
        ("", "security.protocol must be one of"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.password=hidden", "needs sasl.username"),
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\nsasl.username=u\nsasl.password=hidden",
            "sasl.mechanism must be one of PLAIN",
        ),
        ("security.protocol=SSL\nsasl.username=u", "a login needs security.protocol=SASL_SSL"),
        ("security.protocol=SSL\nssl.key.location=k", "go together"),
        ("security.protocol=SSL\nssl.ca.location=gone.pem", "ssl.ca.location names no file"),
    ],
)
def test_a_file_that_can_t_be_used_is_refused_in_words_without_its_password(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        client_security(settings(tmp_path, text))
    assert "kafka.properties" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_missing_file_is_said_with_the_variable_s_name(tmp_path: Path) -> None:
    given = settings(tmp_path, "security.protocol=SSL")
    assert given.kafka_security is not None
    given.kafka_security.unlink()
    with pytest.raises(SettingsError, match="VELIB_KAFKA_SECURITY"):
        client_security(given)


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_KAFKA", "kafka.example:9093")
    monkeypatch.setenv("VELIB_KAFKA_SECURITY", str(tmp_path / "kafka.properties"))
    assert Settings.load(tmp_path).kafka_security == tmp_path / "kafka.properties"
